"""The goals for the measured figures on two CPU cores: bounds on time in full float32 fine-tuning, and on memory everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from drpt.capture.options import Partition
from experiments.overhead.settings import FIRST, FOUR_TARGETS, MEMORY_SETTINGS, STEP_SETTINGS, Setting
from experiments.overhead.store import Record
from experiments.overhead.timing import Ratio, ratio
from experiments.overhead.variants import (
    ALL_VARIANTS,
    BREAKDOWN_VARIANTS,
    GLOBAL_AUTO,
    GLOBAL_SKETCH,
    HULL_SKETCH,
    STANDARD,
    SUBSET_AUTO,
    SUBSET_SKETCH,
    WIDER,
    Variant,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound, and the measured figure."""

    text: str
    bound: float
    found: Ratio | None  # measured ratio; None if it was not measured or could not be run
    limit: float | None = None  # ratio of operation counts, without products (for steps) or without solving (for products)

    @property
    def verdict(self) -> str:
        """The verdict in a word, by the median."""
        if self.found is None:
            return "not measured"
        return "met" if self.found.median <= self.bound else "missed"


STEP_GOALS: tuple[tuple[Setting, Variant, float], ...] = (
    (FIRST, SUBSET_SKETCH, 1.00),
    (FOUR_TARGETS, SUBSET_SKETCH, 1.20),
    (FIRST, SUBSET_AUTO, 1.15),
    (FIRST, GLOBAL_SKETCH, 1.10),
    (FIRST, GLOBAL_AUTO, 1.25),
)
PRODUCTS_BOUND = 1.05  # bound on products and solve of hull, cone and span, relative to subset
MEMORY_BOUND = 1.05


def check(results: Mapping[str, Record]) -> list[Goal]:
    """Check all goals.

    Args:
        results: Records by name.

    Returns:
        Goals in the order of their definition.
    """
    return [
        *(_step_goal(results, setting, variant, bound) for setting, variant, bound in STEP_GOALS),
        *_product_goals(results),
        *_live_goals(results),
        *_memory_goals(results),
    ]


def step_bound(setting: Setting, variant: str) -> float | None:
    """The bound on a variant's step time; None if there is none."""
    return next((bound for own, other, bound in STEP_GOALS if own == setting and other.name == variant), None)


def _step_goal(results: Mapping[str, Record], setting: Setting, variant: Variant, bound: float) -> Goal:
    text = f"step time, {variant.name}, {setting.shape}, over a standard step on n rows"
    record = results.get(f"steps-{setting.key}")
    if record is None or variant.name not in record["variants"]:
        return Goal(text=text, bound=bound, found=None)
    variants, counted = record["variants"], record["operations"][variant.name]
    found = ratio(variants[variant.name]["seconds"], variants[STANDARD.name]["seconds"])
    return Goal(text=text, bound=bound, found=found, limit=counted["free"] / counted["standard"])


def _product_goals(results: Mapping[str, Record]) -> list[Goal]:
    record, counted = results.get(f"breakdown-{FIRST.key}"), results.get(f"steps-{FIRST.key}", {}).get("operations", {})
    goals = []
    for variant in BREAKDOWN_VARIANTS:
        if variant in {SUBSET_AUTO, SUBSET_SKETCH}:
            continue
        base = SUBSET_AUTO if variant.sketch is None else SUBSET_SKETCH
        found = limit = None
        if variant.name in counted and base.name in counted:
            limit = counted[variant.name]["products"] / counted[base.name]["products"]
        if record is not None:
            own, other = (choice_seconds(record["variants"][name]) for name in (variant.name, base.name))
            found = ratio(own, other)
        text = f"products and solve, {variant.name}, {FIRST.shape}, over subset's"
        goals.append(Goal(text=text, bound=PRODUCTS_BOUND, found=found, limit=limit))
    return goals


def choice_seconds(variant: Record) -> list[float]:
    """Seconds of products and solve in each counted round."""
    return [parts.get("products", 0.0) + parts.get("solve", 0.0) for parts in variant["parts"]]


def _live_goals(results: Mapping[str, Record]) -> list[Goal]:
    """Of each setting the variant of the layer partition that holds most."""
    layerwise = [s.name for s in ALL_VARIANTS if s.need is not None and s.regularizer.options.partition is Partition.LAYER]
    goals = []
    for setting in STEP_SETTINGS:
        variants = results.get(f"steps-{setting.key}", {}).get("variants", {})
        held = {name: value for name in layerwise if (value := live_ratio(variants, name, WIDER)) is not None}
        text = f"memory held at once, layer partition, {setting.label}, over a standard step on n + m rows"
        if not held:
            goals.append(Goal(text=text, bound=MEMORY_BOUND, found=None))
            continue
        most = max(held, key=lambda name: held[name])
        text += f": {most}, the most of {len(held)}"
        goals.append(Goal(text=text, bound=MEMORY_BOUND, found=Ratio(held[most], held[most], held[most])))
    return goals


def live_ratio(variants: Mapping[str, Record], name: str, base: Variant) -> float | None:
    """Memory that a variant holds at once relative to a standard step, each above the memory held before the step.

    Args:
        variants: Records of one setting by variant.
        name: Name of the variant.
        base: Standard step.

    Returns:
        The ratio, or None if one of the two is unknown.
    """
    own, other = (variants.get(key, {}).get("live_peak") for key in (name, base.name))
    return None if own is None or not other else float(own / other)


def _memory_goals(results: Mapping[str, Record]) -> list[Goal]:
    goals = []
    for setting in MEMORY_SETTINGS:
        record = results.get(f"memory-{setting.key}")
        for variant in (SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH):
            value = None if record is None else memory_ratio(record["variants"], variant.name, "held")
            text = f"resident memory, {variant.name}, {setting.label}, over a standard step on n + m rows"
            goals.append(Goal(text=text, bound=MEMORY_BOUND, found=None if value is None else Ratio(value, value, value)))
    return goals


def memory_ratio(variants: Mapping[str, Record], name: str, above: str) -> float | None:
    """Peak memory of a variant relative to a standard step on n + m rows.

    Args:
        variants: Records of one setting by variant.
        name: Name of the variant.
        above: Memory to subtract from both: ``held`` before the first step, which leaves gradients, activations and AdamW's
            moments, or ``held_between`` steps, which leaves gradients and activations.

    Returns:
        The ratio, or None if one of the two could not be run.
    """
    own, base = variants[name], variants[WIDER.name]
    if own.get("error") or base.get("error"):
        return None
    return float((own["peak"] - own[above]) / (base["peak"] - base[above]))


def median_parts(variant: Record) -> dict[str, float]:
    """Median seconds of each part over the counted rounds."""
    names = {name for parts in variant["parts"] for name in parts}
    return {name: median(parts.get(name, 0.0) for parts in variant["parts"]) for name in names}
