"""Log-probabilities and entropies of a policy at the tokens of responses, for the losses of reinforcement learning.

Axes: row = one prompt and its response, token = positions, V = vocabulary. Entry t of [row, token] refers to token t;
position 0 never counts (`drpt.objectives.counted`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drpt.objectives.counted import spread

_ENTROPY_ROWS = 256  # positions whose entropies are computed at once, to bound the extra memory beside log-softmax's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTokens:
    """Log-probabilities and entropies of a policy at the response tokens; 0 elsewhere."""

    logprobs: Float[Tensor, "row token"]  # log-probability of each token, in nats; with gradient
    entropies: Float[Tensor, "row token"]  # entropy of the distribution of each token, in nats; gradient on request


def response_tokens(
    logits: Float[Tensor, "counted V"],
    token_ids: Int[Tensor, "row token"],
    response_mask: Bool[Tensor, "row token"],
    *,
    temperature: float,
    entropy_gradient: bool = False,
) -> ResponseTokens:
    """``log π(token_t | tokens before t)`` and the entropy ``−Σ_y π(y) log π(y)`` where the mask is set, else 0.

    π is the softmax of ``logits / temperature``, in float32 or better, whatever the dtype of the logits.

    Args:
        logits: Output of the model at the positions before the response tokens [counted, V] (`drpt.objectives.counted`).
        token_ids: Input of the model [row, token].
        response_mask: Mask of the tokens that the policy sampled [row, token].
        temperature: Sampling temperature of the responses; positive, which is not checked.
        entropy_gradient: Whether the entropies have gradients, which keeps another copy of the softmax in memory.

    Returns:
        Log-probabilities and entropies [row, token], in nats.
    """
    log_softmax = _log_softmax(logits, temperature)
    entropies = torch.cat([_entropy(part, entropy_gradient) for part in log_softmax.split(_ENTROPY_ROWS)])
    drawn = token_ids[:, 1:][response_mask[:, 1:]]
    logprobs = log_softmax.gather(1, drawn[:, None]).squeeze(1)
    return ResponseTokens(logprobs=spread(logprobs, response_mask), entropies=spread(entropies, response_mask))


def counted(response_mask: Bool[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
    """Response mask with its first position cleared, which nothing predicts."""
    return F.pad(response_mask[:, 1:], (1, 0))


def num_response_tokens(response_mask: Bool[Tensor, "row token"]) -> Int[Tensor, " row"]:
    """Number of counted tokens in each row."""
    return response_mask[:, 1:].sum(dim=1)


def masked_sum(values: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"]) -> Float[Tensor, " row"]:
    """Sum of each row's counted values; values elsewhere are ignored, NaN included."""
    return torch.where(counted(response_mask), values, 0.0).sum(dim=1)


def masked_mean(values: Float[Tensor, "row token"], response_mask: Bool[Tensor, "row token"]) -> Float[Tensor, " row"]:
    """Mean of each row's counted values, 0 for a row without any; values elsewhere are ignored, NaN included."""
    return masked_sum(values, response_mask) / num_response_tokens(response_mask).clamp(min=1)


def _log_softmax(logits: Float[Tensor, "counted V"], temperature: float) -> Float[Tensor, "counted V"]:
    """Log-probabilities of the whole vocabulary at each counted position."""
    exact = logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits
    # This is the largest tensor of the step: avoid a needless copy, but do not divide in place, as models may need it.
    return (exact if temperature == 1 else exact / temperature).log_softmax(dim=-1)


def _entropy(log_softmax: Float[Tensor, "some V"], has_gradient: bool) -> Float[Tensor, " some"]:
    if has_gradient:
        # Clamping keeps p log p finite where p = 0 and log p = −inf.
        return -(log_softmax.exp() * log_softmax.clamp(min=torch.finfo(log_softmax.dtype).min)).sum(dim=-1)
    # entr(p) = −p log p is 0 at p = 0, where a product with log p would be NaN.
    return torch.special.entr(log_softmax.detach().exp()).sum(dim=-1)
