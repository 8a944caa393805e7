"""One parameter's line of a plan: what the capture does with it in a step, and the work and memory that takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod

from torch import nn

from drpt.capture.layers.layer_rule import FactoredForm, GradientForm
from drpt.capture.layers.rules import LayerRules
from drpt.capture.options import Partition, ProductsMethod
from drpt.capture.partition import module_kind
from drpt.capture.products.cost import EXACT, Cost, Need, ParameterShape, UseShape, compared_vectors
from drpt.capture.products.sketch_spec import SketchKind
from drpt.capture.regularizer import Regularizer
from drpt.capture.sites import ModuleSite
from drpt.capture.step_size import StepSize


class Handling(Enum):
    """What becomes of a parameter's gradients."""

    PRODUCTS = "products"  # of factors (x, o), by the line's method
    PER_EXAMPLE = "per example"  # a small vector: one gradient an example, exact
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
        """Shape of the parameter."""
        return tuple(self.site.module.get_parameter(self.own).shape)

    @property
    def form(self) -> GradientForm:
        """The form of its gradient."""
        return self.site.rule.gradient_form(self.site.module, self.own)

    @property
    def label(self) -> str:
        """The word for the parameter's kind."""
        return self.site.rule.label(self.site.module, self.own)

    @property
    def kind(self) -> str:
        """Kind of the layer, with the parameter's name where that is not ``weight``."""
        kind = module_kind(self.site.path)
        return kind if self.own == "weight" and kind else f"{kind}.{self.own}".lstrip(".")

    def announced_bytes(self, size: StepSize) -> int:
        """Bytes that the rule announces for the parameter."""
        site = self.site
        return site.rule.announced_bytes(site.module, list(site.own), size)[self.own]


class LinePlanner:
    """Makes lines of one parameter each.

    Args:
        regularizer: Rule that decides the update.
        layer_rules: Rules by type of module.
        sketch: The random matrices of ``products=sketch``.
        size: How much goes through the model.
        need: Which products the regularizer asks for; None where it asks for none.
        is_recomputing: Whether a second pass forms the update.
        kept: Examples that may have a coefficient other than zero.
    """

    def __init__(
        self,
        regularizer: Regularizer,
        layer_rules: LayerRules,
        size: StepSize,
        need: Need | None,
        is_recomputing: bool,
        kept: int,
    ) -> None:
        self.kept = kept
        self._regularizer = regularizer
        self._layer_rules = layer_rules
        self._size = size
        self._need = need
        self._is_recomputing = is_recomputing
        self._matrices: dict[tuple[int, int, str], int] = {}  # axis, size, kind of number -> bytes

    @property
    def sketch_bytes(self) -> int:
        """Bytes of the random matrices that the lines so far need; parameters of one size share theirs."""
        return sum(self._matrices.values())

    def line(self, uses: Sequence[ParameterUse], block: str, is_regularized: bool) -> PlanLine:
        """The line of one parameter.

        Args:
            uses: All uses of the parameter.
            block: Name of the parameter's block.
            is_regularized: Whether the regularizer decides its update.

        Returns:
            A line with a count of 1.
        """
        size, first = self._size, uses[0]
        handling, method, widths = self._handling(uses, is_regularized)
        standard, own, products = 0, 0, Cost(0, 0)
        exact: tuple[Cost, ...] = ()
        if isinstance(first.form, FactoredForm):
            shape = self._parameter_shape(uses)
            kept = self.kept if is_regularized else size.num_general or size.num_target
            standard, own = shape.step(kept_examples=float(kept))
            own += self._second_pass(sum(form.left * form.right * form.matrices_per_token for form in _dense(uses)))
            if handling is Handling.PRODUCTS:
                assert self._need is not None
                assert method is not None
                products = shape.sketch(*widths) if widths else shape.cost(method, self._need)
                exact = tuple(shape.cost(other, self._need) for other in EXACT)
        elif handling is Handling.PER_EXAMPLE:
            assert self._need is not None
            products = compared_vectors(prod(first.shape), self._need, num_general=size.num_general, num_target=size.num_target)
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
            kept_bytes=self._kept_bytes(uses) if handling in {Handling.PRODUCTS, Handling.PER_EXAMPLE} else 0,
        )

    def frozen(self, model: nn.Module) -> Iterator[PlanLine]:
        """Linear layers that are not trained, one line each; activations' gradients are taken to pass through all of them.

        Args:
            model: Any module.

        Yields:
            A line with a count of 1.
        """
        for _, module in model.named_modules():
            weight = getattr(module, "weight", None)
            if not isinstance(weight, nn.Parameter) or weight.requires_grad or not self._layer_rules.is_linear(module):
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
        if not isinstance(uses[0].form, FactoredForm):
            return Handling.PER_EXAMPLE, None, None
        method = self._regularizer.options.products
        if method is ProductsMethod.SKETCH:
            return Handling.PRODUCTS, method, self._widths(uses)
        if self._is_recomputing and self._size.num_micro_batches > 1:
            return Handling.PRODUCTS, ProductsMethod.REDUCED, None  # see `drpt.capture.passes.partial_products`
        if method is ProductsMethod.AUTO:
            method = self._parameter_shape(uses).cheapest(self._need)
        return Handling.PRODUCTS, method, None

    def _parameter_shape(self, uses: Sequence[ParameterUse]) -> ParameterShape:
        size = self._size
        forms = [form for use in uses if isinstance(form := use.form, FactoredForm)]
        tokens = size.row_tokens * forms[0].matrices_per_token
        general, target = size.num_general * tokens, size.num_target * tokens
        shapes = tuple(
            UseShape(_share(general, part, size.num_micro_batches), _share(target, part, size.num_micro_batches), form.is_ids)
            for part in range(size.num_micro_batches)  # each micro-batch uses the parameter anew
            for form in forms
        )
        return ParameterShape(forms[0].left, forms[0].right, shapes, size.num_general, size.num_target)

    def _second_pass(self, area: int) -> int:
        """Work of a second pass: activations' gradients from the same graph; of several micro-batches, the forward too."""
        tokens = self._size.num_examples * self._size.row_tokens
        return int(self._is_recomputing) * tokens * area * (1 if self._size.num_micro_batches == 1 else 2)

    def _kept_bytes(self, uses: Sequence[ParameterUse]) -> int:
        if self._is_recomputing:
            return 0
        total = sum(use.announced_bytes(self._size) for use in uses)
        if self._regularizer.options.partition is not Partition.LAYER or self._size.num_micro_batches > 1:
            return total
        # A tied parameter waits for the use that the backward pass reaches last: its first in the model.
        return total - uses[0].announced_bytes(self._size)

    def _widths(self, uses: Sequence[ParameterUse]) -> tuple[int, int]:
        sketch = self._regularizer.options.sketch
        forms = [form for use in uses if isinstance(form := use.form, FactoredForm)]
        left, right = forms[0].left, forms[0].right
        widths = (min(left, sketch.left_width), min(right, sketch.right_width))
        for axis, (full, width) in enumerate(zip((left, right), widths, strict=True)):
            for is_ids in {form.is_ids and axis == 0 for form in forms}:
                if width == full:
                    continue
                if sketch.kind == SketchKind.ROW_MASK.value and not is_ids:
                    self._matrices[axis, full, "places"] = 8 * width
                else:
                    number = 4 if is_ids else self._size.product_bytes  # ids look up float32
                    self._matrices[axis, full, f"{number}"] = number * full * width
        return widths


def _dense(uses: Sequence[ParameterUse]) -> list[FactoredForm]:
    """The forms of those uses that multiply by the parameter, rather than look rows of it up."""
    return [form for use in uses if isinstance(form := use.form, FactoredForm) and not form.is_ids]


def _share(count: int, part: int, num_micro_batches: int) -> int:
    return count * (part + 1) // num_micro_batches - count * part // num_micro_batches
