"""Where a step's seconds go: forward, activation backward, products, solve, update, AdamW.

On a CPU every operation is done when its call returns, so that clocks around the calls of one real step add up to it. Two more
sides have parts switched off: nothing is recorded, and forward and activation backward are all that is left of the step, on n
and on n + m rows. A standard step's weight gradient is its backward pass less that floor's.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from drpt.capture import step as capture_step
from drpt.capture.measure import Measure
from drpt.capture.regularizer import Regularizer
from drpt.capture.step import CaptureStep
from experiments.overhead.settings import Setting
from experiments.overhead.sides import STANDARD, SUBSET_SKETCH, WIDER, parts_of
from experiments.overhead.steps import Subject, make_step, step_rows
from experiments.overhead.timing import Timed, as_record, interleave

PARTS = ("forward", "backward", "products", "solve", "update", "capture", "adamw")  # backward: of activations, if captured
FLOORS = {"nothing recorded, n rows": False, "nothing recorded, n + m rows": True}
_TIMED = (
    (CaptureStep, "record", "capture"),  # bookkeeping: what is left of it when its own parts below are taken out
    (CaptureStep, "_finish", "capture"),
    (Measure, "__call__", "products"),
    (Measure, "products", "products"),
    (Regularizer, "coefficients", "solve"),
    (capture_step, "add_update", "update"),
)


class Stopwatch:
    """Seconds of nested parts, each without those inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time what runs inside, under this name."""
        self._change()
        self._running.append(part)
        try:
            yield
        finally:
            self._change()
            self._running.pop()

    def _change(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def measure_breakdown(
    subject: Subject, setting: Setting, *, warm_ups: int, rounds: int, after_step: Callable[[], None]
) -> dict[str, Any]:
    """Time the parts of standard, captured and floor steps, interleaved.

    Args:
        subject: What is trained.
        setting: Rows, tokens, precision.
        warm_ups: Rounds before the counted ones.
        rounds: Counted ones.
        after_step: Told of every step.

    Returns:
        `Timed` records with the seconds of every part of every counted round.
    """
    parts: dict[str, list[dict[str, float]]] = {}
    steps: dict[str, Callable[[], None]] = {}
    for side in (STANDARD, WIDER, *parts_of(setting)):
        watch = Stopwatch()
        step = make_step(subject, setting, side, watch=watch)
        steps[side.name] = _watched(step, watch, parts.setdefault(side.name, []), _clocks(watch))
    n, m = setting.num_general, setting.num_target
    for name, is_wide in FLOORS.items():
        watch = Stopwatch()
        # The capture needs a target row to be there; which kind a row is makes no difference where nothing is recorded.
        rows = step_rows(n + m - 1 if is_wide else n - 1, 1)
        step = make_step(subject, setting, SUBSET_SKETCH, rows=rows, watch=watch)
        steps[name] = _watched(step, watch, parts.setdefault(name, []), {(CaptureStep, "record"): _ignore})
    timed = interleave(steps, warm_ups=warm_ups, rounds=rounds, prepare=subject.forget_gradients, after_step=after_step)
    return _join(timed, parts)


def _ignore(*_: object) -> None:
    """In place of `CaptureStep.record`."""


def _clocks(watch: Stopwatch) -> dict[tuple[object, str], Callable[..., Any]]:  # Any: whatever the methods return
    return {(owner, name): _timed(getattr(owner, name), watch, part) for owner, name, part in _TIMED}


def _timed(method: Callable[..., Any], watch: Stopwatch, part: str) -> Callable[..., Any]:  # Any: as above
    def run(*arguments: Any, **options: Any) -> Any:
        with watch(part):
            return method(*arguments, **options)

    return run


@contextmanager
def _patched(methods: Mapping[tuple[object, str], Callable[..., Any]]) -> Iterator[None]:
    patches: list[AbstractContextManager[Any]] = [patch.object(owner, name, new) for (owner, name), new in methods.items()]
    started = []
    try:
        for one in patches:
            one.__enter__()
            started.append(one)
        yield
    finally:
        for one in reversed(started):
            one.__exit__(None, None, None)


def _watched(
    step: Callable[[], None],
    watch: Stopwatch,
    found: list[dict[str, float]],
    methods: Mapping[tuple[object, str], Callable[..., Any]],
) -> Callable[[], None]:
    def run() -> None:
        watch.seconds.clear()
        with _patched(methods), watch("capture"):
            step()
        found.append(dict(watch.seconds))

    return run


def _join(timed: Mapping[str, Timed], parts: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    records = as_record(timed)
    for name, record in records.items():
        counted = len(record["seconds"])
        record["parts"] = parts[name][-counted:] if counted else []
    return records
