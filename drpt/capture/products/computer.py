"""Inner products of the per-example gradients of one parameter, by the method asked for or by the cheapest exact one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.gradients import FactoredGradient, PerExampleGradient, UseGradient, accumulating
from drpt.capture.options import ProductsMethod
from drpt.capture.products import direct, pairwise, reduced, sketched
from drpt.capture.products.cost import Need, ParameterShape, UseShape
from drpt.capture.products.sketch import Sketcher
from drpt.capture.products.step_examples import StepExamples
from drpt.capture.trace import UNWATCHED, StepTrace
from drpt.geometry.products import Products

_METHODS = {ProductsMethod.REDUCED: reduced, ProductsMethod.PAIRWISE: pairwise, ProductsMethod.DIRECT: direct}


class ProductComputer:
    """Computes what a regularizer needs of each parameter.

    What it returns for a parameter is a tuple of tensors to be added up over a block's parameters: alignments [general] and
    ``<v, v>``; these and the gramian [general, general]; or all inner products [example, example]. `products` makes
    `Products` of the sums.

    Args:
        need: Products that the regularizer asks for.
        method: Method of the products; small parameters are always compared exactly.
        sketcher: Random matrices for the method `SKETCH`.
        examples: Numbers of the step's general and target examples, and the processes that hold them.
        trace: Watcher that is told what is computed.
    """

    def __init__(
        self,
        need: Need,
        method: ProductsMethod,
        sketcher: Sketcher | None,
        examples: StepExamples,
        trace: StepTrace = UNWATCHED,
    ) -> None:
        self.need = need
        self.examples = examples
        self._method = method
        self._sketcher = sketcher
        self._trace = trace

    def __call__(self, uses: Sequence[UseGradient], direction: Tensor | None = None) -> tuple[Tensor, ...]:
        """What one parameter adds to its block's sums; a tied or repeated one has all its uses, cross terms included.

        Args:
            uses: All uses of one parameter in the step that this process holds.
            direction: The parameter's part of a target gradient given by the caller; None for the target examples' mean.

        Returns:
            The tensors to be summed (see the class), in float32 or better.
        """
        with self._trace.span("products"):
            if self.compares_vectors(uses):
                self._trace.measured(uses, ProductsMethod.SKETCH if isinstance(uses[0], FactoredGradient) else None)
                given = None if direction is None else self.vector_of(uses, direction)
                return self.compare_vectors(self.example_vectors(uses), given)
            found = [
                self._of_matrix(own, direction if direction is None or place is None else direction[place])
                for place, own in self.by_place(uses)
            ]
            return tuple(sum(parts[1:], parts[0]) for parts in zip(*found, strict=True))

    def by_place(self, uses: Sequence[UseGradient]) -> list[tuple[int | None, list[FactoredGradient]]]:
        """A parameter's uses, matrix by matrix: several where it holds the weights of several experts.

        Args:
            uses: All uses of one parameter in the step that this process holds.

        Returns:
            Pairs of `FactoredGradient.place` and uses. Where several processes measure together, each names all matrices, also
            those that no token of its own meets.
        """
        places: dict[int | None, list[FactoredGradient]] = {}
        if self.examples.collectives.num_processes > 1:
            some = next(use for use in uses if isinstance(use, FactoredGradient))
            if some.place is not None:
                places = {place: [some.without_tokens(place)] for place in range(some.num_places)}
        for use in uses:
            if isinstance(use, FactoredGradient):
                places.setdefault(use.place, []).append(use)
        return sorted(places.items(), key=lambda item: item[0] or 0)

    def _of_matrix(self, outer: Sequence[FactoredGradient], direction: Tensor | None) -> tuple[Tensor, ...]:
        if direction is not None:
            return self._against(outer, direction)
        method = self._method if self._method is not ProductsMethod.AUTO else self._cheapest(outer)
        self._trace.measured(outer, method)
        module, examples = _METHODS[method], self.examples
        if self.need is Need.JOINT:
            return (module.gramian(outer, examples, examples.num_examples),)
        if self.need is Need.ALIGNMENT:
            return module.alignment(outer, examples)
        if module is direct:  # the gradients are formed once
            return _split(direct.gramian(outer, examples, examples.num_examples), examples)
        return (*module.alignment(outer, examples), module.gramian(outer, examples, examples.num_general))

    def compares_vectors(self, uses: Sequence[UseGradient]) -> bool:
        """Whether one vector an example, its exact gradient or a sketch of it, is all that is compared."""
        return self._method is ProductsMethod.SKETCH or isinstance(uses[0], PerExampleGradient)

    def example_vectors(self, uses: Sequence[UseGradient]) -> Float[Tensor, "example number"]:
        """One vector for each example that this process holds, and zeros for the others."""
        if isinstance(uses[0], PerExampleGradient):
            parts = [
                use.segments.scatter(accumulating(use.grads)[..., None].flatten(1), self.examples.num_examples)
                for use in uses
                if isinstance(use, PerExampleGradient)
            ]
            return sum(parts[1:], parts[0])
        assert self._sketcher is not None
        sketcher, num_examples = self._sketcher, self.examples.num_examples
        outer = [use for use in uses if isinstance(use, FactoredGradient)]
        if outer[0].place is None:
            return sketched.example_sketches(outer, num_examples, sketcher)
        # Side by side, the matrices may share theirs: products of different ones do not meet.
        found = dict(self.by_place(uses))
        parts = [
            sketched.example_sketches(found.get(place) or [outer[0].without_tokens(place)], num_examples, sketcher)
            for place in range(outer[0].num_places)
        ]
        return torch.cat(parts, dim=1)

    def vector_of(self, uses: Sequence[UseGradient], direction: Tensor) -> Float[Tensor, " number"]:
        """A given gradient as a vector that can be compared with those of the examples."""
        if isinstance(uses[0], PerExampleGradient):
            return direction.flatten()
        assert self._sketcher is not None
        if direction.ndim == 3:  # the matrices of several experts
            return torch.cat([sketched.direction(part, self._sketcher) for part in direction])
        return sketched.direction(direction, self._sketcher)

    def compare_vectors(
        self, vectors: Float[Tensor, "example number"], given: Float[Tensor, " number"] | None = None
    ) -> tuple[Tensor, ...]:
        """Products of the vectors of all processes, with a given target's vector instead of the target examples' mean."""
        vectors = self.examples.collectives.add_up(vectors)
        n, m = self.examples.num_general, self.examples.num_target
        if self.need is Need.JOINT:
            return (vectors @ vectors.T,)
        target = vectors[n:].sum(dim=0) / max(m, 1) if given is None else given.to(vectors)
        pair = (vectors[:n] @ target, target.square().sum())
        return pair if self.need is Need.ALIGNMENT else (*pair, vectors[:n] @ vectors[:n].T)

    def products(self, sums: Sequence[tuple[Tensor, ...]]) -> Products:
        """`Products` of some blocks.

        Args:
            sums: For each block, the tuple of its parameters' tensors, summed.

        Returns:
            Products, one row a block.
        """
        with self._trace.span("products"):
            stacked = [torch.stack(column) for column in zip(*sums, strict=True)]
            return self._of_blocks(stacked)

    def _of_blocks(self, stacked: Sequence[Tensor]) -> Products:
        if self.need is Need.JOINT:
            n, joint = self.examples.num_general, stacked[0]
            cross, target_gramian = joint[:, :n, n:], joint[:, n:, n:]
            return Products(
                alignment=cross.mean(dim=2),
                target_sq=target_gramian.mean(dim=(1, 2)),
                gramian=joint[:, :n, :n],
                cross=cross,
                target_gramian=target_gramian,
            )
        gramian = stacked[2] if self.need is Need.GRAMIAN else None
        return Products(alignment=stacked[0], target_sq=stacked[1], gramian=gramian)

    def _against(self, uses: Sequence[FactoredGradient], direction: Float[Tensor, "left right"]) -> tuple[Tensor, ...]:
        """Alignments with a given gradient: all tokens mapped through it."""
        n, examples = self.examples.num_general, self.examples
        along = examples.collectives.add_up(reduced.along(uses, direction, n, examples))[:n]
        pair = (along, direction.square().sum())
        if self.need is Need.ALIGNMENT:
            return pair
        method = self._method if self._method is not ProductsMethod.AUTO else self._shape(uses).cheapest_gramian()
        return (*pair, _METHODS[method].gramian(uses, examples, n))

    def _cheapest(self, uses: Sequence[FactoredGradient]) -> ProductsMethod:
        return self._shape(uses).cheapest(self.need)

    def _shape(self, uses: Sequence[FactoredGradient]) -> ParameterShape:
        n = self.examples.num_general
        tokens = [(use.segments.tokens_before(n), use.segments.num_tokens) for use in uses]
        if self.examples.collectives.num_processes > 1:  # every process must come to the same choice
            counts = torch.tensor(tokens, device=uses[0].right.values.device)
            tokens = [(int(a), int(b)) for a, b in self.examples.collectives.add_up(counts).tolist()]
        shapes = [UseShape(before, total - before, use.left.is_ids) for (before, total), use in zip(tokens, uses, strict=True)]
        left, right = uses[0].num_left, uses[0].right.values.shape[1]
        return ParameterShape(left, right, tuple(shapes), n, self.examples.num_target)


def _split(joint: Tensor, examples: StepExamples) -> tuple[Tensor, Tensor, Tensor]:
    n = examples.num_general
    return joint[:n, n:].mean(dim=1), joint[n:, n:].mean(), joint[:n, :n]
