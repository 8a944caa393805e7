"""The rows of one step in tensors. Axes: batch = rows, general first; token = positions, padded on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from drpt.data.chat import EncodedExample


# Not frozen: Lightning's precision plugins take a batch apart and put a copy together, which they refuse for frozen ones.
@dataclass(slots=True, kw_only=True)
class TokenBatch:
    """Padded conversations."""

    token_ids: Int[Tensor, "batch token"]
    attention_mask: Int[Tensor, "batch token"]  # 1 = a token, 0 = padding
    loss_mask: Bool[Tensor, "batch token"]  # the token is predicted and counts in the loss

    def to(self, device: torch.device) -> "TokenBatch":
        """The same on another device."""
        return TokenBatch(
            token_ids=self.token_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            loss_mask=self.loss_mask.to(device),
        )


@dataclass(slots=True, kw_only=True)
class StepBatch:
    """One step's general and target rows."""

    tokens: TokenBatch
    example_ids: Int[Tensor, " general"]  # place of each general example in its pool
    num_target: int
    step: int  # number of the optimizer step, from 0

    def to(self, device: torch.device) -> "StepBatch":
        """The same on another device."""
        return StepBatch(
            tokens=self.tokens.to(device),
            example_ids=self.example_ids.to(device),
            num_target=self.num_target,
            step=self.step,
        )


def pad_rows(rows: Sequence[EncodedExample], *, pad_token_id: int) -> TokenBatch:
    """Pad conversations to the longest of them.

    Args:
        rows: At least one example.
        pad_token_id: Fills the rest; masked everywhere.

    Returns:
        Tensors [batch, token].
    """
    length = max(len(row.token_ids) for row in rows)
    token_ids = torch.full((len(rows), length), pad_token_id)
    attention_mask = torch.zeros((len(rows), length), dtype=torch.long)
    loss_mask = torch.zeros((len(rows), length), dtype=torch.bool)
    for i, row in enumerate(rows):
        token_ids[i, : len(row.token_ids)] = torch.tensor(row.token_ids)
        attention_mask[i, : len(row.token_ids)] = 1
        loss_mask[i, : len(row.token_ids)] = torch.tensor(row.loss_mask)
    return TokenBatch(token_ids=token_ids, attention_mask=attention_mask, loss_mask=loss_mask)
