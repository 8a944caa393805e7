"""Encoded prompts for reinforcement learning: those of every rollout phase, and the held-out ones."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from drpt.data.chat import ChatEncoder, EncodedExample
from drpt.data.chat_report import report_prompts
from drpt.data.example import Example
from drpt.data.order import rows_of_step
from drpt.data.pools import Pools
from drpt.data.spec import DataSpec
from drpt.models.chat_renderer import ChatStyle, ChatTemplateError

_log = logging.getLogger(__name__)


class NoUsablePromptError(ValueError):
    """Too few prompts leave room for a response."""


class PromptData:
    """Encoded prompts of all pools; the prompts of a phase are a pure function of seed and phase.

    Args:
        pools: Disjoint pools of examples.
        tokenizer: Tokenizer of transformers that has a chat template.
        spec: The `data` config group, whose ``max_length`` bounds prompt and response together.
        max_new_tokens: Number of tokens reserved for a response.
        num_prompts: Number of general prompts per call of `general`.
        seed: Seed of the order of prompts.
        style: Date and options passed to the chat template.

    Raises:
        NoUsablePromptError: A pool has too few prompts that leave room for a response.
        ChatTemplateError: The chat template refuses all examples of a pool.
    """

    def __init__(
        self,
        pools: Pools,
        tokenizer: Any,  # Any: transformers has no types
        spec: DataSpec,
        *,
        max_new_tokens: int,
        num_prompts: int,
        seed: int,
        style: ChatStyle | None = None,
    ) -> None:
        self._encoder = ChatEncoder(tokenizer, max_length=spec.max_length, style=style or ChatStyle())
        self.counts = dict(pools.counts)
        self._longest = spec.max_length - max_new_tokens
        wanted = {"general": num_prompts, "target": spec.target_rows, "stopping": 0, "evaluation": 1}
        self._pools: dict[str, list[EncodedExample]] = {}
        for name, count in wanted.items():
            self._pools[name] = self._encode(name, getattr(pools, name))
            if len(self._pools[name]) < count:
                raise NoUsablePromptError(
                    f"data.max_length={spec.max_length}: only {len(self._pools[name])} prompts of the {name} pool leave room "
                    f"for a response of {max_new_tokens} tokens ({self.counts[f'{name}_too_long']} are too long), but {count} "
                    "are needed. Raise data.max_length or use shorter prompts."
                )
        report_prompts(self.all, end_of_text=tokenizer.eos_token)
        self._num_prompts = num_prompts
        self._num_targets = spec.target_rows
        self._seed = seed

    @property
    def evaluation(self) -> list[EncodedExample]:
        """Held-out target prompts."""
        return self._pools["evaluation"]

    @property
    def all(self) -> list[EncodedExample]:
        """Prompts of every pool."""
        return [row for pool in self._pools.values() for row in pool]

    @property
    def stopping(self) -> list[EncodedExample]:
        """Target prompts held out of training for early stopping; may be empty."""
        return self._pools["stopping"]

    def general(self, draw: int) -> list[EncodedExample]:
        """Select general prompts.

        Args:
            draw: Index of the call, from 0; a phase may need several.

        Returns:
            ``num_prompts`` distinct prompts.
        """
        return self._draw("general", self._num_prompts, draw)

    def target(self, phase: int) -> list[EncodedExample]:
        """Select the target prompts of a phase.

        Args:
            phase: Index of the phase, from 0.

        Returns:
            ``data.target_rows`` distinct prompts.
        """
        return self._draw("target", self._num_targets, phase)

    def _draw(self, pool: str, count: int, draw: int) -> list[EncodedExample]:
        members = self._pools[pool]
        places = rows_of_step(pool_size=len(members), count=count, step=draw, seed=self._seed, stream=f"{pool} prompts")
        return [members[place] for place in places]

    def _encode(self, name: str, examples: Sequence[Example]) -> list[EncodedExample]:
        encoded, refused = [], []
        for example in examples:
            try:
                row = self._encoder.encode_prompt(example)
            except ChatTemplateError as error:
                refused.append(f"{example.source}: {error}")
                continue
            if 0 < len(row.prompt_ids) <= self._longest:
                encoded.append(row)
        if refused and len(refused) == len(examples):
            raise ChatTemplateError(refused[0])
        if refused:
            self.counts[f"{name}_refused"] = self.counts.get(f"{name}_refused", 0) + len(refused)
            _log.warning("%s pool: left out %d of %d prompts. The first, %s", name, len(refused), len(examples), refused[0])
        too_long = len(examples) - len(encoded) - len(refused)
        self.counts[f"{name}_too_long"] = self.counts.get(f"{name}_too_long", 0) + too_long
        return encoded


class StepNumbers:
    """Iterates over the indices of the remaining optimizer steps, as the loader of a trainer whose policy makes the batches.

    Args:
        num_steps: Optimizer steps of the whole run.
        taken: Function that returns the number of steps taken so far.
    """

    def __init__(self, num_steps: int, *, taken: Callable[[], int]) -> None:
        self._num_steps = num_steps
        self._taken = taken
        self._first_step = 0

    def __len__(self) -> int:
        """Number of steps of the whole run, since Lightning counts those before a resumption as taken."""
        return self._num_steps

    def __iter__(self) -> Iterator[int]:
        """Iterate from the first step not yet taken."""
        return iter(range(self._first_step, self._num_steps))

    def state_dict(self) -> dict[str, int]:
        """The number of optimizer steps taken."""
        return {"step": self._taken()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the steps already taken."""
        self._first_step = state_dict["step"]
