"""Logits at answer tokens only, computed in chunks of a bounded number of tokens.

`drpt.app.outcome` compares the predictions of several models with them; the logits of a whole set need not fit in memory.
"""

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
    """Answer tokens of one example: all of them, unless they exceed the size of a chunk."""

    example: int  # index of the example
    positions: tuple[int, ...]  # positions of the tokens in the conversation

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.positions)


def cut_into_chunks(examples: Sequence[EncodedExample], max_tokens: int) -> list[list[Piece]]:
    """Divide the answer tokens into chunks, longest conversations first.

    A chunk ends when the next example's tokens do not fit into it.

    Args:
        examples: Encoded examples to evaluate.
        max_tokens: Largest number of answer tokens in a chunk, at least 1; an example with more is split.

    Returns:
        Chunks that contain every token that counts in the loss exactly once.
    """
    chunks: list[list[Piece]] = [[]]
    room = max_tokens
    # Longest first: memory freed by one batch is large enough for the next.
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
    """Reference token at every position of a chunk [token]."""
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
    """Compute the logits that predict a chunk's tokens, in the order of the chunk.

    Args:
        model: Causal language model, in evaluation mode and without gradients (see `drpt.evaluation.held_out.evaluating`).
        examples: Encoded examples from which the chunk was cut.
        chunk: Tokens to predict.
        pad_token_id: Token used for padding; masked.
        batch_rows: Number of examples in a forward pass.
        device: Device of the model.

    Yields:
        Logits [token, V] of one forward pass, in the model's dtype.
    """
    for start in range(0, len(chunk), batch_rows):
        pieces = chunk[start : start + batch_rows]
        tokens = pad_rows([examples[piece.example] for piece in pieces], pad_token_id=pad_token_id).to(device)
        width = tokens.token_ids.shape[1]
        # The logits at t − 1 predict token t.
        before = [row * width + t - 1 for row, piece in enumerate(pieces) for t in piece.positions]
        yield predict(model, tokens.model_inputs(), torch.tensor(before, device=device)).logits
