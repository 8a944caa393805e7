"""From per-example gradients to gramians of blocks, and how far a sketch is off.

Axes: pool = examples, block = blocks of parameters.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.options import Partition
from drpt.capture.partition import partition_parameters


@dataclass(frozen=True, slots=True)
class ParameterGramians:
    """``<g_i, g_j>`` of each parameter, in float64."""

    names: tuple[str, ...]
    values: Float[Tensor, "parameter pool pool"]

    def of_blocks(self, partition: Partition) -> Float[Tensor, "block pool pool"]:
        """One a block: the sum over its parameters; where each has one, no copy."""
        blocks = partition_parameters(self.names, partition)
        if [block.parameters for block in blocks] == [(name,) for name in self.names]:
            return self.values
        place = {name: number for number, block in enumerate(blocks) for name in block.parameters}
        total = self.values.new_zeros(len(blocks), *self.values.shape[1:])
        for name, gramian in zip(self.names, self.values, strict=True):
            total[place[name]] += gramian
        return total


def parameter_gramians(gradients: dict[str, Tensor]) -> ParameterGramians:
    """Gramians from gradients.

    Args:
        gradients: [pool, sketch] by parameter; emptied on the way, since both together may not fit.

    Returns:
        In the same order.
    """
    names = tuple(gradients)
    num_examples = len(gradients[names[0]])
    values = torch.empty(len(names), num_examples, num_examples, dtype=torch.float64)
    for name, value in zip(names, values, strict=True):
        own = gradients.pop(name).double()
        torch.mm(own, own.T, out=value)
    return ParameterGramians(names, values)


def sketch_error(first: ParameterGramians, second: ParameterGramians, weights: Float[Tensor, " pool"]) -> float:
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
    one, other = (torch.einsum("kij,i,j->k", gramians.values, weights, weights) for gramians in (first, second))
    error = math.sqrt(float((one - other).square().sum()) / 2)
    return error / max(float((one + other).sum()) / 2, 1e-300)
