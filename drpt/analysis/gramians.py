"""From per-example gradients to gramians of blocks, and how far a sketch is off.

Axes: pool = examples, block = blocks of parameters.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.partition import partition_parameters
from drpt.geometry.catalogue import Partition


def parameter_gramians(gradients: dict[str, Tensor]) -> dict[str, Float[Tensor, "pool pool"]]:
    """``<g_i, g_j>`` of each parameter, in float64.

    Args:
        gradients: [pool, sketch] by parameter; emptied on the way, since both together may not fit.

    Returns:
        By parameter, in the same order.
    """
    gramians = {}
    for name in list(gradients):
        own = gradients.pop(name).double()
        gramians[name] = own @ own.T
    return gramians


def block_gramians(gramians: dict[str, Tensor], partition: Partition) -> Float[Tensor, "block pool pool"]:
    """One a block: the sum over its parameters."""
    blocks = []
    for block in partition_parameters(gramians, partition):
        total = gramians[block.parameters[0]].clone()
        for name in block.parameters[1:]:
            total += gramians[name]
        blocks.append(total)
    return torch.stack(blocks)


def sketch_error(first: dict[str, Tensor], second: dict[str, Tensor], weights: Float[Tensor, " pool"]) -> float:
    """Relative standard error of ``‖Σ_i weights_i g_i‖²`` over all parameters, measured with one of two sketches.

    Random matrices differ from parameter to parameter, so that the sketches' differences are independent, each of twice one
    sketch's variance: ``√(Σ_p d_p²/2) / ‖·‖²``.

    Args:
        first: Gramians by parameter.
        second: Those of an independent sketch of the same width.
        weights: Of the examples, chosen without looking at either sketch.

    Returns:
        Dimensionless.
    """
    squares = torch.stack(
        [torch.stack([weights @ gramian @ weights, weights @ second[name] @ weights]) for name, gramian in first.items()]
    )
    error = math.sqrt(float((squares[:, 0] - squares[:, 1]).square().sum()) / 2)
    return error / max(float(squares.sum()) / 2, 1e-300)
