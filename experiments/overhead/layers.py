"""Measures a single linear layer at shapes of Llama-3.2-1B: each product of a step, relative to the standard step's three."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drpt.capture.gradients import FactoredGradient
from drpt.capture.options import ProductsMethod
from drpt.capture.products import direct, pairwise, reduced, sketched
from drpt.capture.products.cost import Need, ParameterShape, UseShape
from drpt.capture.products.sketch import Sketcher
from drpt.capture.products.sketch_spec import SketchKind
from drpt.capture.products.step_examples import StepExamples
from drpt.capture.segments import Segments
from drpt.capture.tokens import TokenVectors
from experiments.overhead.timing import as_record, interleave

# Items of several seconds only confirm that `auto` does not choose them, so one counted round suffices.
_ONCE_ABOVE_SECONDS = 2.0
_EXACT = {"reduced": reduced, "pairwise": pairwise, "direct": direct}
_SKETCHES = (("gaussian", 64), ("gaussian", 32), ("row_mask", 64))
STANDARD_ITEMS = ("forward, n rows", "activation backward, n rows", "weight gradient, n rows")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSetting:
    """Shapes of a layer and its inputs."""

    outputs: int
    inputs: int
    num_general: int = 8
    num_target: int = 1
    num_tokens: int = 512
    precision: str = "fp32"

    @property
    def key(self) -> str:
        """Names files."""
        return f"{self.outputs}x{self.inputs}-m{self.num_target}-{self.precision}"

    @property
    def label(self) -> str:
        """In tables."""
        shape = f"{self.outputs}×{self.inputs}"
        return f"{shape}, n={self.num_general}, m={self.num_target}, T={self.num_tokens}, {self.precision}"


LAYER_SETTINGS = tuple(
    LayerSetting(outputs=outputs, inputs=inputs, num_target=m, precision=precision)
    for precision in ("fp32", "bf16")
    for m in (1, 4)
    for outputs, inputs in ((2048, 2048), (2048, 8192), (8192, 2048))
)
TINY_LAYER_SETTINGS = (LayerSetting(outputs=32, inputs=48, num_tokens=16),)


def measure_layer(setting: LayerSetting, *, warm_ups: int, rounds: int, after_step: Callable[[], None]) -> dict[str, Any]:
    """Time each product of one layer, interleaved.

    Args:
        setting: Shapes of the layer and its inputs.
        warm_ups: Number of warm-up rounds.
        rounds: Number of counted rounds.
        after_step: Callback after every product.

    Returns:
        `Timed` records by item, each with its multiplications, and the method that `auto` chooses.
    """
    items = make_items(setting)
    with torch.no_grad():
        timed = interleave(
            items, warm_ups=warm_ups, rounds=rounds, after_step=after_step, once_above_seconds=_ONCE_ABOVE_SECONDS
        )
    records = as_record(timed)
    shape = _shape(setting)
    return {
        "items": records,
        "operations": {name: _operations(setting, shape, name) for name in items},
        "auto": {need.value: shape.cheapest(need).value for need in _needs(setting)},
    }


def make_items(setting: LayerSetting) -> dict[str, Callable[[], object]]:
    """The products by name. A gramian, of the general rows, does not depend on m; it is measured for m = 1 only."""
    generator = torch.Generator().manual_seed(0)
    dtype = _DTYPES[setting.precision]
    n, m, length = setting.num_general, setting.num_target, setting.num_tokens

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, o = drawn((n + m) * length, setting.inputs), drawn((n + m) * length, setting.outputs)
    weight = drawn(setting.outputs, setting.inputs)
    general = slice(0, n * length)
    examples = StepExamples(n, m)
    segments = Segments(tuple(range(n + m)), (length,) * (n + m))

    def uses() -> Sequence[FactoredGradient]:  # new ones every time: nothing is remembered from the round before
        return [FactoredGradient(TokenVectors(o), TokenVectors(x), segments, setting.outputs)]

    half = [1.0 / (n // 2) if i < n // 2 else 0.0 for i in range(n + m)]
    whole = [1.0 / n if i < n else 0.0 for i in range(n + m)]
    items: dict[str, Callable[[], object]] = {
        "forward, n rows": lambda: x[general] @ weight.T,
        "activation backward, n rows": lambda: o[general] @ weight,
        "weight gradient, n rows": lambda: o[general].T @ x[general],
        "forward, n + m rows": lambda: x @ weight.T,
        "activation backward, n + m rows": lambda: o @ weight,
        "update, half of the rows": lambda: uses()[0].update(half, None),
        "update, all general rows": lambda: uses()[0].update(whole, None),
    }
    for need in _needs(setting):
        for name, method in _EXACT.items():
            items[f"{need.value}, {name}"] = _exact(method, need, uses, examples)
    for kind, width in _SKETCHES:
        sketcher = Sketcher(SketchKind(kind), left_width=width, right_width=width, seed=0)
        items[f"alignment and gramian, {kind} {width}"] = _sketched(uses, examples, sketcher)
    return items


def _needs(setting: LayerSetting) -> tuple[Need, ...]:
    return (Need.ALIGNMENT, Need.GRAMIAN) if setting.num_target == 1 else (Need.ALIGNMENT,)


def _exact(
    method: Any, need: Need, uses: Callable[[], Sequence[FactoredGradient]], examples: StepExamples
) -> Callable[[], object]:
    if need is Need.ALIGNMENT:
        return lambda: method.alignment(uses(), examples)
    if method is direct:  # the gradients are formed once for both
        return lambda: method.gramian(uses(), examples, examples.num_examples)
    return lambda: (method.alignment(uses(), examples), method.gramian(uses(), examples, examples.num_general))


def _sketched(
    uses: Callable[[], Sequence[FactoredGradient]], examples: StepExamples, sketcher: Sketcher
) -> Callable[[], object]:
    def run() -> Tensor:
        rows = sketched.example_sketches(uses(), examples.num_examples, sketcher)
        return rows @ rows.T

    return run


def _shape(setting: LayerSetting) -> ParameterShape:
    general, target = setting.num_general * setting.num_tokens, setting.num_target * setting.num_tokens
    use = UseShape(general, target, is_ids=False)
    return ParameterShape(setting.outputs, setting.inputs, (use,), setting.num_general, setting.num_target)


def _operations(setting: LayerSetting, shape: ParameterShape, item: str) -> int:
    n, m = setting.num_general, setting.num_target
    area = setting.num_tokens * setting.outputs * setting.inputs  # of one row
    kind, _, rest = item.partition(", ")
    if kind in {"forward", "activation backward", "weight gradient"}:
        return area * (n if rest == "n rows" else n + m)
    if kind == "update":
        return area * (n // 2 if rest.startswith("half") else n)
    if kind == "alignment and gramian":
        sketch, width = rest.split()
        columns = int(width)
        if sketch == SketchKind.ROW_MASK.value:
            return ((n + m) * setting.num_tokens + (n + m) ** 2) * columns**2
        return shape.sketch(min(columns, setting.outputs), min(columns, setting.inputs)).multiplications
    return shape.cost(ProductsMethod(rest), Need(kind)).multiplications
