"""What each product method costs for one parameter, counted from shapes; `auto` takes the exact one that costs least.

N tokens of all examples, N_t of the target examples, a matrix [L, R]. In multiplications:

    alignment   reduced    N L R                     gramian of k examples   reduced    k N L R
                pairwise   N N_t (L + R)                                     pairwise   N² (L + R)
                direct     N L R + k L R                                     direct     N L R + k² L R
    sketch, for both: N (L a + R b) + N a b + k² a b, with widths a and b

An axis that integers stand for (an embedding's vocabulary) costs no multiplication by its length; of a table that is tied to
a head, pairs of the head's tokens cost it all the same. What several parameters share (the inputs of q, k and v) is counted
for each of them. Bytes written count at a nominal rate, so that what moves memory and hardly computes is not taken for free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from drpt.capture.options import ProductsMethod

# Multiplications that take as long as writing a byte, roughly: 5 on two CPU cores, 20 to 100 on a GPU. Only close calls
# depend on it.
_MULTIPLICATIONS_A_BYTE = 8
_BYTES = 4  # of a product


class Need(Enum):
    """Which products a regularizer asks for."""

    ALIGNMENT = "alignment"  # <g_i, v> and <v, v>
    GRAMIAN = "gramian"  # these, and <g_i, g_j> of the general examples
    JOINT = "joint"  # all inner products among general and target examples


@dataclass(frozen=True, slots=True)
class UseShape:
    """One use of a parameter in a step."""

    general_tokens: int
    target_tokens: int
    is_ids: bool  # the left factor is integers


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one method for one parameter."""

    multiplications: int
    bytes_written: int

    @property
    def total(self) -> int:
        """Work in multiplications, bytes included at their nominal rate."""
        return self.multiplications + _MULTIPLICATIONS_A_BYTE * self.bytes_written

    def __add__(self, other: "Cost") -> "Cost":
        """The sum of two costs."""
        return Cost(self.multiplications + other.multiplications, self.bytes_written + other.bytes_written)


EXACT = (ProductsMethod.REDUCED, ProductsMethod.PAIRWISE, ProductsMethod.DIRECT)


@dataclass(frozen=True, slots=True)
class ParameterShape:
    """A matrix and its uses in a step of n + m examples."""

    left: int
    right: int
    uses: tuple[UseShape, ...]
    num_general: int
    num_target: int

    def alignment(self, method: ProductsMethod) -> Cost:
        """Cost of ``<g_i, v>`` and ``<v, v>`` by an exact method."""
        n, m = self.num_general, self.num_target
        tokens, targets = self._tokens(n + m), sum(use.target_tokens for use in self.uses)
        area = self.left * self.right
        if method is ProductsMethod.REDUCED:
            mapped = sum(use.general_tokens for use in self.uses) * min(self.left, self.right)
            # The sum over each use and with those before it, the mean, its square.
            return Cost(self._mapped(n + m), _BYTES * ((2 * len(self.uses) + 1) * area + mapped))
        if method is ProductsMethod.PAIRWISE:
            return Cost(self._pairs(n + m, targets_alone=True), 3 * _BYTES * tokens * targets)
        held = (n + m) * self._rows() * self.right
        return Cost(self._mapped(n + m) + held, 2 * len(self.uses) * _BYTES * held)

    def gramian(self, method: ProductsMethod, count: int) -> Cost:
        """Cost of ``<g_i, g_j>`` of the first ``count`` examples by an exact method."""
        tokens = self._tokens(count)
        if method is ProductsMethod.REDUCED:
            area = self.left * self.right
            formed = (2 * len(self.uses) - 1) * area
            return Cost((count + 1) * self._mapped(count), _BYTES * count * (formed + tokens * min(self.left, self.right)))
        if method is ProductsMethod.PAIRWISE:
            return Cost(self._pairs(count, targets_alone=False), 3 * _BYTES * tokens**2)
        held = count * self._rows() * self.right
        return Cost(self._mapped(count) + count * held, 2 * len(self.uses) * _BYTES * held)

    def sketch(self, left_width: int, right_width: int) -> Cost:
        """Cost of sketches, which serve every need."""
        count = self.num_general + self.num_target
        tokens = self._tokens(count)
        by_left = 0 if left_width == self.left else self.left * left_width
        by_right = 0 if right_width == self.right else self.right * right_width
        area = left_width * right_width
        made = tokens * (left_width + right_width) + count * area
        multiplications = self._tokens(count, dense=True) * by_left + tokens * (by_right + area) + count**2 * area
        return Cost(multiplications, _BYTES * made)

    def cost(self, method: ProductsMethod, need: Need) -> Cost:
        """Cost of what is needed by one exact method."""
        if need is Need.ALIGNMENT:
            return self.alignment(method)
        count = self.num_general + self.num_target
        if need is Need.JOINT or method is ProductsMethod.DIRECT:
            return self.gramian(method, count)
        return self.alignment(method) + self.gramian(method, self.num_general)

    def cheapest(self, need: Need) -> ProductsMethod:
        """The exact method that costs least; of equals the first of reduced, pairwise, direct."""
        return min(EXACT, key=lambda method: self.cost(method, need).total)

    def cheapest_gramian(self) -> ProductsMethod:
        """The exact method whose gramian of the general examples alone costs least."""
        return min(EXACT, key=lambda method: self.gramian(method, self.num_general).total)

    def step(self, *, kept_examples: float) -> tuple[int, int]:
        """Multiplications of a standard step's three products over the general tokens, and of ours without comparing.

        Args:
            kept_examples: Examples over which the update is summed.

        Returns:
            Multiplications of the standard step, and of ours.
        """
        general = sum(use.general_tokens for use in self.uses if not use.is_ids)
        tokens = general + sum(use.target_tokens for use in self.uses if not use.is_ids)
        area = self.left * self.right
        update = int(general * kept_examples / max(1, self.num_general))
        return 3 * general * area, (2 * tokens + update) * area

    def _tokens(self, count: int, *, dense: bool = False) -> int:
        """Tokens of all uses, or only of those whose left factors are vectors."""
        is_all = count > self.num_general
        uses = [use for use in self.uses if not (dense and use.is_ids)]
        return sum(use.general_tokens + (use.target_tokens if is_all else 0) for use in uses)

    def _mapped(self, count: int) -> int:
        """All tokens through the matrix, or rows of it added up where integers pick them."""
        is_all = count > self.num_general
        total = 0
        for use in self.uses:
            tokens = use.general_tokens + (use.target_tokens if is_all else 0)
            total += tokens * self.right * (1 if use.is_ids else self.left)
        return total

    def _pairs(self, count: int, *, targets_alone: bool) -> int:
        """All tokens with all, or with those of the target examples; integers are compared with anything for nothing."""
        multiplications = 0
        for size, dense in ((self.right, False), (self.left, True)):
            tokens = self._tokens(count, dense=dense)
            others = tokens - self._tokens(self.num_general, dense=dense) if targets_alone else tokens
            multiplications += tokens * others * size
        return multiplications

    def _rows(self) -> int:
        """Rows of a gradient that can differ from zero."""
        is_ids = all(use.is_ids for use in self.uses)
        return min(self.left, self._tokens(self.num_general + self.num_target)) if is_ids else self.left


def compared_vectors(size: int, need: Need, *, num_general: int, num_target: int) -> Cost:
    """Cost of products of one row of ``size`` numbers an example: of a small vector, which is exact.

    Args:
        size: Numbers in a row.
        need: Which products.
        num_general: ``n``.
        num_target: ``m``.

    Returns:
        ``n + 1`` inner products for the alignments, ``n²`` more for the gramian, ``(n + m)²`` for all; the rows are written.
    """
    n, count = num_general, num_general + num_target
    inner = {Need.ALIGNMENT: n + 1, Need.GRAMIAN: n + 1 + n**2, Need.JOINT: count**2}[need]
    return Cost(inner * size, _BYTES * count * size)


def totals(costs: Mapping[str, Cost] | Sequence[Cost]) -> Cost:
    """The sum of some costs."""
    values = costs.values() if isinstance(costs, Mapping) else costs
    return sum(values, Cost(0, 0))
