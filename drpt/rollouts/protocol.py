"""What generates responses, whatever is behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How responses are drawn; the same for all prompts of one call."""

    num_responses: int  # of each prompt
    max_tokens: int  # longest response
    temperature: float  # logits are divided by it; 0 = the most likely token
    seed: int  # with the place of prompt and response in the call it determines every draw
    stop_token_ids: tuple[int, ...]  # each ends a response and is part of it
    top_p: float = 1.0  # share of the probability that is drawn from; 1 = all
    top_k: int = 0  # tokens that are drawn from; 0 = all


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response to one prompt."""

    token_ids: tuple[int, ...]  # at least one; the token that ended it is the last
    logprobs: tuple[float, ...]  # nats, of each token when it was drawn, under the temperature
    is_finished: bool  # a stop token ended it, not the length


class Rollout(Protocol):
    """An engine that holds a copy of the policy's weights; built by its constructor."""

    @property
    def dtype(self) -> str:
        """``float32`` or ``bfloat16``: what it computes in."""

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take over the policy's weights, and forget what was cached under the old ones.

        Args:
            weights: Every parameter by its name in the Hugging Face model, adapters merged; a tied one once.

        Raises:
            RolloutError: The engine has died, or the weights do not fit it.
        """

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Response]]:
        """Draw responses.

        Args:
            prompts: Token ids, each at least one and short enough for the engine's context.
            sampling: How.

        Returns:
            ``sampling.num_responses`` a prompt, in the prompts' order; the same call on the same weights gives the same
            responses where the engine is deterministic (float32).

        Raises:
            RolloutError: The engine has died, or a prompt does not fit.
        """

    def close(self) -> None:
        """Free everything; may be called again."""
