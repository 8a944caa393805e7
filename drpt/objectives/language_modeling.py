"""Next-token losses. Axes: batch = rows, token = positions, V = vocabulary, example = whole texts, several a row if packed."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


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
    counts = loss_mask[:, 1:]
    # Only rows of the vocabulary that count are turned into probabilities: prompts are most of a batch.
    # Whole rows by number: a mask would do, but its backward pass is several times slower.
    places = F.pad(counts, (0, 1)).flatten().nonzero().squeeze(1)
    picked = logits.flatten(0, 1).index_select(0, places)
    picked = picked.float() if picked.dtype in {torch.float16, torch.bfloat16} else picked
    losses = F.cross_entropy(picked, token_ids[:, 1:][counts], reduction="none")
    return F.pad(losses.new_zeros(counts.shape).masked_scatter(counts, losses), (1, 0))


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
    num_tokens = loss_mask[:, 1:].sum(dim=1).clamp(min=1)
    return token_losses(logits, token_ids, loss_mask).sum(dim=1) / num_tokens


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
    counts = loss_mask[:, 1:]
    losses = token_losses(logits, token_ids, loss_mask)[:, 1:][counts]
    # A table [example, counted token], far smaller than the logits: sums in a fixed order, which scattered additions on a
    # GPU are not, and one example's infinite loss stays its own, which a product with zeros would spread.
    is_own = example_of_token[:, 1:][counts] == torch.arange(num_examples, device=losses.device)[:, None]
    return torch.where(is_own, losses, 0.0).sum(dim=1) / is_own.sum(dim=1).clamp(min=1)
