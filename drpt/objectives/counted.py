"""Positions that predict the tokens that count in a loss. Losses and models use them to skip the logits of prompts.

Axes: row, token = positions of a row, counted = tokens that count, in order. Entry t of a mask refers to token t, which is
predicted at position t − 1. No position predicts token 0, so it never counts, whatever its mask.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def predicting_places(mask: Bool[Tensor, "row token"]) -> Int[Tensor, " counted"]:
    """Flat indices of the positions before the tokens that count, with the rows concatenated."""
    return F.pad(mask[:, 1:], (0, 1)).flatten().nonzero().squeeze(1)


def at_places(
    per_position: Float[Tensor, "row token width"], places: Int[Tensor, " counted"]
) -> Float[Tensor, "counted width"]:
    """Select the vectors at some positions, given by their flat indices."""
    # Indexing with a mask gives the same result, but its backward pass is several times slower.
    return per_position.flatten(0, 1).index_select(0, places)


def spread(values: Float[Tensor, " counted"], mask: Bool[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """Scatter one value per counted token to the positions of the tokens; 0 elsewhere."""
    counts = mask[:, 1:]
    return F.pad(values.new_zeros(counts.shape).masked_scatter(counts, values), (1, 0))
