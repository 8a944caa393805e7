"""The Lightning data module, which builds the batch of every step as a pure function of seed and step."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from drpt.data.batch import StepBatch, TokenBatch, pack_rows, pad_rows
from drpt.data.chat import EncodedExample, EncodedPool, encode_examples
from drpt.data.chat_report import report_encoding
from drpt.data.order import rows_of_step
from drpt.data.pools import Pools
from drpt.data.spec import DataSpec
from drpt.data.split import StepSplit
from drpt.models.chat_renderer import ChatStyle


class NoUsableExampleError(ValueError):
    """A pool has fewer usable examples after encoding than a step needs."""


class PostTrainingData(LightningDataModule):
    """Encodes the pools, and provides the batch of every step and the held-out examples.

    Args:
        pools: Disjoint pools of examples.
        tokenizer: Tokenizer of transformers that has a chat template and a padding token.
        spec: The `data` config group.
        num_steps: Optimizer steps of the whole run.
        seed: Seed of the order of examples.
        needs_general: Whether the update uses general examples; otherwise batches have none.
        needs_target: Whether the update uses target examples; otherwise batches have none.
        split: Assignment of the examples of a step to micro-batches.
        style: Date and options passed to the chat template.

    Raises:
        NoUsableExampleError: Too few examples have an assistant token within ``data.max_length``.
        ChatTemplateError: The chat template can be used for no example of a pool.
    """

    def __init__(
        self,
        pools: Pools,
        tokenizer: Any,  # Any: transformers has no types
        spec: DataSpec,
        *,
        num_steps: int,
        seed: int,
        needs_general: bool,
        needs_target: bool,
        split: StepSplit,
        style: ChatStyle | None = None,
    ) -> None:
        super().__init__()
        encoded: dict[str, EncodedPool] = {
            name: encode_examples(tokenizer, getattr(pools, name), max_length=spec.max_length, style=style or ChatStyle())
            for name in ("general", "target", "stopping", "evaluation")
        }
        report_encoding(encoded)
        self.pad_token_id: int = tokenizer.pad_token_id
        self.general, self.target, self.stopping, self.evaluation = (pool.examples for pool in encoded.values())
        self.counts = dict(pools.counts)
        for name, pool in encoded.items():
            self.counts |= {f"{name}_{key}": count for key, count in pool.counts.items()}
        wanted = {"general": spec.general_rows, "target": spec.target_rows, "evaluation": 1}
        if pools.stopping:
            wanted["stopping"] = 1
        for name, count in wanted.items():
            if len(encoded[name].examples) < count:
                raise NoUsableExampleError(
                    f"data.max_length={spec.max_length}: only {len(encoded[name].examples)} examples of the {name} pool have "
                    f"an assistant token to learn ({encoded[name].num_truncated} truncated, {encoded[name].num_empty} left "
                    f"out as empty{_others(encoded[name])}), but {count} are needed. Raise data.max_length or use shorter "
                    "examples."
                )
        self._general_rows = spec.general_rows if needs_general else 0
        self._target_rows = spec.target_rows if needs_target else 0
        self._num_steps = num_steps
        self._seed = seed
        self._is_packing = spec.packing
        self._max_length = spec.max_length
        self._split = split

    def step_batch(self, step: int) -> StepBatch:
        """Build the batch of one step: this process's micro-batches of its general and target examples."""
        general = self._rows(self.general, self._general_rows, step, "general")
        target = self._rows(self.target, self._target_rows, step, "target")
        examples = [self.general[i] for i in general] + [self.target[i] for i in target]
        parts = self._split.divide(num_general=len(general), num_target=len(target))
        counts = [sum(example.loss_mask[1:]) for example in examples[: len(general)]]
        return StepBatch(
            micro_batches=[self._tokens([examples[i] for i in part], part) for part in parts],
            example_ids=torch.tensor(general, dtype=torch.long),
            loss_tokens=torch.tensor(counts, dtype=torch.long),
            num_target=len(target),
            step=step,
        )

    def _tokens(self, rows: list[EncodedExample], examples: Sequence[int]) -> TokenBatch:
        if self._is_packing:
            return pack_rows(rows, pad_token_id=self.pad_token_id, max_length=self._max_length, examples=examples)
        return pad_rows(rows, pad_token_id=self.pad_token_id, examples=examples)

    def _rows(self, pool: list[EncodedExample], count: int, step: int, stream: str) -> list[int]:
        if count == 0:
            return []
        return rows_of_step(pool_size=len(pool), count=count, step=step, seed=self._seed, stream=stream)

    def train_dataloader(self) -> "StepLoader":
        """Every step's batch, in order."""
        return StepLoader(self, num_steps=self._num_steps)


def _others(pool: EncodedPool) -> str:
    """Describe examples left out for other reasons, for a message."""
    found = [one for one in pool.left_out if one.reason not in {"empty", "cut"}]
    return f", {len(found)} for other reasons; the first, {found[0].example.source}: {found[0].words}" if found else ""


class StepLoader:
    """Iterates over the batches of a run, one per step; a resumed run starts with the first step not yet taken.

    Its state is the number of optimizer steps taken, on which alone the order of examples depends.

    Args:
        data: Data module that builds the batches.
        num_steps: Optimizer steps of the whole run.
    """

    def __init__(self, data: PostTrainingData, *, num_steps: int) -> None:
        self._data = data
        self._num_steps = num_steps
        self._first_step = 0

    def __len__(self) -> int:
        """Number of steps of the whole run, since Lightning counts those before a resumption as taken."""
        return self._num_steps

    def __iter__(self) -> Iterator[StepBatch]:
        """Iterate over the remaining batches."""
        return (self._data.step_batch(step) for step in range(self._first_step, self._num_steps))

    def state_dict(self) -> dict[str, int]:
        """The number of optimizer steps taken."""
        assert self._data.trainer is not None
        return {"step": self._data.trainer.global_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the steps already taken."""
        self._first_step = state_dict["step"]
