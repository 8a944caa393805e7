"""The rows of one step in tensors. Axes: row, token = positions of a row, example = general examples first, then target.

A row holds one example and padding on the right (`pad_rows`), or several examples and little padding (`pack_rows`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from drpt.data.chat import EncodedExample
from drpt.data.packing import fullest_row, share_rows


# Not frozen: Lightning's precision plugins take a batch apart and put a copy together, which they refuse for frozen ones.
@dataclass(slots=True, kw_only=True)
class TokenBatch:
    """Conversations, padded or packed."""

    token_ids: Int[Tensor, "row token"]
    attention_mask: Int[Tensor, "row token"] | None  # padded rows: 1 = a token, 0 = padding; packed rows: None
    position_ids: Int[Tensor, "row token"] | None  # packed rows: from 0 in each example and in padding; padded rows: None
    loss_mask: Bool[Tensor, "row token"]  # the token is predicted and counts in the loss
    example_of_token: Int[Tensor, "row token"]  # which example of the step the token belongs to; -1 = padding

    def to(self, device: torch.device) -> "TokenBatch":
        """The same on another device."""
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
        """Tokens of examples, padding left out."""
        return int((self.example_of_token >= 0).sum())

    def model_inputs(self) -> dict[str, Tensor]:
        """Keyword arguments for a causal language model of transformers, under which each example sees itself alone."""
        # Positions that restart mark packed examples for transformers' causal masks, but only where no mask is given.
        given = {"attention_mask": self.attention_mask, "position_ids": self.position_ids}
        return {"input_ids": self.token_ids} | {name: value for name, value in given.items() if value is not None}

    @property
    def examples(self) -> list[int]:
        """Places in the step of the examples that are here, ascending."""
        found: list[int] = self.example_of_token[self.example_of_token >= 0].unique().tolist()
        return found


@dataclass(slots=True, kw_only=True)
class StepBatch:
    """One step's general and target examples, in one micro-batch after another."""

    parts: list[TokenBatch]  # those of this process
    example_ids: Int[Tensor, " general"]  # place of each general example in its pool
    loss_tokens: Int[Tensor, " general"]  # how many of its tokens count in its loss
    num_target: int
    step: int  # number of the optimizer step, from 0

    def to(self, device: torch.device) -> "StepBatch":
        """The same on another device."""
        return StepBatch(
            parts=[part.to(device) for part in self.parts],
            example_ids=self.example_ids.to(device),
            loss_tokens=self.loss_tokens.to(device),
            num_target=self.num_target,
            step=self.step,
        )

    @property
    def num_general(self) -> int:
        """``n``, over all processes."""
        return len(self.example_ids)

    @property
    def num_examples(self) -> int:
        """``n + m``, over all processes."""
        return self.num_general + self.num_target


def pad_rows(rows: Sequence[EncodedExample], *, pad_token_id: int, examples: Sequence[int] | None = None) -> TokenBatch:
    """Pad conversations to the longest of them, one a row.

    Args:
        rows: At least one example.
        pad_token_id: Fills the rest; masked everywhere.
        examples: Place of each in the step, ascending; from 0 if left out.

    Returns:
        Tensors [row, token].
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
    """Put several conversations into a row, each whole, with little padding; never more of it than `pad_rows` needs.

    The first token of an example never counts in the loss: what stands before it is another example.

    Args:
        rows: At least one example; none empty.
        pad_token_id: Fills the end of a row, as a segment of its own.
        max_length: Most tokens of a row; the batch is as wide as its fullest row.
        examples: Place of each in the step, ascending; from 0 if left out.

    Returns:
        Tensors [row, token]; which examples share a row depends on their lengths and order alone.

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
