"""Logits at answer tokens alone, in chunks of a bounded number of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.data.batch import pad_rows
from drpt.data.chat import EncodedExample
from drpt.models.predictions import predict


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some answer tokens of one example: all of them, unless they are more than a chunk may hold."""

    example: int  # its place among the examples
    positions: tuple[int, ...]  # of the tokens in the conversation

    def __len__(self) -> int:
        """How many tokens."""
        return len(self.positions)


def cut_into_chunks(examples: Sequence[EncodedExample], max_tokens: int) -> list[list[Piece]]:
    """Answer tokens in chunks; a chunk ends where the next example's tokens do not fit, and begins with the longest left.

    Args:
        examples: What is measured.
        max_tokens: Most answer tokens of a chunk, at least 1; an example that has more is cut.

    Returns:
        Every token that counts in the loss, once.
    """
    chunks: list[list[Piece]] = [[]]
    room = max_tokens
    # The longest first: what one batch freed has room for the next.
    for i in sorted(range(len(examples)), key=lambda i: -len(examples[i].token_ids)):
        positions = [t for t, counts in enumerate(examples[i].loss_mask) if counts and t > 0]
        for start in range(0, len(positions), max_tokens):
            piece = Piece(example=i, positions=tuple(positions[start : start + max_tokens]))
            if len(piece) > room:
                chunks.append([])
                room = max_tokens
            chunks[-1].append(piece)
            room -= len(piece)
    return chunks


def answers_of(examples: Sequence[EncodedExample], chunk: Sequence[Piece]) -> Int[Tensor, " token"]:
    """The right token at every position of a chunk."""
    return torch.tensor([examples[piece.example].token_ids[t] for piece in chunk for t in piece.positions])


def answer_logits(
    model: Any,  # Any: transformers has no types
    examples: Sequence[EncodedExample],
    chunk: Sequence[Piece],
    *,
    pad_token_id: int,
    batch_rows: int,
    device: torch.device,
) -> Iterator[Float[Tensor, "token V"]]:
    """Logits that predict a chunk's tokens, in its order.

    Args:
        model: Causal language model, in evaluation mode and without gradients (see `drpt.evaluation.held_out.evaluating`).
        examples: What is measured.
        chunk: Which tokens of which examples.
        pad_token_id: For padding; masked.
        batch_rows: Examples a forward pass, in which the chunk's logits alone are computed.
        device: Where the model is.

    Yields:
        The next tokens' logits in the model's dtype, a block a forward pass.
    """
    for start in range(0, len(chunk), batch_rows):
        pieces = chunk[start : start + batch_rows]
        tokens = pad_rows([examples[piece.example] for piece in pieces], pad_token_id=pad_token_id).to(device)
        width = tokens.token_ids.shape[1]
        # The logits at t − 1 predict token t.
        before = [row * width + t - 1 for row, piece in enumerate(pieces) for t in piece.positions]
        yield predict(model, tokens.model_inputs(), torch.tensor(before, device=device)).logits
