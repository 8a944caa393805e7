"""Which positions predict the tokens that count. Axes: row, token = positions of a row, counted = tokens that count, in order.

Entry t of a mask is about token t, predicted from the position before; position 0 is predicted by nothing and counts nowhere,
whatever its mask.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def predicting_places(mask: Bool[Tensor, "row token"]) -> Int[Tensor, " counted"]:
    """Numbers of the positions before the tokens that count, the rows laid out one after another."""
    return F.pad(mask[:, 1:], (0, 1)).flatten().nonzero().squeeze(1)


def at_places(
    per_position: Float[Tensor, "row token width"], places: Int[Tensor, " counted"]
) -> Float[Tensor, "counted width"]:
    """What stands at some positions."""
    # Whole rows by number: a mask would do, but its backward pass is several times slower.
    return per_position.flatten(0, 1).index_select(0, places)


def spread(values: Float[Tensor, " counted"], mask: Bool[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """A number a counted token, put where the tokens stand; 0 elsewhere."""
    counts = mask[:, 1:]
    return F.pad(values.new_zeros(counts.shape).masked_scatter(counts, values), (1, 0))
