"""What a policy says of responses. Axes: row = one prompt and its response, token = positions, V = vocabulary.

Entry t of [row, token] is about token t, predicted from the position before; position 0 is predicted by nothing and counts
nowhere, whatever its mask.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_ENTROPY_ROWS = 256  # rows of the vocabulary whose entropies are computed at once: bounds the memory beside log-softmax's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTokens:
    """A policy's log-probabilities and entropies at the response tokens; 0 elsewhere."""

    logprobs: Float[Tensor, "row token"]  # nats, of the token that stands there; with gradient
    entropies: Float[Tensor, "row token"]  # nats, of the distribution that it was drawn from; with gradient if asked for


def response_logprobs(
    logits: Float[Tensor, "row token V"],
    token_ids: Int[Tensor, "row token"],
    response_mask: Bool[Tensor, "row token"],
    *,
    temperature: float,
) -> Float[Tensor, "row token"]:
    """``log π(token_t | tokens before t)`` where the mask is set, else 0; π is the softmax of ``logits / temperature``.

    In float32 or better, whatever the logits' dtype.

    Args:
        logits: The model's output.
        token_ids: Its input.
        response_mask: Which tokens the policy drew.
        temperature: That they were drawn under; positive, not checked.

    Returns:
        Nats [row, token].
    """
    counts = response_mask[:, 1:]
    return _spread(_picked(_log_softmax(logits, counts, temperature), token_ids[:, 1:][counts]), counts)


def response_tokens(
    logits: Float[Tensor, "row token V"],
    token_ids: Int[Tensor, "row token"],
    response_mask: Bool[Tensor, "row token"],
    *,
    temperature: float,
    entropy_gradient: bool = False,
) -> ResponseTokens:
    """`response_logprobs` and the entropies ``−Σ_y π(y) log π(y)`` at the same tokens, from one softmax.

    Args:
        logits: The model's output.
        token_ids: Its input.
        response_mask: Which tokens the policy drew.
        temperature: That they were drawn under; positive, not checked.
        entropy_gradient: Whether gradients flow into the entropies, too, which keeps another copy of the softmax.

    Returns:
        Both, in nats [row, token].
    """
    counts = response_mask[:, 1:]
    log_softmax = _log_softmax(logits, counts, temperature)
    entropies = torch.cat([_entropy(part, entropy_gradient) for part in log_softmax.split(_ENTROPY_ROWS)])
    return ResponseTokens(
        logprobs=_spread(_picked(log_softmax, token_ids[:, 1:][counts]), counts), entropies=_spread(entropies, counts)
    )


def counted(response_mask: Bool[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
    """The mask without its first position."""
    return F.pad(response_mask[:, 1:], (1, 0))


def num_response_tokens(response_mask: Bool[Tensor, "row token"]) -> Int[Tensor, " row"]:
    """How many tokens of each row count."""
    return response_mask[:, 1:].sum(dim=1)


def masked_sum(values: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"]) -> Float[Tensor, " row"]:
    """Sum of each row's counted values; what stands elsewhere may be anything, NaN included."""
    return torch.where(counted(response_mask), values, 0.0).sum(dim=1)


def masked_mean(values: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"]) -> Float[Tensor, " row"]:
    """Mean of each row's counted values, 0 for a row that has none; what stands elsewhere may be anything, NaN included."""
    return masked_sum(values, response_mask) / num_response_tokens(response_mask).clamp(min=1)


def _log_softmax(
    logits: Float[Tensor, "row token V"], counts: Bool[Tensor, "row before"], temperature: float
) -> Float[Tensor, "counted V"]:
    """Log-probabilities of the whole vocabulary, at the counted tokens alone: prompts are much of a batch."""
    # Whole rows by number: a mask would do, but its backward pass is several times slower.
    places = F.pad(counts, (0, 1)).flatten().nonzero().squeeze(1)
    picked = logits.flatten(0, 1).index_select(0, places)
    picked = picked.float() if picked.dtype in {torch.float16, torch.bfloat16} else picked
    # In place: `picked` is a copy already, and a second one would be the largest tensor of the step.
    return picked.div_(temperature).log_softmax(dim=-1)


def _entropy(log_softmax: Float[Tensor, "some V"], has_gradient: bool) -> Float[Tensor, " some"]:
    if has_gradient:
        # p log p, where p = 0 has a finite log-probability or none; its gradient is that of the product.
        return -(log_softmax.exp() * log_softmax.clamp(min=torch.finfo(log_softmax.dtype).min)).sum(dim=-1)
    # entr(p) = −p log p is 0 at p = 0, where a product with log p would be NaN.
    return torch.special.entr(log_softmax.detach().exp()).sum(dim=-1)


def _picked(log_softmax: Float[Tensor, "counted V"], token_ids: Int[Tensor, " counted"]) -> Float[Tensor, " counted"]:
    return log_softmax.gather(1, token_ids[:, None]).squeeze(1)


def _spread(values: Float[Tensor, " counted"], counts: Bool[Tensor, "row before"]) -> Float[Tensor, "row token"]:
    return F.pad(values.new_zeros(counts.shape).masked_scatter(counts, values), (1, 0))
