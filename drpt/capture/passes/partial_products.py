"""Products of a step of several micro-batches whose activations are not kept: a vector an example, or V, is all that stays.

Sketches add up to rows of numbers, which are compared in the end. Exact alignments need the target gradient's blocks first,
so the target examples must come in the first micro-batches. An exact gramian over several needs their activations.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from drpt.capture.gradients import FactoredGradient, UseGradient
from drpt.capture.products import reduced
from drpt.capture.products.computer import ProductComputer
from drpt.capture.products.cost import Need

_Matrix: TypeAlias = tuple[str, int | None]  # a parameter, and which of its matrices (`FactoredGradient.place`)


class PartialProducts:
    """Collects what the uses of one micro-batch after another add to each parameter's products.

    Args:
        computer: Computes the products that the regularizer needs.
    """

    def __init__(self, computer: ProductComputer) -> None:
        self._computer = computer
        self._compared: dict[str, Tensor] = {}  # one vector an example
        self._given: dict[str, Tensor | None] = {}  # the same of a target gradient that is given
        self._target_grads: dict[_Matrix, Tensor] = {}  # V, summed over target examples
        self._along: dict[_Matrix, Tensor] = {}  # <g_i, V>
        self._here: set[int] = set()  # examples of the batch, of any process
        self._targets_seen: set[int] = set()  # in this micro-batch or an earlier one

    def next_micro_batch(self, examples: Sequence[int], device: torch.device) -> None:
        """Name the examples of the next micro-batch, before its uses are added.

        Args:
            examples: Examples of this process's micro-batch; all processes proceed alike, by the examples of any of them.
            device: Device on which processes add numbers up.
        """
        of_step = self._computer.examples
        mark = torch.zeros(of_step.num_examples, device=device)
        mark[list(examples)] = 1
        self._here = set(of_step.collectives.add_up(mark).nonzero().flatten().tolist())
        self._targets_seen |= {example for example in self._here if example >= of_step.num_general}

    def add(self, name: str, uses: Sequence[UseGradient], direction: Tensor | None = None) -> None:
        """Add one micro-batch's uses of a parameter.

        Args:
            name: Qualified name of the parameter.
            uses: All uses of the parameter in this micro-batch.
            direction: Part of the parameter in a target gradient given by the caller; None where target examples give it.

        Raises:
            ValueError: These products cannot be computed without keeping activations, or target examples come too late.
        """
        computer = self._computer
        if computer.compares_vectors(uses):
            found = computer.example_vectors(uses)
            self._compared[name] = self._compared[name] + found if name in self._compared else found
            self._given[name] = None if direction is None else computer.vector_of(uses, direction)
            return
        if computer.need is not Need.ALIGNMENT:
            raise ValueError(
                "the step's micro-batches together keep more alive than activation_budget_mib allows, and this regularizer "
                "compares general examples of different micro-batches with each other: raise activation_budget_mib, or take "
                "products=sketch."
            )
        for place, outer in computer.by_place(uses):
            if direction is None:
                self._add_alignment((name, place), outer)
            else:
                part = direction if place is None else direction[place]
                self._target_grads[name, place] = part
                self._add_along((name, place), outer, part)

    def _add_alignment(self, name: _Matrix, uses: Sequence[FactoredGradient]) -> None:
        examples = self._computer.examples
        n, m = examples.num_general, examples.num_target
        targets = {example for example in self._here if example >= n}
        if targets or name not in self._target_grads:  # nothing, where no target example reaches this parameter
            grad = reduced.sum_of_gradients(uses, examples, n, n + m)
            self._target_grads[name] = self._target_grads[name] + grad if name in self._target_grads else grad
        if len(targets) < len(self._here) and len(self._targets_seen) < m:
            raise ValueError(
                "the step's micro-batches together keep more alive than activation_budget_mib allows, so that alignments are "
                "computed one micro-batch at a time: put the target examples into the first micro-batches, raise "
                "activation_budget_mib, or take products=sketch."
            )
        if len(self._targets_seen) == m:
            self._add_along(name, uses, self._target_grads[name] / m)

    def _add_along(self, name: _Matrix, uses: Sequence[FactoredGradient], direction: Tensor) -> None:
        examples = self._computer.examples
        along = reduced.along(uses, direction, examples.num_general, examples)[: examples.num_general]
        self._along[name] = self._along[name] + along if name in self._along else along

    def products(self) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
        """What each parameter adds to its block's sums; see `ProductComputer`."""
        for name, vectors in self._compared.items():
            yield name, self._computer.compare_vectors(vectors, self._given[name])
        examples = self._computer.examples
        for (name, place), along in self._along.items():
            target_grad = self._target_grads[name, place] / max(examples.num_target, 1)  # one that is given is a mean already
            yield name, (examples.collectives.add_up(along), target_grad.square().sum())
