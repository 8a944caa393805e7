"""`drpt explain`: the formula of a regularizer, related methods, the limits of its strength, and its cost layer by layer."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.explain_reward import print_reward
from drpt.capture.options import ChoiceScope, Partition, ProductsMethod, RegularizedParameters
from drpt.geometry.catalogue import SETS
from drpt.geometry.entry import AUTO, SetEntry
from drpt.geometry.lookup import score_entry
from drpt.modules.regularizer_spec import PHASE, RegularizerSpec
from drpt.tasks.run_spec import RunSpec

_PARTITIONS = {
    Partition.GLOBAL: "one block of all parameters: one choice for the whole model, the smallest set",
    Partition.BLOCK: "a block for each transformer block",
    Partition.KIND: "a block for each kind of layer: all q_proj together, all down_proj together, …",
    Partition.LAYER: "a block for each layer: every layer chooses for itself, the largest set",
}


def explain_regularizer(overrides: Sequence[str], console: Console) -> int:
    """Explain the regularizer of a configuration; without overrides, list all sets.

    Args:
        overrides: Overrides as for ``drpt train``; model, fine-tuning, rows and lengths decide the cost.
        console: Console to print to.

    Returns:
        The exit status, 0.
    """
    if not overrides:
        _print_all(console)
        return 0
    run = _checked(overrides)
    spec = run.regularizer
    console.print(f"[bold]{spec.label}[/]", markup=True)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for heading, text in _facts(spec):
        table.add_row(heading, text.replace("[", "\\["))
    console.print(table)
    if run.reward is not None:
        print_reward(run.reward, console)
    from drpt.app.explain_plan import print_plan  # imports torch and transformers, so only after the text was printed

    print_plan(run, console)
    return 0


def _checked(overrides: Sequence[str]) -> RunSpec:
    config = compose_run([*overrides, "sweep=explain"])
    is_auto = AUTO in {config.regularizer.strength, config.regularizer.relaxation}
    if is_auto and not any(word.startswith("data.target_rows=") for word in overrides):
        # Automatic strengths estimate a spread, which takes two target rows.
        config.data.target_rows = max(2, config.data.target_rows)
    if config.regularizer.choice_scope != PHASE or any(word.startswith("task=") for word in overrides):
        return check_config(config)
    # Explain a choice for each rollout phase also without a task that has phases; it costs as much as a choice for each step.
    config.regularizer.choice_scope = ChoiceScope.STEP.value
    run = check_config(config)
    run.regularizer.choice_scope = PHASE
    return run


def _print_all(console: Console) -> None:
    table = Table(box=None, pad_edge=False, title="feasible sets, regularizer.set=…", title_justify="left")
    for heading in ("set", "F", "update", "strength λ"):
        table.add_column(heading)
    for name, entry in SETS.items():
        strength = "–" if entry.strength is None else f"{entry.strength}".replace("[", "\\[")
        table.add_row(name, entry.formula, entry.update, strength)
    console.print(table)
    console.print("For one regularizer: drpt explain layerwise_hull. For the list of presets: drpt train --help.")


def _facts(spec: RegularizerSpec) -> Iterator[tuple[str, str]]:
    entry, score = spec.entry, score_entry(spec.score)
    if entry is None:
        yield "set", f"{spec.set}, a set from outside of drpt"
    else:
        yield "set", f"{spec.set} = {entry.formula}"
        yield "update", f"u = {entry.update}" if entry.update[0] in "vλ" else entry.update
        yield "from", entry.source
        if entry.relatives:
            yield "related", entry.relatives
    yield "blocks", f"{spec.partition}: {_PARTITIONS[Partition(spec.partition)]}"
    if entry is not None and entry.takes_score and score is not None:
        yield "score", f"{spec.score}: {score.meaning}"
    if entry is not None and entry.strength is not None:
        yield from _strength(spec, entry)
    yield "relaxation", _relaxation(spec)
    weights = {"token": "its share of the general rows' loss tokens", "example": "1/n"}[spec.base_weights]
    yield "weights", f"ω_i of a general example: {weights}"
    yield from _needs(spec)


def _strength(spec: RegularizerSpec, entry: SetEntry) -> Iterator[tuple[str, str]]:
    domain = entry.strength
    assert domain is not None
    yield "strength", f"λ = {spec.strength} of {domain}: {domain.meaning}"
    yield "", f"λ → {domain.low:g}: {domain.at_low}"
    yield "", f"λ → {'∞' if domain.high == float('inf') else f'{domain.high:g}'}: {domain.at_high}"
    if spec.strength == "auto":
        grid = "in closed form, V/‖v − ḡ‖²" if entry.is_auto_closed else "among " + ", ".join(f"{x:g}" for x in entry.auto_grid)
        yield "", f"auto: the strength with the smallest estimated error, {grid} (drpt.geometry.auto)"
    elif not entry.offers_auto:
        yield "", "strength=auto is not available for this set; relaxation=auto is"


def _relaxation(spec: RegularizerSpec) -> str:
    if spec.relaxation == "auto":
        return "ρ = auto: u = (1−ρ) P(v) + ρ v with 1−ρ = (V − C)/‖P(v) − v‖², from the spread among target examples"
    return f"ρ = {spec.relaxation:g}: u = (1−ρ) P(v) + ρ v; 0 is the set itself, 1 target-only training"


def _needs(spec: RegularizerSpec) -> Iterator[tuple[str, str]]:
    from drpt.modules.build_regularizer import build_regularizer  # imports torch, so only after every check

    rule = build_regularizer(spec, seed=0)
    rows = [name for name, is_needed in (("general", rule.needs_general), ("target", rule.needs_target)) if is_needed]
    yield "rows", f"{' and '.join(rows)} rows in every step"
    if spec.chooses_by_phase:
        yield "choice", "once for each rollout phase, over all its responses: dropped responses are not trained on, and the"
        yield "", "following steps are ordinary ones (IIF)"
    if rule.is_constant and rule.needs_target and rule.options.parameters is RegularizedParameters.LINEAR_WEIGHTS:
        yield "costs", "no products: weights of linear layers get one weighted mean, all other parameters the general mean"
        return
    if rule.is_constant:
        yield "costs", "nothing: the update is the gradient of one weighted loss"
        return
    if not rule.needs_products:
        yield "costs", "no products; the update is formed layer by layer from each row's activations and output gradients"
        return
    products = ["alignments <g_i, v> [n]"]
    if rule.needs_gramian:
        products.append("the gramian <g_i, g_j> [n, n]")
    if rule.needs_spread:
        products.append("target products <g_i, v_j> [n, m] and <v_j, v_k> [m, m]")
    is_sketch = rule.options.products is ProductsMethod.SKETCH
    kind = "unbiased estimates from random matrices" if is_sketch else "exact"
    yield "products", ", ".join(products) + f": {kind}, from the step's one forward and one backward pass"
    if not is_sketch:
        yield "costs", _cost(spec, needs_gramian=rule.needs_gramian)
        return
    yield (
        "costs",
        "N (O a + I b) + N a b for a linear layer [O, I] with N = (n + m) T tokens and random matrices of a and b columns",
    )


def _cost(spec: RegularizerSpec, *, needs_gramian: bool) -> str:
    """Multiplications for a linear layer with weight [O, I] and T tokens in each row, besides a standard step's 3 n T I O."""
    aligned = "the smaller of (n + m) T I O (reduced) and (n + m) T · m T (I + O) (pairwise) for the alignments"
    between = "; for the gramian the same with n for m (pairwise), or its n gradients in slices" if needs_gramian else ""
    kept = (
        "; activations are freed as soon as the coefficients of their layer are chosen, a few layers at a time"
        if spec.partition == Partition.LAYER.value
        else "; activations and output gradients are kept until their block is complete"
    )
    return (
        f"a linear layer [O, I] with T tokens in each row takes 3 n T I O in a standard step; here in addition {aligned}"
        f"{between}{kept}"
    )
