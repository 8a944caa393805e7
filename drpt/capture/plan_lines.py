"""One parameter's line of a plan: what the capture does with it in a step, and the work and memory that takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod

from torch import nn

from drpt.capture.cost import EXACT, Cost, Need, ParameterShape, UseShape, compared_rows
from drpt.capture.layers.registry import RULE_NAMES, is_linear
from drpt.capture.options import Partition, ProductsMethod
from drpt.capture.partition import module_kind
from drpt.capture.regularizer import Regularizer
from drpt.capture.sites import ModuleSite
from drpt.capture.sketch_spec import SketchKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSize:
    """How much goes through the model in one step."""

    num_general: int  # n
    num_target: int  # m
    row_tokens: int  # T, tokens of every example
    num_parts: int = 1  # batches of the step
    product_bytes: int = 4  # a number of activations around linear layers
    other_bytes: int = 4  # likewise around tables and norms: 4 under autocast too

    @property
    def num_examples(self) -> int:
        """``n + m``."""
        return self.num_general + self.num_target


class Handling(Enum):
    """What becomes of a parameter's gradients."""

    PRODUCTS = "products"  # of factors (x, o), by the line's method
    ROWS = "rows"  # a small vector: one gradient an example, exact
    KNOWN = "known"  # the coefficients depend on no gradient
    FREE = "free"  # not regularized: the ordinary mean
    FROZEN = "frozen"  # not trained; activations and their gradients pass through it


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """Parameters that are alike: work and bytes are those of all ``count`` together."""

    kind: str  # of layer: ``q_proj``; all uses of a tied parameter
    rule: str
    shape: tuple[int, ...]
    count: int
    blocks: tuple[str, ...]
    handling: Handling
    method: ProductsMethod | None  # of `PRODUCTS`
    widths: tuple[int, int] | None  # of the method `SKETCH`: what is left of both axes
    standard: int  # multiplications of a standard step: forward, activations' and weights' gradients over general rows
    own: int  # multiplications of this step, products apart: all rows, a second pass, the update over the rows that count
    products: Cost
    exact: tuple[Cost, ...]  # of `EXACT`, in their order; none where there is no choice
    announced_bytes: int  # activations and output gradients of all uses
    kept_bytes: int  # of these, what outlives the parameter's own backward until its coefficients are chosen


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """One parameter of one module."""

    site: ModuleSite
    own: str  # its name there

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the parameter."""
        return tuple(self.site.module.get_parameter(self.own).shape)

    @property
    def is_outer(self) -> bool:
        """Whether its gradient is a sum of outer products, an `OuterUse`.

        A module that runs its own code is taken to multiply its inputs by each of its matrices.
        """
        if self.rule == "experts":
            return len(self.shape) > len(("expert", "output"))
        if self.rule == "own code":
            return len(self.shape) == len(("output", "input"))
        return self.own == "weight" and self.rule in {"linear", "conv1d", "embedding"}

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Of an `is_outer` parameter, or of each expert's part of it."""
        left, right = self.shape[-2:]
        return left, right

    @property
    def uses_a_token(self) -> int:
        """How many of the parameter's matrices a token meets: the experts that it is routed to."""
        if self.rule != "experts":
            return 1
        config = getattr(self.site.module, "config", None)
        return int(getattr(config, "num_experts_per_tok", None) or getattr(config, "moe_topk", None) or 1)

    @property
    def is_ids(self) -> bool:
        """Whether the left factor is integers."""
        return self.rule == "embedding" or (self.rule == "own code" and isinstance(self.site.module, nn.Embedding))

    @property
    def rule(self) -> str:
        """Of the module, in a word; what runs its own code is called by what it is."""
        name, module = RULE_NAMES.get(self.site.rule, self.site.rule.__name__), self.site.module
        if name == "own code" and "." not in self.own:
            kinds = {"linear": isinstance(module, nn.Linear), "embedding": isinstance(module, nn.Embedding)}
            kinds["norm"] = type(module).__name__.lower().endswith("norm")
            name = next((kind for kind, is_it in kinds.items() if is_it), name)
        return name

    @property
    def label(self) -> str:
        """Of the parameter, in a word: a linear layer's bias is no matrix."""
        return self.rule if self.is_outer or self.rule not in {"linear", "conv1d"} else self.own

    @property
    def kind(self) -> str:
        """Of the layer, and which parameter of it where that is not its weight."""
        kind = module_kind(self.site.path)
        return kind if self.own == "weight" and kind else f"{kind}.{self.own}".lstrip(".")

    def announced_bytes(self, size: StepSize) -> int:
        """As the rules announce it; weight and bias of a layer are announced together, and counted with the weight."""
        tokens = size.num_examples * size.row_tokens
        if self.rule in {"linear", "conv1d"}:
            around = sum(self.site.module.get_parameter("weight").shape)
            return tokens * around * size.product_bytes if self.own == max(self.site.own) else 0
        if self.is_outer and not self.is_ids:
            return tokens * self.uses_a_token * sum(self.matrix_shape) * size.product_bytes
        count = tokens * self.shape[1] if self.is_ids else size.num_examples * prod(self.shape)
        return count * size.other_bytes


class LinePlanner:
    """Makes lines of one parameter each."""

    def __init__(
        self,
        regularizer: Regularizer,
        size: StepSize,
        need: Need | None,
        is_recomputing: bool,
        kept: int,
    ) -> None:
        self.kept = kept
        self._regularizer = regularizer
        self._size = size
        self._need = need
        self._is_recomputing = is_recomputing
        self._matrices: dict[tuple[int, int, str], int] = {}  # axis, size, kind of number -> bytes

    @property
    def sketch_bytes(self) -> int:
        """Of the random matrices that the lines so far need; parameters of one size share theirs."""
        return sum(self._matrices.values())

    def line(self, uses: Sequence[ParameterUse], block: str, is_regularized: bool) -> PlanLine:
        """The line of one parameter.

        Args:
            uses: All of them.
            block: Its name.
            is_regularized: Whether the regularizer decides its update.

        Returns:
            With a count of 1.
        """
        size, first = self._size, uses[0]
        handling, method, widths = self._handling(uses, is_regularized)
        standard, own, products = 0, 0, Cost(0, 0)
        exact: tuple[Cost, ...] = ()
        if first.is_outer:
            shape = self._parameter_shape(uses)
            kept = self.kept if is_regularized else size.num_general or size.num_target
            standard, own = shape.step(kept_examples=float(kept))
            own += self._second_pass(sum(not use.is_ids for use in uses) * prod(first.matrix_shape) * first.uses_a_token)
            if handling is Handling.PRODUCTS:
                assert self._need is not None
                assert method is not None
                products = shape.sketch(*widths) if widths else shape.cost(method, self._need)
                exact = tuple(shape.cost(other, self._need) for other in EXACT)
        elif handling is Handling.ROWS:
            assert self._need is not None
            products = compared_rows(prod(first.shape), self._need, num_general=size.num_general, num_target=size.num_target)
        return PlanLine(
            kind=" = ".join(dict.fromkeys(use.kind for use in uses)),
            rule=" + ".join(dict.fromkeys(use.label for use in uses)),
            shape=first.shape,
            count=1,
            blocks=(block,),
            handling=handling,
            method=method,
            widths=widths,
            standard=standard,
            own=own,
            products=products,
            exact=exact,
            announced_bytes=sum(use.announced_bytes(size) for use in uses),
            kept_bytes=self._kept_bytes(uses) if handling in {Handling.PRODUCTS, Handling.ROWS} else 0,
        )

    def frozen(self, model: nn.Module) -> Iterator[PlanLine]:
        """Linear layers that are not trained, one line each; activations' gradients are taken to pass through all of them.

        Args:
            model: Any module.

        Yields:
            With a count of 1.
        """
        for _, module in model.named_modules():
            weight = getattr(module, "weight", None)
            if not isinstance(weight, nn.Parameter) or weight.requires_grad or not is_linear(module):
                continue
            general, tokens = (count * self._size.row_tokens for count in (self._size.num_general, self._size.num_examples))
            yield PlanLine(
                kind="frozen layers",
                rule="linear",
                shape=(),
                count=1,
                blocks=(),
                handling=Handling.FROZEN,
                method=None,
                widths=None,
                standard=2 * general * weight.numel(),
                own=2 * tokens * weight.numel() + self._second_pass(weight.numel()),
                products=Cost(0, 0),
                exact=(),
                announced_bytes=0,
                kept_bytes=0,
            )

    def _handling(
        self, uses: Sequence[ParameterUse], is_regularized: bool
    ) -> tuple[Handling, ProductsMethod | None, tuple[int, int] | None]:
        if not is_regularized:
            return Handling.FREE, None, None
        if self._need is None:
            return Handling.KNOWN, None, None
        if not uses[0].is_outer:
            return Handling.ROWS, None, None
        method = self._regularizer.options.products
        if method is ProductsMethod.SKETCH:
            return Handling.PRODUCTS, method, self._widths(uses)
        if self._is_recomputing and self._size.num_parts > 1:
            return Handling.PRODUCTS, ProductsMethod.REDUCED, None  # see `drpt.capture.partial`
        if method is ProductsMethod.AUTO:
            method = self._parameter_shape(uses).cheapest(self._need)
        return Handling.PRODUCTS, method, None

    def _parameter_shape(self, uses: Sequence[ParameterUse]) -> ParameterShape:
        size = self._size
        tokens = size.row_tokens * uses[0].uses_a_token
        general, target = size.num_general * tokens, size.num_target * tokens
        shapes = tuple(
            UseShape(_share(general, part, size.num_parts), _share(target, part, size.num_parts), use.is_ids)
            for part in range(size.num_parts)  # each batch uses the parameter anew
            for use in uses
        )
        left, right = uses[0].matrix_shape
        return ParameterShape(left, right, shapes, size.num_general, size.num_target)

    def _second_pass(self, area: int) -> int:
        """Activations' gradients once more, from the same graph; of several batches the forward too."""
        tokens = self._size.num_examples * self._size.row_tokens
        return int(self._is_recomputing) * tokens * area * (1 if self._size.num_parts == 1 else 2)

    def _kept_bytes(self, uses: Sequence[ParameterUse]) -> int:
        if self._is_recomputing:
            return 0
        total = sum(use.announced_bytes(self._size) for use in uses)
        if self._regularizer.options.partition is not Partition.LAYER or self._size.num_parts > 1:
            return total
        # A tied parameter waits for the use that the backward pass reaches last: its first in the model.
        return total - uses[0].announced_bytes(self._size)

    def _widths(self, uses: Sequence[ParameterUse]) -> tuple[int, int]:
        sketch = self._regularizer.options.sketch
        left, right = uses[0].matrix_shape
        widths = (min(left, sketch.left_width), min(right, sketch.right_width))
        for axis, (full, width) in enumerate(zip((left, right), widths, strict=True)):
            for is_ids in {use.is_ids and axis == 0 for use in uses}:
                if width == full:
                    continue
                if sketch.kind == SketchKind.ROW_MASK.value and not is_ids:
                    self._matrices[axis, full, "places"] = 8 * width
                else:
                    number = 4 if is_ids else self._size.product_bytes  # ids look up float32
                    self._matrices[axis, full, f"{number}"] = number * full * width
        return widths


def _share(count: int, part: int, num_parts: int) -> int:
    return count * (part + 1) // num_parts - count * part // num_parts
