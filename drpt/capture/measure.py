"""The products of one parameter, by the method asked for or by the cheapest exact one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.cost import Need, ParameterShape, UseShape
from drpt.capture.methods import direct, pairwise, reduced, sketched
from drpt.capture.methods.extent import Extent
from drpt.capture.options import ProductsMethod
from drpt.capture.sketch import Sketcher
from drpt.capture.use import OuterUse, RowwiseUse, Use, accumulating
from drpt.geometry.products import Products

_METHODS = {ProductsMethod.REDUCED: reduced, ProductsMethod.PAIRWISE: pairwise, ProductsMethod.DIRECT: direct}


class Measure:
    """Computes what a regularizer needs of each parameter.

    What it returns for a parameter is a tuple of tensors to be added up over a block's parameters: alignments [general] and
    ``<v, v>``; these and the gramian [general, general]; or all inner products [example, example]. `products` makes
    `Products` of the sums.

    Args:
        need: Which products.
        method: How; parameters whose gradients are small vectors take their own, exact way.
        sketcher: For the method `SKETCH`.
        extent: Examples of the step.
    """

    def __init__(self, need: Need, method: ProductsMethod, sketcher: Sketcher | None, extent: Extent) -> None:
        self.need = need
        self.extent = extent
        self._method = method
        self._sketcher = sketcher

    def __call__(self, uses: Sequence[Use], direction: Tensor | None = None) -> tuple[Tensor, ...]:
        """What one parameter adds to its block's sums; a tied or repeated one has all its uses, cross terms included.

        Args:
            uses: All uses of one parameter in the step that this process holds.
            direction: The parameter's part of a target gradient that is given; else it is the target examples' mean.

        Returns:
            See the class; in float32 or better.
        """
        if self.is_made_of_rows(uses):
            return self.compare_rows(self.rows(uses), None if direction is None else self.row_of(uses, direction))
        found = [
            self._of_matrix(own, direction if direction is None or place is None else direction[place])
            for place, own in self.by_place(uses)
        ]
        return tuple(sum(parts[1:], parts[0]) for parts in zip(*found, strict=True))

    def by_place(self, uses: Sequence[Use]) -> list[tuple[int | None, list[OuterUse]]]:
        """A parameter's uses, matrix by matrix: several where it holds the weights of several experts.

        Args:
            uses: All uses of one parameter in the step that this process holds.

        Returns:
            Pairs of `OuterUse.place` and uses. Where several processes measure together, each names all matrices, used here
            or not.
        """
        places: dict[int | None, list[OuterUse]] = {}
        if self.extent.exchange.num_processes > 1:
            some = next(use for use in uses if isinstance(use, OuterUse))
            if some.place is not None:
                places = {place: [some.without_tokens(place)] for place in range(some.num_places)}
        for use in uses:
            if isinstance(use, OuterUse):
                places.setdefault(use.place, []).append(use)
        return sorted(places.items(), key=lambda item: item[0] or 0)

    def _of_matrix(self, outer: Sequence[OuterUse], direction: Tensor | None) -> tuple[Tensor, ...]:
        if direction is not None:
            return self._against(outer, direction)
        method = self._method if self._method is not ProductsMethod.AUTO else self._cheapest(outer)
        module, extent = _METHODS[method], self.extent
        if self.need is Need.JOINT:
            return (module.gramian(outer, extent, extent.num_examples),)
        if self.need is Need.ALIGNMENT:
            return module.alignment(outer, extent)
        if module is direct:  # the gradients are formed once
            return _split(direct.gramian(outer, extent, extent.num_examples), extent)
        return (*module.alignment(outer, extent), module.gramian(outer, extent, extent.num_general))

    def is_made_of_rows(self, uses: Sequence[Use]) -> bool:
        """Whether a row of numbers an example, exact or a sketch, is all that is compared."""
        return self._method is ProductsMethod.SKETCH or isinstance(uses[0], RowwiseUse)

    def rows(self, uses: Sequence[Use]) -> Float[Tensor, "example number"]:
        """These rows, of the examples that this process holds; zeros for others."""
        if isinstance(uses[0], RowwiseUse):
            parts = [
                use.segments.scatter(accumulating(use.grads)[..., None].flatten(1), self.extent.num_examples)
                for use in uses
                if isinstance(use, RowwiseUse)
            ]
            return sum(parts[1:], parts[0])
        assert self._sketcher is not None
        sketcher, num_examples = self._sketcher, self.extent.num_examples
        outer = [use for use in uses if isinstance(use, OuterUse)]
        if outer[0].place is None:
            return sketched.rows(outer, num_examples, sketcher)
        # Side by side, the matrices may share theirs: products of different ones do not meet.
        found = dict(self.by_place(uses))
        parts = [
            sketched.rows(found.get(place) or [outer[0].without_tokens(place)], num_examples, sketcher)
            for place in range(outer[0].num_places)
        ]
        return torch.cat(parts, dim=1)

    def row_of(self, uses: Sequence[Use], direction: Tensor) -> Float[Tensor, " number"]:
        """A given gradient as a row that the examples' rows can be compared with."""
        if isinstance(uses[0], RowwiseUse):
            return direction.flatten()
        assert self._sketcher is not None
        if direction.ndim == 3:  # the matrices of several experts
            return torch.cat([sketched.direction(part, self._sketcher) for part in direction])
        return sketched.direction(direction, self._sketcher)

    def compare_rows(
        self, rows: Float[Tensor, "example number"], given: Float[Tensor, " number"] | None = None
    ) -> tuple[Tensor, ...]:
        """Products of the rows of all processes, with a given target's row instead of the target examples' mean."""
        rows = self.extent.exchange.add_up(rows)
        n, m = self.extent.num_general, self.extent.num_target
        if self.need is Need.JOINT:
            return (rows @ rows.T,)
        target = rows[n:].sum(dim=0) / max(m, 1) if given is None else given.to(rows)
        pair = (rows[:n] @ target, target.square().sum())
        return pair if self.need is Need.ALIGNMENT else (*pair, rows[:n] @ rows[:n].T)

    def products(self, sums: Sequence[tuple[Tensor, ...]]) -> Products:
        """`Products` of some blocks.

        Args:
            sums: One tuple a block, added up over its parameters.

        Returns:
            One row a block.
        """
        stacked = [torch.stack(column) for column in zip(*sums, strict=True)]
        if self.need is Need.JOINT:
            n, joint = self.extent.num_general, stacked[0]
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

    def _against(self, uses: Sequence[OuterUse], direction: Float[Tensor, "left right"]) -> tuple[Tensor, ...]:
        """Alignments with a given gradient: all tokens mapped through it."""
        n, extent = self.extent.num_general, self.extent
        along = extent.exchange.add_up(reduced.along(uses, direction, n, extent))[:n]
        pair = (along, direction.square().sum())
        if self.need is Need.ALIGNMENT:
            return pair
        method = self._method if self._method is not ProductsMethod.AUTO else self._shape(uses).cheapest_gramian()
        return (*pair, _METHODS[method].gramian(uses, extent, n))

    def _cheapest(self, uses: Sequence[OuterUse]) -> ProductsMethod:
        return self._shape(uses).cheapest(self.need)

    def _shape(self, uses: Sequence[OuterUse]) -> ParameterShape:
        n = self.extent.num_general
        tokens = [(use.segments.tokens_before(n), use.segments.num_tokens) for use in uses]
        if self.extent.exchange.num_processes > 1:  # every process must come to the same choice
            counts = torch.tensor(tokens, device=uses[0].right.values.device)
            tokens = [(int(a), int(b)) for a, b in self.extent.exchange.add_up(counts).tolist()]
        shapes = [UseShape(before, total - before, use.left.is_ids) for (before, total), use in zip(tokens, uses, strict=True)]
        left, right = uses[0].num_left, uses[0].right.values.shape[1]
        return ParameterShape(left, right, tuple(shapes), n, self.extent.num_target)


def _split(joint: Tensor, extent: Extent) -> tuple[Tensor, Tensor, Tensor]:
    n = extent.num_general
    return joint[:n, n:].mean(dim=1), joint[n:, n:].mean(), joint[:n, :n]
