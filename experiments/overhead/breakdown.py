"""Measures the parts of a step: forward, activation backward, products, solve, update, AdamW.

On a CPU every operation is complete when its call returns, so that the parts of a step, timed through its trace, add up to the
whole. Two more variants are floors: modules are captured but nothing is recorded, so that only forward and activation backward
remain, on n and on n + m rows. The weight gradient of a standard step is its backward pass minus that of the floor.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from drpt.capture.capture import GradientCapture
from drpt.capture.checking.check import Trial
from drpt.capture.gradients import UseGradient
from drpt.capture.segments import Layout
from drpt.capture.sites import captured_forwards
from drpt.capture.tokens import RecentTokens
from drpt.capture.trace import Span, StepTrace
from drpt.objectives.language_modeling import sample_losses
from experiments.overhead.settings import Setting
from experiments.overhead.steps import Subject, make_step, precision_of
from experiments.overhead.timing import Timed, as_record, interleave
from experiments.overhead.variants import STANDARD, SUBSET_SKETCH, WIDER, parts_of

PARTS = ("forward", "backward", "products", "solve", "update", "capture", "adamw")  # backward: of activations, if captured
FLOORS = {"nothing recorded, n rows": False, "nothing recorded, n + m rows": True}


class Stopwatch:
    """Times nested parts; the time of a part excludes the parts inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time the body under this name."""
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
        subject: Model and optimizer.
        setting: Rows, tokens and precision.
        warm_ups: Number of warm-up rounds.
        rounds: Number of counted rounds.
        after_step: Callback after every step.

    Returns:
        `Timed` records with the seconds of every part of every counted round.
    """
    parts: dict[str, list[dict[str, float]]] = {}
    steps: dict[str, Callable[[], None]] = {}
    for variant in (STANDARD, WIDER, *parts_of(setting)):
        watch = Stopwatch()
        step = make_step(subject, setting, variant, watch=watch, trace=_Clocks(watch))
        steps[variant.name] = _watched(step, watch, parts.setdefault(variant.name, []))
    for name, is_wide in FLOORS.items():
        watch = Stopwatch()
        step = _make_floor(subject, setting, setting.num_general + (setting.num_target if is_wide else 0), watch)
        steps[name] = _watched(step, watch, parts.setdefault(name, []))
    timed = interleave(steps, warm_ups=warm_ups, rounds=rounds, prepare=subject.forget_gradients, after_step=after_step)
    return _join(timed, parts)


class _Clocks(StepTrace):
    """Times the parts of the capture's own work through the step's trace."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def span(self, part: Span) -> AbstractContextManager[None]:
        return self._watch(part)


class _Unrecorded:
    """A replacement for a step's recorder that keeps nothing."""

    def __init__(self, num_rows: int) -> None:
        self.layout = Layout(range(num_rows))
        self.recent = RecentTokens()
        self.anchor = torch.zeros((), requires_grad=True)
        self.trial: Trial | None = None

    def announce(self, names: Sequence[str], num_bytes: int) -> None:
        """Nothing is kept."""

    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        """Nothing is kept."""


def _make_floor(subject: Subject, setting: Setting, num_rows: int, watch: Stopwatch) -> Callable[[], None]:
    """Forward and activation backward of captured modules, and AdamW; no gradient is formed."""
    capture = GradientCapture(subject.model, SUBSET_SKETCH.build_regularizer())
    ids = subject.tokens(setting.num_general + setting.num_target, setting.num_tokens)[:num_rows]
    mask = torch.ones_like(ids, dtype=torch.bool)

    def step() -> None:
        with precision_of(setting), captured_forwards(capture.sites, capture.parameters, _Unrecorded(num_rows)):
            with watch("forward"):
                losses = sample_losses(subject.model(input_ids=ids, use_cache=False).logits, ids, mask)
            with watch("backward"):
                losses.sum().backward()
            del losses
        with watch("adamw"):
            subject.optimizer.step()

    return step


def _watched(step: Callable[[], None], watch: Stopwatch, found: list[dict[str, float]]) -> Callable[[], None]:
    def run() -> None:
        watch.seconds.clear()
        with watch("capture"):
            step()
        found.append(dict(watch.seconds))

    return run


def _join(timed: Mapping[str, Timed], parts: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    records = as_record(timed)
    for name, record in records.items():
        counted = len(record["seconds"])
        record["parts"] = parts[name][-counted:] if counted else []
    return records
