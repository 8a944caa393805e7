"""Gramians of blocks from per-example gradients, and the error of a sketch, for `drpt probe`.

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
        """Gramian of each block: the sum over its parameters; without a copy if every block has one parameter."""
        blocks = partition_parameters(self.names, partition)
        if [block.parameters for block in blocks] == [(name,) for name in self.names]:
            return self.values
        place = {name: number for number, block in enumerate(blocks) for name in block.parameters}
        total = self.values.new_zeros(len(blocks), *self.values.shape[1:])
        for name, gramian in zip(self.names, self.values, strict=True):
            total[place[name]] += gramian
        return total


def parameter_gramians(gradients: dict[str, Tensor]) -> ParameterGramians:
    """Compute gramians from gradients.

    Args:
        gradients: Gradients [pool, sketch] by parameter; emptied in place, since both may not fit into memory.

    Returns:
        Gramians by parameter, in the same order.
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

    Random matrices differ between parameters. The two sketches' differences are therefore independent, and each has twice the
    variance of one sketch: ``√(Σ_p d_p²/2) / ‖·‖²``.

    Args:
        first: Gramians by parameter.
        second: Gramians by parameter from an independent sketch of the same width.
        weights: Weights of the examples [pool], chosen independently of both sketches.

    Returns:
        The relative standard error, dimensionless.
    """
    one, other = (torch.einsum("kij,i,j->k", gramians.values, weights, weights) for gramians in (first, second))
    error = math.sqrt(float((one - other).square().sum()) / 2)
    return error / max(float((one + other).sum()) / 2, 1e-300)
