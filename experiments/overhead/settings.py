"""What is compared: settings (shapes, what is trained, in which precision) and sides (ways of making one step)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from drpt.capture.cost import Need
from drpt.capture.sketch_spec import SketchSpec
from drpt.geometry.spec import RegularizerSpec

STRENGTHS = {"subset": 0.5, "hull": 0.125, "cone": 0.0, "span": 0.1, "ball": 0.5}  # as in conf/regularizer
_WITH_GRAMIAN = {"hull", "cone", "span"}
_ENDLESS_MIB = 2.0**20  # whatever the step keeps alive: one pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One shape of a step, and how it is trained."""

    num_general: int  # n
    num_target: int  # m
    num_tokens: int  # T, of a row
    finetune: Literal["full", "lora"] = "full"
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast, around forward and backward

    @property
    def key(self) -> str:
        """Names files."""
        return f"n{self.num_general}-m{self.num_target}-T{self.num_tokens}-{self.finetune}-{self.precision}"

    @property
    def shape(self) -> str:
        """``n=8, m=1, T=128``."""
        return f"n={self.num_general}, m={self.num_target}, T={self.num_tokens}"

    @property
    def label(self) -> str:
        """In tables and charts."""
        return f"{self.shape}, {'LoRA' if self.finetune == 'lora' else 'full'}, {self.precision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way of making a step."""

    name: str
    feasible_set: str
    partition: str = "layer"
    products: str = "auto"
    sketch: str | None = None  # a value of SketchKind
    width: int | None = None
    is_recomputing: bool = False  # nothing may be kept: a second backward pass forms the update
    sees_all: bool = False  # standard training on the n + m rows

    @property
    def need(self) -> Need | None:
        """Which products it asks for; None for standard training and the mix, which ask for none."""
        if self.feasible_set in {"mean", "ball"}:
            return None
        return Need.GRAMIAN if self.feasible_set in _WITH_GRAMIAN else Need.ALIGNMENT

    @property
    def retain_mib(self) -> float:
        """See `drpt.capture.capture.GradientCapture`."""
        return 0.0 if self.is_recomputing else _ENDLESS_MIB

    def regularizer_spec(self) -> RegularizerSpec:
        """The `regularizer` config group."""
        return RegularizerSpec(
            name=self.feasible_set,
            set=self.feasible_set,
            partition=self.partition,
            score="alignment",
            strength=STRENGTHS.get(self.feasible_set),
            relaxation=0.0,
            step_size=None,
            auto_memory=0.9,
            products=self.products,
            base_weights="example",
            scope="all",
            pool="step",
            stopping_share=0.0,
        )

    def sketch_spec(self) -> SketchSpec | None:
        """The `sketch` config group, where it counts."""
        if self.sketch is None or self.width is None:
            return None
        return SketchSpec(kind=self.sketch, left_width=self.width, right_width=self.width, seed=0, refresh_steps=None)


def _sketched(feasible_set: str, kind: str = "gaussian", width: int = 64, **more: Any) -> Side:  # Any: other fields of Side
    name = f"{more.get('partition', 'layer')} {feasible_set}, {kind} {width}" + (
        ", recompute" if more.get("is_recomputing") else ""
    )
    return Side(name=name, feasible_set=feasible_set, products="sketch", sketch=kind, width=width, **more)


def _exact(feasible_set: str, products: str = "auto", **more: Any) -> Side:  # Any: other fields of Side
    name = f"{more.get('partition', 'layer')} {feasible_set}, {products}" + (
        ", recompute" if more.get("is_recomputing") else ""
    )
    return Side(name=name, feasible_set=feasible_set, products=products, **more)


STANDARD = Side(name="full, n rows", feasible_set="mean")
WIDER = Side(name="full, n + m rows", feasible_set="mean", sees_all=True)
SUBSET_AUTO, SUBSET_SKETCH = _exact("subset"), _sketched("subset")
HULL_SKETCH = _sketched("hull")
GLOBAL_AUTO, GLOBAL_SKETCH = _exact("subset", partition="global"), _sketched("subset", partition="global")
GLOBAL_AGAIN = replace(GLOBAL_AUTO, name=f"{GLOBAL_AUTO.name}, recompute", is_recomputing=True)

ALL_SIDES = (
    STANDARD,
    WIDER,
    Side(name="mix", feasible_set="ball"),
    SUBSET_AUTO,
    _exact("subset", "reduced"),
    _exact("subset", "pairwise"),
    _exact("subset", "direct"),
    SUBSET_SKETCH,
    _sketched("subset", width=32),
    _sketched("subset", "rademacher"),
    _sketched("subset", "row_mask"),
    _sketched("subset", "sparse"),
    HULL_SKETCH,
    _sketched("cone"),
    _sketched("span"),
    _exact("hull"),
    _exact("cone"),
    _exact("span"),
    GLOBAL_AUTO,
    GLOBAL_AGAIN,
    GLOBAL_SKETCH,
    replace(GLOBAL_SKETCH, name=f"{GLOBAL_SKETCH.name}, recompute", is_recomputing=True),
)
CORE_SIDES = (
    STANDARD,
    WIDER,
    SUBSET_AUTO,
    SUBSET_SKETCH,
    _sketched("subset", "row_mask"),
    HULL_SKETCH,
    GLOBAL_AUTO,
    GLOBAL_SKETCH,
)
GROWTH_SIDES = (STANDARD, SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH)
MEMORY_SIDES = (WIDER, SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH, GLOBAL_AUTO, GLOBAL_AGAIN)
BREAKDOWN_SIDES = tuple(
    side for side in ALL_SIDES if side.partition == "layer" and side.products in {"auto", "sketch"} and side.need is not None
    and (side.sketch is None or (side.sketch, side.width) == ("gaussian", 64))
)  # fmt: skip

FIRST = Setting(num_general=8, num_target=1, num_tokens=128)  # the goals are about this one and the next
FOUR_TARGETS = replace(FIRST, num_target=4)
LONGER = Setting(num_general=4, num_target=1, num_tokens=256)
STEP_SETTINGS = tuple(
    replace(shape, finetune=finetune, precision=precision)
    for finetune in ("full", "lora")
    for precision in ("fp32", "bf16")
    for shape in (FIRST, FOUR_TARGETS, LONGER)
)
MEMORY_SETTINGS = (
    FIRST,
    FOUR_TARGETS,
    LONGER,
    replace(FIRST, precision="bf16"),
    replace(FIRST, finetune="lora"),
)
BREAKDOWN_SETTINGS = (FIRST, FOUR_TARGETS)
GROWTH: dict[str, tuple[Setting, ...]] = {
    "n": tuple(replace(FIRST, num_general=n) for n in (2, 4, 8, 16, 32)),
    "T": tuple(replace(FIRST, num_tokens=tokens) for tokens in (64, 128, 256, 512)),
    "m": tuple(replace(FIRST, num_target=m) for m in (1, 2, 4, 8)),
}


def sides_of(setting: Setting) -> Sequence[Side]:
    """All of them for the first setting, a core for the others."""
    if setting == FIRST:
        return ALL_SIDES
    return (*CORE_SIDES, _sketched("subset", width=32)) if setting == FOUR_TARGETS else CORE_SIDES


def parts_of(setting: Setting) -> Sequence[Side]:
    """Whose parts are timed, beside standard steps: all for the first setting, those the goals name for the other."""
    return BREAKDOWN_SIDES if setting == FIRST else (SUBSET_AUTO, SUBSET_SKETCH, HULL_SKETCH)
