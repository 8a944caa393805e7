"""The protocol of rollout engines, their sampling settings and their responses; the interface between `drpt.rl` and engines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling settings, the same for all prompts of a call."""

    num_responses: int  # responses to each prompt
    max_tokens: int  # tokens of the longest response
    temperature: float  # divisor of the logits; 0 = the most likely token
    seed: int  # seed that, with the positions of prompt and response in the call, determines every draw
    stop_token_ids: tuple[int, ...]  # tokens that end a response and belong to it
    top_p: float = 1.0  # probability mass of the most likely tokens that are sampled from; 1 = all
    top_k: int = 0  # number of the most likely tokens that are sampled from; 0 = all


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response to one prompt."""

    token_ids: tuple[int, ...]  # at least one token; a stop token, if any, is the last
    logprobs: tuple[float, ...]  # log-probability of each token under the sampling distribution, in nats
    is_finished: bool  # True if a stop token ended the response, False if max_tokens did


class Rollout(Protocol):
    """An engine that holds a copy of the policy's weights; built by its constructor."""

    @property
    def dtype(self) -> str:
        """The engine's floating-point type: ``float32`` or ``bfloat16``."""

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Load the policy's weights, and drop what was cached under the old ones.

        Args:
            weights: Name in the Hugging Face model and value of every parameter, adapters merged, tied parameters once.

        Raises:
            RolloutError: The engine has died, or the weights do not fit it.
        """

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses.

        Args:
            prompts: Token ids of each prompt; at least one, and short enough for the engine's context.
            sampling: Sampling settings.

        Returns:
            ``sampling.num_responses`` responses for each prompt, in the prompts' order. The same call on the same weights
            gives the same responses if the engine is deterministic (float32).

        Raises:
            RolloutError: The engine has died, or a prompt does not fit.
        """

    def close(self) -> None:
        """Free all resources; further calls have no effect."""
