"""Times several variants in interleaved rounds, in an order that is shuffled in every round, after warm-up rounds.

The warm-up rounds are not counted; they measure how much memory each variant holds at once.
"""

import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

from experiments.overhead.live_memory import LiveMemory


@dataclass(slots=True, kw_only=True)
class Timed:
    """All measurements of one variant."""

    warm_up: list[float] = field(default_factory=list)  # seconds of the warm-up rounds
    seconds: list[float] = field(default_factory=list)  # seconds of each counted round
    page_faults: list[int] = field(default_factory=list)  # minor page faults of each counted round (memory touched first)
    preemptions: list[int] = field(default_factory=list)  # preemptions of threads by other work in each counted round
    live_peak: int | None = None  # peak bytes of the last warm-up, above those held before it
    error: str | None = None  # reason why the variant could not be run


def interleave(
    variants: Mapping[str, Callable[[], object]],
    *,
    warm_ups: int,
    rounds: int,
    prepare: Callable[[], None] = lambda: None,
    after_step: Callable[[], None] = lambda: None,
    once_above_seconds: float | None = None,
) -> dict[str, Timed]:
    """Time all variants.

    Args:
        variants: Functions that run one step, by name.
        warm_ups: Number of warm-up rounds.
        rounds: Number of counted rounds.
        prepare: Function called before every step, untimed.
        after_step: Callback after every step.
        once_above_seconds: Variants whose last warm-up took longer are counted in the first round only.

    Returns:
        Measurements by name. A variant that raises is skipped from then on, and its error is kept.
    """
    timed = {name: Timed() for name in variants}
    generator = random.Random(0)
    for round_ in range(warm_ups + rounds):
        names = list(variants)
        generator.shuffle(names)
        for name in names:
            record = timed[name]
            is_slow = once_above_seconds is not None and bool(record.warm_up) and record.warm_up[-1] > once_above_seconds
            if record.error is None and not (is_slow and record.seconds):
                _time(variants[name], record, prepare, is_counted=round_ >= warm_ups)
            after_step()
    return timed


def _time(step: Callable[[], object], record: Timed, prepare: Callable[[], None], *, is_counted: bool) -> None:
    prepare()
    watch = None if is_counted else LiveMemory()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    try:
        with watch or nullcontext():
            step()
    except Exception as error:  # the other variants must still be measured
        record.error = f"{type(error).__name__}: {error}".splitlines()[0]
        record.seconds.clear()
        record.page_faults.clear()
        record.preemptions.clear()
        record.live_peak = None
        return
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    if watch is None:
        record.seconds.append(seconds)
        record.page_faults.append(after.ru_minflt - before.ru_minflt)
        record.preemptions.append(after.ru_nivcsw - before.ru_nivcsw)
    else:
        record.warm_up.append(seconds)
        record.live_peak = watch.peak


def as_record(timed: Mapping[str, Timed]) -> dict[str, dict[str, Any]]:
    """Plain values."""
    return {name: asdict(record) for name, record in timed.items()}


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median and quartiles over rounds of the ratio within a round."""

    median: float
    low: float
    high: float


def ratio(seconds: Sequence[float], base: Sequence[float]) -> Ratio | None:
    """Ratio of two variants' times, round by round.

    Args:
        seconds: Seconds of the variant in each round.
        base: Seconds of the base variant in the same rounds.

    Returns:
        The ratio, or None if one of them has no counted round.
    """
    ratios = [own / other for own, other in zip(seconds, base, strict=False)]  # a slow variant may have fewer rounds
    if not ratios:
        return None
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Ratio(middle, low, high)


def median_or_none(values: Sequence[float]) -> float | None:
    """The median; None if there are no values."""
    return median(values) if values else None
