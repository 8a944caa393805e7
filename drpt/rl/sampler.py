"""Draws responses from the policy and has them judged."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from drpt.data.chat import EncodedExample
from drpt.models.merged import merged_weights
from drpt.models.value_head import language_model
from drpt.rewards.build import Rewards
from drpt.rewards.reward import Answer, Verdict
from drpt.rewards.weighted import Judged
from drpt.rollouts.protocol import Response, Rollout, Sampling
from drpt.rollouts.spec import RolloutSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedResponse:
    """One response, its reward, and the opinions of judges that training does not follow."""

    response: Response
    judged: Judged  # by the reward
    opinions: Mapping[str, Verdict]  # by name of the judge


Opinions = list[list[tuple[Judged, Mapping[str, Verdict]]]]


def opinions_of(groups: Sequence[Sequence[JudgedResponse]]) -> Opinions:
    """Rewards and opinions in the form that `drpt.rewards.judges.metrics_by_role` takes."""
    return [[(one.judged, one.opinions) for one in group] for group in groups]


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent since `Sampler.reset_seconds`."""

    generating: float = 0.0
    judging: float = 0.0  # by the reward and the judges


class Sampler:
    """The engine that draws responses, and the reward and judges that say what they are worth.

    Args:
        engine: Engine that holds a copy of the policy's weights.
        rewards: Reward that training follows, and judges that it does not follow.
        tokenizer: Tokenizer of transformers.
        spec: The `rollout` config group.
        stop_token_ids: Token ids each of which ends a response.
        seed: Seed of the run, which every draw depends on.
    """

    def __init__(
        self,
        engine: Rollout,
        rewards: Rewards,
        tokenizer: Any,  # Any: transformers has no types
        spec: RolloutSpec,
        *,
        stop_token_ids: Sequence[int],
        seed: int,
    ) -> None:
        self.engine = engine
        self.rewards = rewards
        self.spec = spec
        self.seconds = Stopwatch()
        self._tokenizer = tokenizer
        self._stops = tuple(stop_token_ids)
        self._seed = seed
        self._device_type = "cpu"  # until training begins

    def follow(self, model: nn.Module) -> None:
        """Note which device the policy is on: its autocast must not reach the engine and the judges."""
        self._device_type = next(language_model(model).parameters()).device.type

    def reset_seconds(self) -> None:
        """Count seconds anew, for the next phase."""
        self.seconds = Stopwatch()

    def sync(self, model: nn.Module) -> float:
        """Hand the policy's weights to the engine.

        Args:
            model: Policy.

        Returns:
            Seconds that it took.
        """
        start = time.perf_counter()
        self.engine.sync(merged_weights(language_model(model)))
        return time.perf_counter() - start

    def sampling(
        self,
        *stream: object,
        num_responses: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Sampling:
        """How responses are drawn.

        Args:
            *stream: Names that, with the run's seed, determine the draws; the same names give the same draws.
            num_responses: Responses to each prompt; the configuration's if left out.
            temperature: What logits are divided by, 0 for the most likely tokens; the configuration's if left out.
            max_tokens: Tokens of the longest response; the configuration's if left out.

        Returns:
            Settings for the engine.
        """
        digest = hashlib.sha256(repr((self._seed, *stream)).encode()).digest()
        is_greedy = temperature == 0.0
        return Sampling(
            num_responses=self.spec.num_responses if num_responses is None else num_responses,
            max_tokens=self.spec.max_tokens if max_tokens is None else max_tokens,
            temperature=self.spec.temperature if temperature is None else temperature,
            seed=int.from_bytes(digest[:4], "big") // 2,
            stop_token_ids=self._stops,
            top_p=1.0 if is_greedy else self.spec.top_p,
            top_k=0 if is_greedy else self.spec.top_k,
        )

    def sample(self, examples: Sequence[EncodedExample], sampling: Sampling) -> list[list[JudgedResponse]]:
        """Draw and judge responses.

        Args:
            examples: Prompts.
            sampling: How to draw; see `sampling`.

        Returns:
            For each prompt its responses.
        """
        # Autocast is the trainer's: an engine and models that judge have precisions of their own.
        with torch.autocast(self._device_type, enabled=False):
            start = time.perf_counter()
            responses = self.engine.generate([example.prompt_ids for example in examples], sampling)
            self.seconds.generating += time.perf_counter() - start
            pairs = zip(examples, responses, strict=True)
            answers = [self._answer(example, response) for example, group in pairs for response in group]
            start = time.perf_counter()
            judged = iter(zip(self.rewards.terms(answers), self.rewards.judges(answers), strict=True))
            self.seconds.judging += time.perf_counter() - start
        return [
            [
                JudgedResponse(response=response, judged=reward, opinions=opinions)
                for response, (reward, opinions) in zip(group, islice(judged, len(group)), strict=True)
            ]
            for group in responses
        ]

    def table_row(self, example: EncodedExample, judged_response: JudgedResponse) -> dict[str, Any]:
        """One response as a table shows it.

        Args:
            example: Prompt.
            judged_response: Response to it.

        Returns:
            Plain values by the table's column.
        """
        return {
            "prompt": example.example.prompt[-1].content,
            "expected": example.example.response,
            "answer": self._text(judged_response.response),
            "is_correct": judged_response.judged.is_correct,  # None where the reward does not judge it
            "reward": judged_response.judged.value,
            **{name: verdict.value for name, verdict in judged_response.opinions.items()},
        }

    def _answer(self, example: EncodedExample, response: Response) -> Answer:
        return Answer(
            example=example.example,
            text=self._text(response),
            is_finished=response.is_finished,
            num_tokens=len(response.token_ids),
        )

    def _text(self, response: Response) -> str:
        return str(self._tokenizer.decode(response.token_ids, skip_special_tokens=True))
