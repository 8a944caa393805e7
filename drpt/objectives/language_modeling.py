"""Next-token losses of language models.

Axes: batch = rows, token = positions, V = vocabulary, example = whole texts, of which a packed row holds several.
"""

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

    The logits at a position predict the next token. The entry of the first position is 0, whatever its mask.

    Args:
        logits: Output of the model [batch, token, V].
        token_ids: Input of the model [batch, token].
        loss_mask: Mask of the tokens that count [batch, token].

    Returns:
        Losses of the tokens [batch, token], in nats.
    """
    return counted_losses(at_places(logits, predicting_places(loss_mask)), token_ids, loss_mask)


def counted_losses(
    logits: Float[Tensor, "counted V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch token"]:
    """Compute `token_losses` from the logits of the counted tokens only, without those of prompts.

    Args:
        logits: Output of the model at the positions before the counted tokens [counted, V] (`drpt.objectives.counted`).
        token_ids: Input of the model [batch, token].
        loss_mask: Mask of the tokens that count [batch, token].

    Returns:
        Losses of the tokens [batch, token], in nats.
    """
    exact = logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits
    return spread(F.cross_entropy(exact, token_ids[:, 1:][loss_mask[:, 1:]], reduction="none"), loss_mask)


def sample_losses(
    logits: Float[Tensor, "batch token V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, " batch"]:
    """Mean of each row's `token_losses` over its counted tokens; 0 for a row without any.

    Args:
        logits: Output of the model [batch, token, V].
        token_ids: Input of the model [batch, token].
        loss_mask: Mask of the tokens that count [batch, token].

    Returns:
        Losses of the rows [batch], in nats per token.
    """
    return row_means(token_losses(logits, token_ids, loss_mask), loss_mask)


def row_means(losses: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, " batch"]:
    """Mean of each row's losses over its counted tokens; 0 for a row without any."""
    return losses.sum(dim=1) / loss_mask[:, 1:].sum(dim=1).clamp(min=1)


def packed_sample_losses(
    logits: Float[Tensor, "batch token V"],
    token_ids: Int[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
    example_of_token: Int[Tensor, "batch token"],
    *,
    num_examples: int,
) -> Float[Tensor, " example"]:
    """Mean of each example's `token_losses` over its counted tokens, in whichever row they are; 0 for one without any.

    Args:
        logits: Output of the model [batch, token, V].
        token_ids: Input of the model [batch, token].
        loss_mask: Mask of the tokens that count [batch, token]. The first token of an example must not count, since another
            text precedes it; this is not checked.
        example_of_token: Index of the example to which each token belongs [batch, token]; negative for padding.
        num_examples: Number of examples.

    Returns:
        Losses of the examples [example], in nats per token.
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
    # A table [example, counted token] is far smaller than the logits. Scattered additions on a GPU have no fixed order; a
    # product with zeros would spread one example's infinite loss to all others.
    is_own = example_of_token[:, 1:][counts] == torch.arange(num_examples, device=losses.device)[:, None]
    return torch.where(is_own, own_losses, 0.0).sum(dim=1) / is_own.sum(dim=1).clamp(min=1)
