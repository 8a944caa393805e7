"""Log-probabilities of given responses under a model, and values where it has a value head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.data.batch import TokenBatch
from drpt.models.predictions import predict
from drpt.models.value_head import values_of_tokens
from drpt.modules.experience import Experience
from drpt.objectives.counted import predicting_places
from drpt.objectives.policy import ResponseTokens, response_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScores:
    """What a model says of a batch's responses."""

    tokens: ResponseTokens
    values: Float[Tensor, "row token"] | None  # of the state before each token; None without a value head


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseScores:
    """What a model says of responses, one list a row with a number a token."""

    logprobs: list[list[float]]  # nats
    values: list[list[float]]  # of the state before each token; empty without a value head


def score_batch(
    model: Any,  # Any: transformers has no types
    tokens: TokenBatch,
    temperature: float,
    *,
    entropy_gradient: bool = False,
) -> BatchScores:
    """Log-probs, entropies and values of a batch's responses.

    Args:
        model: Causal language model, with a value head or without.
        tokens: Prompts and responses; the loss mask marks the responses.
        temperature: Logits are divided by it, as when the responses were drawn.
        entropy_gradient: Whether gradients flow into the entropies, too.

    Returns:
        [row, token], log-probs and entropies 0 outside the responses.
    """
    found = predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask))
    return BatchScores(
        tokens=response_tokens(
            found.logits, tokens.token_ids, tokens.loss_mask, temperature=temperature, entropy_gradient=entropy_gradient
        ),
        values=None if found.values is None else values_of_tokens(found.values),
    )


@torch.no_grad()
def score_responses(
    model: Any,  # Any: transformers has no types
    experience: Experience,
    *,
    temperature: float,
    pad_token_id: int,
    batch_rows: int,
    device: torch.device,
) -> ResponseScores:
    """Log-probs and values of all responses, without gradients.

    Args:
        model: In the mode in which it is trained.
        experience: Whose responses.
        temperature: See `score_batch`.
        pad_token_id: For padding.
        batch_rows: Rows a forward pass; the result does not depend on it but for rounding.
        device: Where the model is.

    Returns:
        In the experience's order.
    """
    logprobs: dict[int, list[float]] = {}
    values: dict[int, list[float]] = {}
    for rows in in_batches(experience, batch_rows):
        tokens = experience.tokens(rows, pad_token_id=pad_token_id).to(device)
        scores = score_batch(model, tokens, temperature)
        for place, row in enumerate(rows):
            mask = tokens.loss_mask[place]
            logprobs[row] = scores.tokens.logprobs[place][mask].tolist()
            if scores.values is not None:
                values[row] = scores.values[place][mask].tolist()
    order = range(len(experience))
    return ResponseScores(logprobs=[logprobs[row] for row in order], values=[values[row] for row in order] if values else [])


def in_batches(experience: Experience, batch_rows: int) -> Iterator[Sequence[int]]:
    """Rows by falling length, so many at a time: little padding, and the first batch needs the most memory.

    Args:
        experience: Whose rows.
        batch_rows: Most rows of a batch.

    Yields:
        Rows.
    """
    lengths = [len(p) + len(r) for p, r in zip(experience.prompts, experience.responses, strict=True)]
    order = sorted(range(len(experience)), key=lambda row: -lengths[row])
    for start in range(0, len(order), batch_rows):
        yield sorted(order[start : start + batch_rows])
