"""What a policy says of responses. Axes: row = one prompt and its response, token = positions, V = vocabulary.

Entry t of [row, token] is about token t; position 0 counts nowhere (`drpt.objectives.counted`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.objectives.counted import spread

_ENTROPY_ROWS = 256  # rows of the vocabulary whose entropies are computed at once: bounds the memory beside log-softmax's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTokens:
    """A policy's log-probabilities and entropies at the response tokens; 0 elsewhere."""

    logprobs: Float[Tensor, "row token"]  # nats, of the token that stands there; with gradient
    entropies: Float[Tensor, "row token"]  # nats, of the distribution that it was drawn from; with gradient if asked for


def response_tokens(
    logits: Float[Tensor, "counted V"],
    token_ids: Int[Tensor, "row token"],
    response_mask: Bool[Tensor, "row token"],
    *,
    temperature: float,
    entropy_gradient: bool = False,
) -> ResponseTokens:
    """``log π(token_t | tokens before t)`` and the entropy ``−Σ_y π(y) log π(y)`` where the mask is set, else 0.

    π is the softmax of ``logits / temperature``, in float32 or better, whatever the logits' dtype.

    Args:
        logits: The model's output at the positions before the response tokens (`drpt.objectives.counted`), in order.
        token_ids: Its input.
        response_mask: Which tokens the policy drew.
        temperature: That they were drawn under; positive, not checked.
        entropy_gradient: Whether gradients flow into the entropies, too, which keeps another copy of the softmax.

    Returns:
        Both, in nats [row, token].
    """
    log_softmax = _log_softmax(logits, temperature)
    entropies = torch.cat([_entropy(part, entropy_gradient) for part in log_softmax.split(_ENTROPY_ROWS)])
    drawn = token_ids[:, 1:][response_mask[:, 1:]]
    logprobs = log_softmax.gather(1, drawn[:, None]).squeeze(1)
    return ResponseTokens(logprobs=spread(logprobs, response_mask), entropies=spread(entropies, response_mask))


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


def _log_softmax(logits: Float[Tensor, "counted V"], temperature: float) -> Float[Tensor, "counted V"]:
    """Log-probabilities of the whole vocabulary."""
    exact = logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits
    # The largest tensor of the step: no copy that changes nothing, and none in place, since a model may need its output.
    return (exact if temperature == 1 else exact / temperature).log_softmax(dim=-1)


def _entropy(log_softmax: Float[Tensor, "some V"], has_gradient: bool) -> Float[Tensor, " some"]:
    if has_gradient:
        # p log p, where p = 0 has a finite log-probability or none; its gradient is that of the product.
        return -(log_softmax.exp() * log_softmax.clamp(min=torch.finfo(log_softmax.dtype).min)).sum(dim=-1)
    # entr(p) = −p log p is 0 at p = 0, where a product with log p would be NaN.
    return torch.special.entr(log_softmax.detach().exp()).sum(dim=-1)
