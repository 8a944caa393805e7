"""Prints the capture's cost plan for `drpt explain`: one line for each kind of layer, then the cost and memory of a step."""

import re
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.layers.outside import rules_with
from drpt.capture.options import ChoiceScope, Partition, ProductsMethod
from drpt.capture.passes.waiting import WAITING_BYTES
from drpt.capture.planning.plan import CostPlan, plan_of
from drpt.capture.planning.plan_lines import Handling, PlanLine
from drpt.capture.products.cost import EXACT, Need
from drpt.capture.regularizer import Regularizer
from drpt.capture.step_size import StepSize
from drpt.models.shapes import meta_model
from drpt.modules.build_regularizer import build_regularizer
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

_MIB = 2**20
_WIDE = 110  # width in characters from which the methods that were not chosen are shown, too
_EXACT_UNIT = f"{', '.join(method.value for method in EXACT)}: work of each method in such steps, bytes written included"
_NEEDS = {
    None: "no products",
    Need.ALIGNMENT: "alignments alone",
    Need.GRAMIAN: "alignments and gramian",
    Need.JOINT: "all products of general and target examples",
}


def print_plan(run: RunSpec, console: Console) -> None:
    """Print what the run's regularizer costs on the run's model, or why that is not known.

    Args:
        run: Checked configuration.
        console: Console to print to.
    """
    task = find_task(run.task.name)
    if not task.is_supervised:
        why = ", whose target gradient is given," if task.draws_responses else ""
        console.print(f"no plan: steps of task={run.task.name}{why} are not counted.", soft_wrap=True)
        return
    regularizer = build_regularizer(
        run.regularizer, seed=0, sketch=run.sketch, activation_budget_mib=run.trainer.activation_budget_mib
    )
    size = _step_size(run, regularizer)
    try:
        model = meta_model(run.model, run.finetune)
        plan = plan_of(model, regularizer, size, layer_rules=rules_with(run.trainer.layer_rules))
    except (ValueError, UnsupportedModuleError) as error:
        console.print(f"no plan: {error}", markup=False, soft_wrap=True)
        return
    if not plan.lines:
        return  # the update is one weighted loss, as printed above
    console.print()
    console.print(_table(plan, run, console.width))
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for heading, text in _summary(plan, run, regularizer, has_exact=_shows_exact(plan, run, console.width)):
        grid.add_row(heading, text.replace("[", "\\["))
    console.print(grid)


def _step_size(run: RunSpec, regularizer: Regularizer) -> StepSize:
    """Size of the examples of one choice; with ``choice_scope=micro`` each micro-batch makes its own choice."""
    parts = run.trainer.micro_batches
    is_own = run.regularizer.choice_scope == ChoiceScope.MICRO.value
    share = parts if is_own else 1
    return StepSize(
        num_general=run.data.general_rows // share if regularizer.needs_general else 0,
        num_target=run.data.target_rows // share if regularizer.needs_target else 0,
        row_tokens=run.data.max_length,
        num_micro_batches=1 if is_own else parts,
        product_bytes=4 if run.trainer.precision == "32-true" else 2,
        other_bytes=2 if run.trainer.precision == "bf16-true" else 4,
    )


def _table(plan: CostPlan, run: RunSpec, width: int) -> Table:
    is_layer = run.regularizer.partition == Partition.LAYER.value
    has_exact = _shows_exact(plan, run, width)
    blocks = "each layer a block" if is_layer else f"partition={run.regularizer.partition}"
    title = f"plan of {run.model.label}, finetune={run.finetune.method}, {blocks}: {_NEEDS[plan.need]}"
    table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left", collapse_padding=True)
    for heading in ("layers", "rule", *(() if is_layer else ("blocks",)), "products by"):
        table.add_column(heading, vertical="bottom")
    for heading in ("step G", "extra G", "share", "written", "kept"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for method in EXACT if has_exact else ():
        table.add_column(method.value, justify="right", no_wrap=True, style="dim", vertical="bottom")
    for line in plan.lines:
        cells = [
            f"{line.kind} {'×'.join(map(str, line.shape))} ×{line.count}".replace("  ", " "),
            "tied" if "+" in line.rule else line.rule,
            *([] if is_layer else [_spelled(line)]),
            _method(line),
            _giga(line.standard),
            _giga(line.products.multiplications),
            _percent(line.products.multiplications, line.standard),
            _mib(line.products.bytes_written),
            _mib(line.kept_bytes),
        ]
        table.add_row(*cells, *(_alternatives(line) if has_exact else []))
    return table


def _shows_exact(plan: CostPlan, run: RunSpec, width: int) -> bool:
    return run.regularizer.products == ProductsMethod.AUTO.value and plan.need is not None and width >= _WIDE


def _method(line: PlanLine) -> str:
    if line.widths is not None:
        return f"sketch {'×'.join(map(str, line.widths))}"
    if line.method is not None:
        return line.method.value
    return {Handling.PER_EXAMPLE: "exact rows", Handling.KNOWN: "none", Handling.FREE: "not regularized"}.get(
        line.handling, "–"
    )


def _alternatives(line: PlanLine) -> list[str]:
    """Work of each exact method, bytes included, in standard steps of the line's layers; in G if these multiply nothing."""
    ratios = [cost.total / (line.standard or 10**9) for cost in line.exact]
    unit = "" if line.standard else " G"
    return [f"{ratio:.2g}{unit}" if ratio < 10 else f"{ratio:.0f}{unit}" for ratio in ratios] or ["–"] * len(EXACT)


def _spelled(line: PlanLine) -> str:
    blocks = line.blocks
    if not blocks or line.handling is Handling.FREE:
        return "–"
    if len(blocks) == 1:
        return re.sub(r"^(base_model\.)?(model\.)*", "", blocks[0])
    first, last = (re.search(r"\d+", block) for block in (blocks[0], blocks[-1]))
    return f"{len(blocks)}: {first.group()} to {last.group()}" if first and last else str(len(blocks))


def _summary(plan: CostPlan, run: RunSpec, regularizer: Regularizer, *, has_exact: bool) -> Iterator[tuple[str, str]]:
    size = plan.size
    n, m = size.num_general, size.num_target
    yield (
        "counted",
        f"n = {n} general and m = {m} target rows of T = {size.row_tokens} tokens each (data.max_length: the worst case), and "
        f"an update over {plan.kept_examples} rows (k of n if the strength is k/n, else all that may have a coefficient)",
    )
    yield (
        "",
        "G: 10⁹ multiplications; step: a standard step over n rows (forward, gradients of activations and weights, without "
        "attention and elementwise work); written, kept: MiB" + (f"; {_EXACT_UNIT}" if has_exact else ""),
    )
    if regularizer.options.choice_scope is ChoiceScope.MICRO and run.trainer.micro_batches > 1:
        yield (
            "",
            f"one of {run.trainer.micro_batches} micro-batches: each chooses among its own rows "
            f"(regularizer.choice_scope=micro)",
        )
    yield "extra", _products_total(plan)
    if plan.standard:
        total = plan.own + plan.products.multiplications
        yield (
            "step",
            f"{total / plan.standard:.2f} times a standard step over n rows: {plan.own / plan.standard:.2f} for forward and "
            f"gradients of activations over n + m rows{', repeated in a second pass,' if plan.is_recomputing else ''} and the "
            f"update{'' if plan.need is None else ', the rest for products'}",
        )
    if run.model.gradient_checkpointing:
        yield "", "model.gradient_checkpointing adds a forward pass to both kinds of step, which is not counted"
    yield "memory", _memory(plan, regularizer)
    if plan.sketch_bytes:
        yield "sketches", f"{_mib(plan.sketch_bytes)} MiB of random matrices"


def _products_total(plan: CostPlan) -> str:
    if plan.need is None:
        return "none: the coefficients depend on no gradient"
    extra = plan.products
    share = f", {_percent(extra.multiplications, plan.standard)} of a standard step" if plan.standard else ""
    return f"{_giga(extra.multiplications)} G multiplications{share}; {_mib(extra.bytes_written)} MiB written"


def _memory(plan: CostPlan, regularizer: Regularizer) -> str:
    budget = f"trainer.activation_budget_mib={plan.activation_budget_bytes / _MIB:g}"
    if plan.need is None:
        return "nothing is kept: the update of every layer is formed in its own backward pass"
    if plan.is_refused:
        return (
            f"up to {_mib(plan.announced_bytes)} MiB would be kept, more than {budget}, and a second pass cannot compare "
            "examples of different batches: the run would stop. Raise trainer.activation_budget_mib, or choose products=sketch"
        )
    if plan.is_recomputing:
        return (
            f"up to {_mib(plan.announced_bytes)} MiB of activations and output gradients would be kept, more than {budget}: "
            "instead, a second pass forms the update"
        )
    waiting = f"up to {WAITING_BYTES // _MIB} MiB for layers that are solved together"
    if regularizer.options.partition is Partition.LAYER and plan.size.num_micro_batches == 1:
        tied = f"{_mib(plan.kept_bytes)} MiB for tied parameters until their last use, and " if plan.kept_bytes else ""
        return f"layers are done in their own backward; kept are {tied}{waiting}; trainer.activation_budget_mib has no effect"
    return f"up to {_mib(plan.kept_bytes)} MiB of activations and output gradients are kept, within {budget}: no second pass"


def _giga(count: int) -> str:
    return f"{count / 1e9:.3g}" if count else "–"


def _percent(part: int, whole: int) -> str:
    percent = 100 * part / whole if whole else 0.0
    return "–" if percent == 0 else f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def _mib(count: int) -> str:
    return f"{count / _MIB:.3g}" if 0 < count < 100 * _MIB else f"{count / _MIB:.0f}" if count else "–"
