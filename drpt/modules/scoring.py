"""Log-probabilities of given responses under a model, batch by batch and without gradients."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from drpt.data.batch import TokenBatch
from drpt.modules.experience import Experience
from drpt.objectives.policy import ResponseTokens, response_tokens


def score_batch(model: Any, tokens: TokenBatch, temperature: float) -> ResponseTokens:  # Any: transformers has no types
    """Log-probs and entropies of a batch's responses; gradients flow into the former.

    Args:
        model: Causal language model.
        tokens: Prompts and responses; the loss mask marks the responses.
        temperature: Logits are divided by it, as when the responses were drawn.

    Returns:
        Nats [row, token], 0 outside the responses.
    """
    logits = model(**tokens.model_inputs(), use_cache=False).logits
    return response_tokens(logits, tokens.token_ids, tokens.loss_mask, temperature=temperature)


@torch.no_grad()
def score_responses(
    model: Any,  # Any: transformers has no types
    experience: Experience,
    *,
    temperature: float,
    pad_token_id: int,
    batch_rows: int,
    device: torch.device,
) -> list[list[float]]:
    """Log-probs of all responses.

    Args:
        model: In the mode in which it is trained.
        experience: Whose responses.
        temperature: See `score_batch`.
        pad_token_id: For padding.
        batch_rows: Rows a forward pass; the result does not depend on it but for rounding.
        device: Where the model is.

    Returns:
        Nats, one list a row.
    """
    found: dict[int, list[float]] = {}
    for rows in in_batches(experience, batch_rows):
        tokens = experience.tokens(rows, pad_token_id=pad_token_id).to(device)
        logprobs = score_batch(model, tokens, temperature).logprobs
        for row, values, mask in zip(rows, logprobs, tokens.loss_mask, strict=True):
            found[row] = values[mask].tolist()
    return [found[row] for row in range(len(experience))]


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
