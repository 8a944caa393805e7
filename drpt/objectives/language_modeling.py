"""Next-token losses. Axes: batch = rows, token = positions, V = vocabulary, example = whole texts, several a row if packed."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.objectives.counted import at_places, predicting_places, spread


def token_losses(
    logits: Float[Tensor, "batch token V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch token"]:
    """``−log p(token_t | tokens before t)`` where the mask is set, else 0; in float32 or better.

    The logits at a position predict the next token; the first position's entry is 0 whatever its mask.

    Args:
        logits: The model's output.
        token_ids: Its input.
        loss_mask: Which tokens count.

    Returns:
        Nats [batch, token].
    """
    return counted_losses(at_places(logits, predicting_places(loss_mask)), token_ids, loss_mask)


def counted_losses(
    logits: Float[Tensor, "counted V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch token"]:
    """`token_losses` from the logits that predict the counted tokens, in order: prompts are most of a batch.

    Args:
        logits: At the positions before the counted tokens (`drpt.objectives.counted`).
        token_ids: Of the batch.
        loss_mask: Which tokens count.

    Returns:
        Nats [batch, token].
    """
    exact = logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits
    return spread(F.cross_entropy(exact, token_ids[:, 1:][loss_mask[:, 1:]], reduction="none"), loss_mask)


def sample_losses(
    logits: Float[Tensor, "batch token V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, " batch"]:
    """Mean of each row's `token_losses` over its counted tokens; 0 for a row that has none.

    Args:
        logits: The model's output.
        token_ids: Its input.
        loss_mask: Which tokens count.

    Returns:
        Nats a token [batch].
    """
    return row_means(token_losses(logits, token_ids, loss_mask), loss_mask)


def row_means(losses: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, " batch"]:
    """Mean of each row's losses over its counted tokens; 0 for a row that has none."""
    return losses.sum(dim=1) / loss_mask[:, 1:].sum(dim=1).clamp(min=1)


def packed_sample_losses(
    logits: Float[Tensor, "batch token V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
    example_of_token: Int[Tensor, "batch token"],
    *,
    num_examples: int,
) -> Float[Tensor, " example"]:
    """Mean of each example's `token_losses` over its counted tokens, wherever they stand; 0 for one that has none.

    Args:
        logits: The model's output.
        token_ids: Its input.
        loss_mask: Which tokens count. Not checked: no example's first token does, since another text precedes it.
        example_of_token: Which example each token belongs to, from 0; negative for padding.
        num_examples: How many there are.

    Returns:
        Nats a token [example].
    """
    return example_means(token_losses(logits, token_ids, loss_mask), loss_mask, example_of_token, num_examples=num_examples)


def example_means(
    losses: Float[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
    example_of_token: Int[Tensor, "batch token"],
    *,
    num_examples: int,
) -> Float[Tensor, " example"]:
    """Mean of each example's losses over its counted tokens; see `packed_sample_losses`."""
    counts = loss_mask[:, 1:]
    own_losses = losses[:, 1:][counts]
    # A table [example, counted token], far smaller than the logits: sums in a fixed order, which scattered additions on a
    # GPU are not, and one example's infinite loss stays its own, which a product with zeros would spread.
    is_own = example_of_token[:, 1:][counts] == torch.arange(num_examples, device=losses.device)[:, None]
    return torch.where(is_own, own_losses, 0.0).sum(dim=1) / is_own.sum(dim=1).clamp(min=1)
