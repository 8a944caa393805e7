"""`pairwise`: token by token, ``<g_i, g_j> = Σ_{t,t'} (left_it · left_jt') (right_it · right_jt')``; no gradient is formed.

Cheap where T² is small beside the parameter. Token products are formed and summed in float32 or
better: where an example's output gradients cancel, rounded ones would leave noise.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from drpt.capture.gradients import FactoredGradient, accumulated_product, accumulating
from drpt.capture.products.step_examples import StepExamples
from drpt.capture.segments import Segments
from drpt.capture.tokens import TokenVectors

_HELD_PRODUCTS = 2**24  # token products held at once: 64 MiB in float32


def alignment(uses: Sequence[FactoredGradient], examples: StepExamples) -> tuple[Float[Tensor, " general"], Float[Tensor, ""]]:
    """See `drpt.capture.products.reduced.alignment`."""
    n, m = examples.num_general, examples.num_target
    along = _inner_products(uses, examples, examples.num_examples, first=n).sum(dim=1) / m
    return along[:n], along[n:].mean()


def gramian(uses: Sequence[FactoredGradient], examples: StepExamples, count: int) -> Float[Tensor, "example example"]:
    """``<g_i, g_j>`` of the first ``count`` examples."""
    return _inner_products(uses, examples, count, first=0)


def _inner_products(uses: Sequence[FactoredGradient], examples: StepExamples, count: int, *, first: int) -> Tensor:
    """``<g_i, g_j>`` for i < count and first ≤ j < count [count, count − first]."""
    rows = [_Part(use, 0, count) for use in uses]
    own = [_Part(use, first, count) for use in uses]
    columns = own
    if examples.collectives.num_processes > 1:
        columns = [_Part(use, first, count) for use in examples.collectives.gather([part.as_use() for part in own])]
    some = accumulating(uses[0].right.values[:0])
    products = some.new_zeros(count, count - first)
    for row in rows:
        for column in columns:
            if row.segments.examples and column.segments.examples:
                compared = _compare(row, column)
                full = row.segments.scatter(compared, count)
                if len(column.segments.examples) == count - first:
                    products += full
                else:
                    products.index_add_(1, column.segments.places(some.device) - first, full)
    return examples.collectives.add_up(products)


class _Part:
    """The tokens of some examples of a use."""

    def __init__(self, use: FactoredGradient, first: int, stop: int) -> None:
        self.use = use
        self.tokens = slice(use.segments.tokens_before(first), use.segments.tokens_before(stop))
        self.segments = use.segments.part(first, stop)

    def as_use(self) -> FactoredGradient:
        left, right = (TokenVectors(side.values[self.tokens]) for side in (self.use.left, self.use.right))
        return FactoredGradient(left, right, self.segments, self.use.num_left)


def _compare(row: _Part, column: _Part) -> Float[Tensor, "segment_of_row segment_of_column"]:
    """Sums of token products over both parts' segments."""
    is_own = row.use is column.use
    if row.segments.num_tokens * column.segments.num_tokens <= _HELD_PRODUCTS:
        sides = zip((row.use.left, row.use.right), (column.use.left, column.use.right), strict=True)
        # A factor that other parameters share is compared with itself once.
        factors = [
            a.once(
                ("products", row.tokens.stop, column.tokens.start, column.tokens.stop),
                lambda values: _token_products(values[row.tokens], values[column.tokens]),
            )
            if is_own
            else _token_products(a.values[row.tokens], b.values[column.tokens])
            for a, b in sides
        ]
        return _sums(factors[0], factors[1], row.segments, column.segments)
    sums = []
    for tokens, segments in _groups(row, _HELD_PRODUCTS // max(1, column.segments.num_tokens)):
        left, right = (
            _token_products(a.values[tokens], b.values[column.tokens])
            for a, b in ((row.use.left, column.use.left), (row.use.right, column.use.right))
        )
        sums.append(_sums(left, right, segments, column.segments))
    return torch.cat(sums)


def _groups(part: _Part, num_tokens: int) -> list[tuple[slice, Segments]]:
    """The part's segments in groups of at most so many tokens, at least one segment each."""
    groups: list[tuple[slice, Segments]] = []
    members: list[int] = []
    start = stop = part.tokens.start
    for number, length in enumerate(part.segments.lengths):
        if members and stop - start + length > num_tokens:
            groups.append((slice(start, stop), part.segments.pick(members)))
            start, members = stop, []
        members.append(number)
        stop += length
    groups.append((slice(start, stop), part.segments.pick(members)))
    return groups


def _token_products(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of vectors or of the unit vectors that integers stand for, [token of a, token of b]."""
    if a.ndim == 1 and b.ndim == 1:
        return a[:, None] == b[None, :]
    if a.ndim == 1:
        return b[:, a].T
    return a[:, b] if b.ndim == 1 else accumulated_product(a, b.T)


def _sums(left: Tensor, right: Tensor, rows: Segments, columns: Segments) -> Tensor:
    per_row = rows.sums(accumulating(left) * accumulating(right))
    return columns.sums(per_row.T).T
