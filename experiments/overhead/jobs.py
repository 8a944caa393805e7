"""Lists the jobs of the measurement: one for each file of results, with an estimate of its duration."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from drpt.capture.products.cost import Need
from experiments.overhead.breakdown import FLOORS, measure_breakdown
from experiments.overhead.layers import LAYER_SETTINGS, TINY_LAYER_SETTINGS, LayerSetting, measure_layer
from experiments.overhead.memory import measure_memory
from experiments.overhead.operations import Operations, count
from experiments.overhead.settings import (
    BREAKDOWN_SETTINGS,
    FIRST,
    FOUR_TARGETS,
    GROWTH,
    MEMORY_SETTINGS,
    STEP_SETTINGS,
    Setting,
)
from experiments.overhead.steps import ModelName, Subject, make_step, rows_of
from experiments.overhead.store import Record
from experiments.overhead.timing import as_record, interleave
from experiments.overhead.variants import GROWTH_VARIANTS, MEMORY_VARIANTS, STANDARD, WIDER, Variant, parts_of, variants_of

Part = Literal["steps", "breakdown", "memory", "layers", "growth"]
PARTS: tuple[Part, ...] = ("steps", "breakdown", "memory", "layers", "growth")
_TOKENS_A_SECOND = 310.0  # speed of a standard step in full float32 on two cores; used for estimates only
_FACTORS = {("full", "fp32"): 1.0, ("full", "bf16"): 0.6, ("lora", "fp32"): 0.7, ("lora", "bf16"): 0.45}
_LONG_STEP_TOKENS = 3000  # tokens of a step from which one counted round suffices for growing sizes
_SECONDS_A_PROCESS = 9.0  # time to import, load and tokenize


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Numbers of rounds."""

    warm_ups: int
    rounds: int  # counted rounds of settings with goals for time
    rounds_elsewhere: int
    rounds_of_growth: int


def effort(rounds: int) -> Effort:
    """The numbers of rounds for ``--rounds``; growing sizes need fewer, since ratios of long steps hardly vary."""
    return Effort(
        warm_ups=1,
        rounds=rounds,
        rounds_elsewhere=max(1, rounds // 2),
        rounds_of_growth=(rounds + 2) // 3,
    )


QUICK = Effort(warm_ups=1, rounds=1, rounds_elsewhere=1, rounds_of_growth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job, which produces one file of results."""

    name: str
    part: Part
    steps: int  # number of calls of ``after_step``
    estimated_seconds: float
    variants: frozenset[str]  # names of the variants; empty for layers, whose items follow from the setting
    run: Callable[[Callable[[], None]], Record]


class Subjects:
    """Loads models, and keeps only the last one, since two would share the measured memory.

    Args:
        model: Name of the model.
    """

    def __init__(self, model: ModelName) -> None:
        self.model: ModelName = model
        self._latest: Subject | None = None

    def get(self, finetune: str) -> Subject:
        """The subject for a kind of fine-tuning, loaded unless it was the last one."""
        if self._latest is None or self._latest.key != (self.model, finetune):
            self._latest = None
            self._latest = Subject(self.model, finetune)
        self._latest.forget_gradients()
        return self._latest


def all_jobs(subjects: Subjects, effort: Effort) -> list[Job]:
    """List all jobs, without loading anything.

    Args:
        subjects: Loader of models.
        effort: Numbers of rounds.

    Returns:
        Jobs in the order of measuring.
    """
    step_jobs = [_step_job(subjects, setting, effort) for setting in STEP_SETTINGS]
    breakdown_jobs = [_breakdown_job(subjects, setting, effort) for setting in BREAKDOWN_SETTINGS]
    memory_jobs = [_memory_job(subjects, setting) for setting in MEMORY_SETTINGS]
    is_tiny = subjects.model == "tiny"
    layer_jobs = [_layer_job(setting, effort) for setting in (TINY_LAYER_SETTINGS if is_tiny else LAYER_SETTINGS)]
    points = {setting for line in GROWTH.values() for setting in line} - set(STEP_SETTINGS)
    # The largest first, so that the others find memory that was touched before.
    ordered = sorted(points, key=lambda s: ((s.num_general + s.num_target) * s.num_tokens, s.num_tokens), reverse=True)
    growth_jobs = [_growth_job(subjects, setting, effort) for setting in ordered]
    return [*step_jobs, *breakdown_jobs, *memory_jobs, *layer_jobs, *growth_jobs]


def _seconds(setting: Setting, variants: Sequence[Variant]) -> float:
    """Of one round."""
    n, m = setting.num_general, setting.num_target
    factor = _FACTORS[setting.finetune, setting.precision] * setting.num_tokens / _TOKENS_A_SECOND
    rows = [rows_of(setting, variant).num_examples for variant in variants]
    exact_gramians = sum(variant.need is Need.GRAMIAN and variant.sketch is None for variant in variants)
    return factor * (sum(rows) + (n + m) * exact_gramians)


def _timed_job(
    subjects: Subjects, setting: Setting, variants: Sequence[Variant], *, part: Part, warm_ups: int, rounds: int
) -> Job:
    def run(after_step: Callable[[], None]) -> Record:
        subject = subjects.get(setting.finetune)
        steps = {variant.name: make_step(subject, setting, variant) for variant in variants}
        steps[STANDARD.name]()  # AdamW's moments are there from now on
        subject.forget_gradients()
        timed = interleave(steps, warm_ups=warm_ups, rounds=rounds, prepare=subject.forget_gradients, after_step=after_step)
        counts = {variant.name: _plain(count(subject.model, setting, variant)) for variant in variants}
        return _record(part, asdict(setting), warm_ups, rounds, {"variants": as_record(timed), "operations": counts})

    total = warm_ups + rounds
    return Job(
        name=f"{part}-{setting.key}",
        part=part,
        steps=total * len(variants),
        estimated_seconds=total * _seconds(setting, variants),
        variants=frozenset(variant.name for variant in variants),
        run=run,
    )


def _step_job(subjects: Subjects, setting: Setting, effort: Effort) -> Job:
    is_aimed_at = setting in {FIRST, FOUR_TARGETS}
    rounds = effort.rounds if is_aimed_at else effort.rounds_elsewhere
    return _timed_job(subjects, setting, variants_of(setting), part="steps", warm_ups=effort.warm_ups, rounds=rounds)


def _growth_job(subjects: Subjects, setting: Setting, effort: Effort) -> Job:
    is_long = setting.num_general * setting.num_tokens > _LONG_STEP_TOKENS
    warm_ups, rounds = effort.warm_ups, 1 if is_long else effort.rounds_of_growth
    return _timed_job(subjects, setting, GROWTH_VARIANTS, part="growth", warm_ups=warm_ups, rounds=rounds)


def _breakdown_job(subjects: Subjects, setting: Setting, effort: Effort) -> Job:
    warm_ups, rounds = effort.warm_ups, effort.rounds
    variants = (STANDARD, WIDER, *parts_of(setting))
    num_variants = len(variants) + len(FLOORS)

    names = frozenset((*(variant.name for variant in variants), *FLOORS))

    def run(after_step: Callable[[], None]) -> Record:
        subject = subjects.get(setting.finetune)
        make_step(subject, setting, STANDARD)()  # AdamW's moments are there from now on
        subject.forget_gradients()
        found = measure_breakdown(subject, setting, warm_ups=warm_ups, rounds=rounds, after_step=after_step)
        return _record("breakdown", asdict(setting), warm_ups, rounds, {"variants": found})

    total = warm_ups + rounds
    seconds = total * _seconds(setting, variants) * num_variants / len(variants)
    return Job(
        name=f"breakdown-{setting.key}",
        part="breakdown",
        steps=total * num_variants,
        estimated_seconds=seconds,
        variants=names,
        run=run,
    )


def _memory_job(subjects: Subjects, setting: Setting) -> Job:
    def run(after_step: Callable[[], None]) -> Record:
        variants = {}
        for variant in MEMORY_VARIANTS:
            variants[variant.name] = measure_memory(subjects.model, setting, variant, num_threads=torch.get_num_threads())
            after_step()
        return _record("memory", asdict(setting), 0, 1, {"variants": variants})

    # Two steps, and half as much time again for memory that is given back at once.
    seconds = 3 * _seconds(setting, MEMORY_VARIANTS) + _SECONDS_A_PROCESS * len(MEMORY_VARIANTS)
    return Job(
        name=f"memory-{setting.key}",
        part="memory",
        steps=len(MEMORY_VARIANTS),
        estimated_seconds=seconds,
        variants=frozenset(variant.name for variant in MEMORY_VARIANTS),
        run=run,
    )


def _layer_job(setting: LayerSetting, effort: Effort) -> Job:
    warm_ups, rounds = effort.warm_ups, effort.rounds_elsewhere

    def run(after_step: Callable[[], None]) -> Record:
        found = measure_layer(setting, warm_ups=warm_ups, rounds=rounds, after_step=after_step)
        return _record("layers", asdict(setting), warm_ups, rounds, found)

    num_items = 16 if setting.num_target == 1 else 13
    # Multiplications of a round, at the 80 · 10⁹ a second of two cores (float32).
    rate = 8e10 * (4.0 if setting.precision == "bf16" else 1.0)
    standard = setting.num_general * setting.num_tokens * setting.outputs * setting.inputs / rate
    seconds = (warm_ups + rounds) * standard * (14 if setting.num_target == 1 else 10) + (
        12 if num_items == 16 else 0
    ) * standard
    return Job(
        name=f"layers-{setting.key}",
        part="layers",
        steps=(warm_ups + rounds) * num_items,
        estimated_seconds=seconds,
        variants=frozenset(),
        run=run,
    )


def _plain(found: Operations) -> dict[str, int]:
    return asdict(found)


def _record(part: Part, setting: dict[str, Any], warm_ups: int, rounds: int, found: Record) -> Record:
    return {"part": part, "setting": setting, "warm_ups": warm_ups, "rounds": rounds, **found}
