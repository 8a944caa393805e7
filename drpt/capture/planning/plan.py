"""What the capture does in a step, and what that costs: counted from shapes, before any step is taken.

The plan asks the capture itself which blocks there are and what is regularized, and `ParameterShape` for methods and work,
as `drpt.capture.products.computer.ProductComputer` does during a step. It takes every example to be ``row_tokens`` long, and
every module to run once a micro-batch. Counted are products with weight matrices; attention and elementwise work are not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from drpt.capture.capture import GradientCapture, need_of
from drpt.capture.layers.rules import DEFAULT_RULES, LayerRules
from drpt.capture.options import ProductsMethod
from drpt.capture.planning.plan_lines import Handling, LinePlanner, ParameterUse, PlanLine
from drpt.capture.products.cost import Cost, Need, totals
from drpt.capture.regularizer import Regularizer
from drpt.capture.step_size import StepSize


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPlan:
    """A step's plan."""

    lines: tuple[PlanLine, ...]  # in the model's order, frozen layers last; none where one weighted loss gives the update
    size: StepSize
    need: Need | None  # None: no products
    kept_examples: int  # examples over which the update of a regularized parameter is summed, at most
    is_recomputing: bool  # what would be kept is beyond the budget: a second pass
    is_refused: bool  # and the products cannot be had without it
    activation_budget_bytes: int  # the budget
    sketch_bytes: int  # of random matrices

    @property
    def standard(self) -> int:
        """Multiplications of a standard step over the general rows."""
        return sum(line.standard for line in self.lines)

    @property
    def own(self) -> int:
        """Multiplications of this step without its products."""
        return sum(line.own for line in self.lines)

    @property
    def products(self) -> Cost:
        """Work of the products of all parameters."""
        return totals([line.products for line in self.lines])

    @property
    def announced_bytes(self) -> int:
        """What is compared with the budget."""
        return sum(line.announced_bytes for line in self.lines)

    @property
    def kept_bytes(self) -> int:
        """Activations and output gradients kept for coefficients to come."""
        return sum(line.kept_bytes for line in self.lines)


def plan_of(
    model: nn.Module,
    regularizer: Regularizer,
    size: StepSize,
    *,
    layer_rules: LayerRules = DEFAULT_RULES,
) -> CostPlan:
    """Count what `GradientCapture` would do.

    Args:
        model: Its trained parameters require gradients; values are not looked at, the meta device will do.
        regularizer: Rule that decides the update, with the options of the capture.
        size: Size of the step; ``num_target`` is 0 where the step leaves target rows out.
        layer_rules: Rules by type of module.

    Returns:
        The plan.

    Raises:
        UnsupportedModuleError: A trained parameter belongs to a module without a rule.
        ValueError: See `GradientCapture`.
    """
    capture = GradientCapture(model, regularizer, layer_rules=layer_rules)
    fixed = capture.plan
    uses: dict[str, list[ParameterUse]] = {}
    for site in capture.sites:
        for own, name in site.own.items():
            uses.setdefault(name, []).append(ParameterUse(site, own))
    announced = sum(use.announced_bytes(size) for found in uses.values() for use in found)
    is_recomputing = fixed.needs_second_pass(announced, size.num_micro_batches)
    need = need_of(regularizer) if regularizer.needs_products else None
    is_partial = is_recomputing and size.num_micro_batches > 1
    planner = LinePlanner(regularizer, layer_rules, size, need, is_recomputing, kept_examples(regularizer, size))
    blocks = {
        name: (block.name, index < fixed.num_regularized)
        for index, block in enumerate(fixed.blocks)
        for name in block.parameters
    }
    lines = [planner.line(found, *blocks[name]) for name, found in uses.items()]
    if not fixed.is_plain:
        lines += planner.frozen(model)
    return CostPlan(
        lines=tuple(_merged(lines)),
        size=size,
        need=need,
        kept_examples=planner.kept,
        is_recomputing=is_recomputing,
        is_refused=is_partial and need is not Need.ALIGNMENT and regularizer.options.products is not ProductsMethod.SKETCH,
        activation_budget_bytes=fixed.activation_budget_bytes,
        sketch_bytes=planner.sketch_bytes,
    )


def kept_examples(regularizer: Regularizer, size: StepSize) -> int:
    """Examples that may have a coefficient other than zero.

    Args:
        regularizer: Rule that decides the update.
        size: Size of the step.

    Returns:
        The general examples that the set keeps at most; m target examples more where ``v`` may be part of the update.
    """
    n, m = size.num_general, size.num_target
    if regularizer.auto is not None:
        return n + m
    return regularizer.most_kept(n) + (m if regularizer.feasible_set.uses_target or regularizer.relaxation > 0 else 0)


def _merged(lines: Sequence[PlanLine]) -> Iterator[PlanLine]:
    groups: dict[tuple[object, ...], list[PlanLine]] = {}
    for line in lines:
        is_frozen = line.handling is Handling.FROZEN
        key = (line.kind, line.rule, line.shape, line.handling, line.method, line.widths)
        groups.setdefault(("frozen",) if is_frozen else key, []).append(line)
    for members in groups.values():
        yield replace(
            members[0],
            count=len(members),
            blocks=tuple(dict.fromkeys(block for line in members for block in line.blocks)),
            standard=sum(line.standard for line in members),
            own=sum(line.own for line in members),
            products=totals([line.products for line in members]),
            exact=tuple(totals(column) for column in zip(*(line.exact for line in members), strict=True)),
            announced_bytes=sum(line.announced_bytes for line in members),
            kept_bytes=sum(line.kept_bytes for line in members),
        )
