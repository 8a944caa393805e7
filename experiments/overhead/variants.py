"""The compared variants of a step: every regularizer of `conf/regularizer`, and every method for its products."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from drpt.app.presets import preset_values
from drpt.capture.capture import need_of
from drpt.capture.products.cost import Need
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.regularizer import Regularizer
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec
from experiments.overhead.settings import FIRST, Setting

_ENDLESS_MIB = 2.0**20  # whatever the step keeps alive: one pass
_STEP_SIZE = 1e-5  # of greedy_greats, in place of ${optimizer.lr}; its time does not depend on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant of a step."""

    name: str
    preset: str  # preset of conf/regularizer: set, partition, score and dials
    products: str = "auto"
    sketch: str | None = None  # kind of sketch, a value of SketchKind
    width: int | None = None
    strength: str | None = None  # "auto" instead of the preset's strength
    is_recomputing: bool = False  # whether nothing is kept, so that a second backward pass forms the update
    sees_all: bool = False  # whether it is standard training on all n + m rows

    @property
    def activation_budget_mib(self) -> float:
        """See `drpt.capture.options.CaptureOptions`."""
        return 0.0 if self.is_recomputing else _ENDLESS_MIB

    @property
    def regularizer(self) -> Regularizer:
        """A regularizer for inspection; steps use new ones from `build_regularizer`."""
        return _regularizer(self)

    @property
    def need(self) -> Need | None:
        """The products that it needs; None if its coefficients are known in advance."""
        return need_of(self.regularizer) if self.regularizer.needs_products else None

    def build_regularizer(self) -> Regularizer:
        """What decides the update, new: an automatic strength remembers its steps."""
        values = preset_values("regularizer", self.preset) | {
            "products": self.products,
            "base_weights": "example",
            "choice_scope": "step",
        }
        if values["step_size"] is not None:
            values["step_size"] = _STEP_SIZE
        if self.strength is not None:
            values["strength"] = self.strength
        return build_regularizer(
            RegularizerSpec(**values), seed=0, sketch=self.sketch_spec(), activation_budget_mib=self.activation_budget_mib
        )

    def sketch_spec(self) -> SketchSpec | None:
        """The `sketch` config group; None if nothing is sketched."""
        if self.sketch is None or self.width is None:
            return None
        return SketchSpec(kind=self.sketch, left_width=self.width, right_width=self.width, seed=0, refresh_steps=None)


@cache
def _regularizer(variant: Variant) -> Regularizer:
    return variant.build_regularizer()


def _named(
    name: str,
    *,
    products: str = "auto",
    kind: str | None = None,
    width: int | None = None,
    strength: str | None = None,
    is_recomputing: bool = False,
) -> Variant:
    """Called by partition, set and products; by its file's name where nothing is compared."""
    found = preset_values("regularizer", name)
    variant = Variant(
        name="",
        preset=name,
        products=products,
        sketch=kind,
        width=width,
        strength=strength,
        is_recomputing=is_recomputing,
    )
    if variant.need is None:
        label = name
    else:
        label = f"{found['partition']} {found['set']}, {products if kind is None else f'{kind} {width}'}"
    label += ", strength auto" if strength else ""
    label += ", recompute" if is_recomputing else ""
    return replace(variant, name=label)


def _sketched(name: str, kind: str = "gaussian", width: int = 64, **more: Any) -> Variant:  # Any: other arguments of _named
    return _named(name, products="sketch", kind=kind, width=width, **more)


STANDARD = Variant(name="full, n rows", preset="full")
WIDER = Variant(name="full, n + m rows", preset="full", sees_all=True)
SUBSET_AUTO, SUBSET_SKETCH = _named("layerwise_subset"), _sketched("layerwise_subset")
HULL_AUTO, HULL_SKETCH = _named("layerwise_hull"), _sketched("layerwise_hull")
GLOBAL_AUTO, GLOBAL_SKETCH = _named("global_subset"), _sketched("global_subset")
GLOBAL_AGAIN = _named("global_subset", is_recomputing=True)
AUTO_STRENGTH = _sketched("layerwise_hull", strength="auto")

# Presets whose steps equal another's: early stopping does not change a step, and phases do not exist in supervised runs.
SAME_STEP = {"target_only_stopped": "target_only", "iif": "global_filter"}
WITHOUT_PRODUCTS = tuple(_named(name) for name in ("random_subset", "mix", "target_only"))
# With the default sketches, which serve every need.
LAYERWISE = tuple(
    _sketched(f"layerwise_{name}")
    for name in ("subset", "filter", "greedy", "exact_subset", "hull", "cone", "span", "top_span")
)
GLOBAL = tuple(
    _sketched(name)
    for name in (
        "global_subset",
        "global_filter",
        "global_greats",
        "global_hull",
        "agem",
        "gem",
        "pcgrad",
        "mgda",
        "cagrad",
        "l2rw",
        "gradmatch",
    )
)
METHODS = (
    SUBSET_AUTO,
    *(_named("layerwise_subset", products=method) for method in ("reduced", "pairwise", "direct")),
    _sketched("layerwise_subset", width=32),
    *(_sketched("layerwise_subset", kind) for kind in ("rademacher", "row_mask", "sparse")),
    HULL_AUTO,
    GLOBAL_AUTO,
    GLOBAL_AGAIN,
    _sketched("global_subset", is_recomputing=True),
)
EVERYWHERE = (STANDARD, WIDER, *WITHOUT_PRODUCTS, *LAYERWISE, *GLOBAL, *METHODS)
CONE_AND_SPAN_AUTO = (_named("layerwise_cone"), _named("layerwise_span"))
ALL_VARIANTS = (*EVERYWHERE, *CONE_AND_SPAN_AUTO, AUTO_STRENGTH)
GROWTH_VARIANTS = (STANDARD, SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH)
MEMORY_VARIANTS = (WIDER, SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH, GLOBAL_AUTO, GLOBAL_AGAIN)
BREAKDOWN_VARIANTS = (
    SUBSET_AUTO,
    SUBSET_SKETCH,
    HULL_SKETCH,
    _sketched("layerwise_cone"),
    _sketched("layerwise_span"),
    HULL_AUTO,
    *CONE_AND_SPAN_AUTO,
)


def variants_of(setting: Setting) -> Sequence[Variant]:
    """All regularizers and product methods, and further variants that depend on the setting."""
    beyond = CONE_AND_SPAN_AUTO if setting == FIRST else ()
    return (*EVERYWHERE, *beyond, *([AUTO_STRENGTH] if setting.num_target > 1 else []))


def parts_of(setting: Setting) -> Sequence[Variant]:
    """Variants whose parts are timed besides standard steps: all for the first setting, those with goals for the other."""
    return BREAKDOWN_VARIANTS if setting == FIRST else (SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH)
