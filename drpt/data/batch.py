"""Batches of tokens for training and evaluation: one padded example per row (`pad_rows`), or several (`pack_rows`).

Axes: row, token = positions of a row, general = general examples of a step. Within a step, general examples come first, then
target examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from drpt.data.chat import EncodedExample
from drpt.data.packing import fullest_row, share_rows


# Not frozen: Lightning's precision plugins rebuild batches field by field and refuse frozen dataclasses.
@dataclass(slots=True, kw_only=True)
class TokenBatch:
    """A micro-batch of conversations, padded or packed."""

    token_ids: Int[Tensor, "row token"]
    attention_mask: Int[Tensor, "row token"] | None  # padded rows: 1 = token, 0 = padding; packed rows: None
    position_ids: Int[Tensor, "row token"] | None  # packed rows: positions from 0 in each example; padded rows: None
    loss_mask: Bool[Tensor, "row token"]  # True = the token counts in the loss
    example_of_token: Int[Tensor, "row token"]  # index of the token's example in the step; -1 = padding

    def to(self, device: torch.device) -> "TokenBatch":
        """Copy the batch to a device."""
        return TokenBatch(
            token_ids=self.token_ids.to(device),
            attention_mask=None if self.attention_mask is None else self.attention_mask.to(device),
            position_ids=None if self.position_ids is None else self.position_ids.to(device),
            loss_mask=self.loss_mask.to(device),
            example_of_token=self.example_of_token.to(device),
        )

    @property
    def is_packed(self) -> bool:
        """Whether a row may hold several examples."""
        return self.position_ids is not None

    @property
    def num_tokens(self) -> int:
        """Number of tokens without padding."""
        return int((self.example_of_token >= 0).sum())

    def model_inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of a causal language model of transformers, in which no example attends to another."""
        # transformers recognises packed examples by positions that restart at 0, but only if no mask is given.
        given = {"attention_mask": self.attention_mask, "position_ids": self.position_ids}
        return {"input_ids": self.token_ids} | {name: value for name, value in given.items() if value is not None}

    @property
    def examples(self) -> list[int]:
        """Indices in the step of the examples in this batch, ascending."""
        found: list[int] = self.example_of_token[self.example_of_token >= 0].unique().tolist()
        return found


@dataclass(slots=True, kw_only=True)
class StepBatch:
    """The general and target examples of one optimizer step, divided into micro-batches."""

    micro_batches: list[TokenBatch]  # micro-batches of this process
    example_ids: Int[Tensor, " general"]  # index of each general example in its pool
    loss_tokens: Int[Tensor, " general"]  # number of tokens of each general example that count in its loss
    num_target: int  # number of target examples, over all processes
    step: int  # index of the optimizer step, from 0

    def to(self, device: torch.device) -> "StepBatch":
        """Copy the batch to a device."""
        return StepBatch(
            micro_batches=[micro_batch.to(device) for micro_batch in self.micro_batches],
            example_ids=self.example_ids.to(device),
            loss_tokens=self.loss_tokens.to(device),
            num_target=self.num_target,
            step=self.step,
        )

    @property
    def num_general(self) -> int:
        """Number of general examples, ``n``, over all processes."""
        return len(self.example_ids)

    @property
    def num_examples(self) -> int:
        """Number of general and target examples, ``n + m``, over all processes."""
        return self.num_general + self.num_target


def pad_rows(rows: Sequence[EncodedExample], *, pad_token_id: int, examples: Sequence[int] | None = None) -> TokenBatch:
    """Build a batch with one conversation per row, padded to the longest.

    Args:
        rows: Encoded examples, at least one.
        pad_token_id: Token used for padding; masked.
        examples: Index of each example in the step, ascending; 0, 1, … if left out.

    Returns:
        Batch of tensors [row, token].
    """
    shape = len(rows), max(len(row.token_ids) for row in rows)
    token_ids = torch.full(shape, pad_token_id)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    loss_mask = torch.zeros(shape, dtype=torch.bool)
    example_of_token = torch.full(shape, -1)
    for i, row in enumerate(rows):
        token_ids[i, : len(row.token_ids)] = torch.tensor(row.token_ids)
        attention_mask[i, : len(row.token_ids)] = 1
        loss_mask[i, : len(row.token_ids)] = torch.tensor(row.loss_mask)
        example_of_token[i, : len(row.token_ids)] = i if examples is None else examples[i]
    return TokenBatch(
        token_ids=token_ids,
        attention_mask=attention_mask,
        position_ids=None,
        loss_mask=loss_mask,
        example_of_token=example_of_token,
    )


def pack_rows(
    rows: Sequence[EncodedExample], *, pad_token_id: int, max_length: int, examples: Sequence[int] | None = None
) -> TokenBatch:
    """Build a batch with several whole conversations per row, with at most as much padding as `pad_rows` needs.

    The first token of an example never counts in the loss, since it follows another example.

    Args:
        rows: Encoded examples, at least one; none is empty.
        pad_token_id: Token that fills the end of a row, as a segment of its own.
        max_length: Largest number of tokens in a row; the batch is as wide as its fullest row.
        examples: Index of each example in the step, ascending; 0, 1, … if left out.

    Returns:
        Batch of tensors [row, token]; the assignment of examples to rows depends only on their lengths and order.

    Raises:
        ValueError: An example is longer than ``max_length``.
    """
    lengths = [len(row.token_ids) for row in rows]
    layout = share_rows(lengths, max_length=max_length)
    shape = len(layout), fullest_row(layout, lengths)
    token_ids = torch.full(shape, pad_token_id)
    position_ids = torch.zeros(shape, dtype=torch.long)
    loss_mask = torch.zeros(shape, dtype=torch.bool)
    example_of_token = torch.full(shape, -1)
    for i, members in enumerate(layout):
        start = 0
        for example in members:
            place = slice(start, start + lengths[example])
            token_ids[i, place] = torch.tensor(rows[example].token_ids)
            position_ids[i, place] = torch.arange(lengths[example])
            loss_mask[i, place] = torch.tensor([False, *rows[example].loss_mask[1:]])
            example_of_token[i, place] = example if examples is None else examples[example]
            start = place.stop
        position_ids[i, start:] = torch.arange(shape[1] - start)
    return TokenBatch(
        token_ids=token_ids,
        attention_mask=None,
        position_ids=position_ids,
        loss_mask=loss_mask,
        example_of_token=example_of_token,
    )
