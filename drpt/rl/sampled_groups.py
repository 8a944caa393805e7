"""Groups of responses as they were drawn: one group for each prompt of a phase."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.data.chat import EncodedExample
from drpt.rewards.weighted import Judged
from drpt.rl.sampler import JudgedResponse
from drpt.rl.trajectory import Trajectory


@dataclass(slots=True)
class SampledGroups:
    """Prompts of one kind, and the responses to them."""

    examples: list[EncodedExample] = field(default_factory=list)
    groups: list[list[JudgedResponse]] = field(default_factory=list)  # one group for each example
    kept: list[int] = field(default_factory=list)  # indices of the groups to learn from

    @property
    def rewards(self) -> Float[Tensor, "group response"]:
        """The reward of every response, in float64."""
        return torch.tensor([[one.judged.value for one in group] for group in self.groups], dtype=torch.float64)

    @property
    def judged(self) -> list[Judged]:
        """What the reward says of every response, group after group."""
        return [one.judged for group in self.groups for one in group]

    def trajectories(self) -> list[Trajectory]:
        """One trajectory for each response of the groups that are kept."""
        return [
            Trajectory(
                prompt=self.examples[index].prompt_ids,
                response=list(one.response.token_ids),
                group=index,
                reward=one.judged.value,
                engine_logprobs=list(one.response.logprobs),
            )
            for index in self.kept
            for one in self.groups[index]
        ]
