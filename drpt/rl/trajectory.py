"""One response of a policy and everything that is known of it, in plain values that a checkpoint keeps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from drpt.errors import NonFiniteError


@dataclass(slots=True, kw_only=True)
class Trajectory:
    """A response to a prompt. The sampler fills in the first fields, then the scorer, then the advantage estimator.

    Every list of numbers has one entry for each token of the response, or is empty as long as nobody has filled it in.
    """

    prompt: list[int]  # token ids
    response: list[int]  # token ids, the one that ended the response included
    group: int = 0  # index of the prompt within its phase; trajectories of one group answer the same prompt
    reward: float = 0.0
    engine_logprobs: list[float] = field(default_factory=list)  # nats, by the engine when it drew the token
    old_logprobs: list[float] = field(default_factory=list)  # nats, under the policy that the phase began with
    reference_logprobs: list[float] = field(default_factory=list)  # nats, under the model before training; empty without one
    values: list[float] = field(default_factory=list)  # of the state before each token; empty without a value head
    advantages: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)  # what the value function is trained on; empty without one

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the response."""
        return len(self.response)


# Names of the fields in checkpoints, which hold one list for each field.
_COLUMNS = {
    "prompt": "prompts",
    "response": "responses",
    "group": "groups",
    "reward": "rewards",
    "advantages": "token_advantages",
}
# A number for a whole response, in checkpoints written when group-relative advantages were kept so.
_ADVANTAGE_OF_RESPONSE = "advantages"


def to_columns(trajectories: Sequence[Trajectory]) -> dict[str, list[Any]]:  # Any: ids, numbers, or lists of them
    """The trajectories as plain lists for a checkpoint.

    Args:
        trajectories: Trajectories of one phase.

    Returns:
        One list for each field, with one entry for each trajectory.
    """
    names = [own.name for own in fields(Trajectory)]
    return {_COLUMNS.get(name, name): [getattr(one, name) for one in trajectories] for name in names}


def from_columns(columns: Mapping[str, Sequence[Any]]) -> list[Trajectory]:  # Any: ids, numbers, or lists of them
    """The trajectories that a checkpoint holds; the reverse of `to_columns`.

    Args:
        columns: Lists by field; a list that is missing or empty leaves its field at its default.

    Returns:
        The trajectories in their order.
    """
    names = [own.name for own in fields(Trajectory)]
    filled = {name: column for name in names if (column := columns.get(_COLUMNS.get(name, name)))}
    found = [Trajectory(**dict(zip(filled, row, strict=True))) for row in zip(*filled.values(), strict=True)]
    for one, advantage in zip(found, columns.get(_ADVANTAGE_OF_RESPONSE, ()), strict=False):
        one.advantages = [advantage] * one.num_tokens
    return found


def require_finite(trajectories: Sequence[Trajectory]) -> None:
    """Refuse log-probabilities and values that are not finite.

    Args:
        trajectories: Scored trajectories.

    Raises:
        NonFiniteError: A log-probability or a value is NaN or infinite.
    """
    sources = {
        "engine_logprobs": "the engine",
        "old_logprobs": "the policy",
        "reference_logprobs": "the reference",
        "values": "the value head",
    }
    for name, source in sources.items():
        bad = [place for place, one in enumerate(trajectories) if not all(map(math.isfinite, getattr(one, name)))]
        if bad:
            raise NonFiniteError(
                f"{source} gives {len(bad)} of {len(trajectories)} responses {name} that are NaN or infinite (response "
                f"{bad[0]} first). A drawn token has a probability above 0, so either the weights no longer compute finite "
                "numbers, or the engine draws from another distribution. Lower optimizer.lr, or take rollout=transformers to "
                "see whether the engine is at fault."
            )
