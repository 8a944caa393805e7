"""`drpt probe`: bias and variance of every update rule at one model, from one pass over a pool of examples."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from drpt.analysis.bias_variance import measure, target_size
from drpt.analysis.gramians import ParameterGramians, parameter_gramians, sketch_error
from drpt.analysis.probe_chart import draw_probe
from drpt.analysis.probe_grid import FAMILIES, PARTITIONS, Family, families_of, is_alike, rules
from drpt.analysis.probe_page import build_probe_page
from drpt.analysis.probe_points import Point, Probe, best_points
from drpt.analysis.resampling import Pool, draw
from drpt.analysis.run import ResultsError
from drpt.app.probe_subject import collect_gradients, prepare
from drpt.app.probe_words import ProbeSubject
from drpt.app.result_files import write_results
from drpt.app.run_config import read_spec
from drpt.app.run_data import DrawnBefore, check_data_are_the_same
from drpt.capture.options import Partition
from drpt.memory import keep_freed_memory, release_memory
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec
from drpt.storage import require_folder
from drpt.tasks.run_spec import RunSpec


def run_probe(options: argparse.Namespace, asked: ProbeSubject, console: Console) -> int:
    """Measure, print a table, and write ``probe.json``, ``probe.png`` and ``probe.html``.

    Args:
        options: Parsed options of `drpt probe` (see `drpt.app.arguments`).
        asked: Model, checkpoint and regularizer that the overrides name.
        console: Console to print to.

    Returns:
        The exit status: 0, or 1 if a file could not be written.

    Raises:
        ResultsError: The run's folder or checkpoint does not exist.
        StorageError: The folder of the results cannot be written to.
        DataChangedError: The run's data or model have changed since it was trained.
        ValueError: A value breaks its rule, or the source has too few examples.
    """
    start = time.perf_counter()
    spec, run, checkpoint, own = asked.spec, asked.run, asked.checkpoint, asked.own
    if run is not None:  # the examples that training saw are drawn again
        check_data_are_the_same(run, DrawnBefore().fingerprints(read_spec(run)))
    folder = options.out or Path(options.runs) / f"probe-{datetime.now():%Y-%m-%d_%H-%M-%S}"
    require_folder(folder)  # fail before minutes of work
    sizes = options.rows or [(spec.data.general_rows, spec.data.target_rows)]
    plan = _Plan(options=options, base_weights=spec.regularizer.base_weights, own=own, seed=options.seed)
    plan.check(sizes)
    keep_freed_memory()
    subject = prepare(spec, pool=options.pool, run=run, checkpoint=checkpoint)
    prepared = time.perf_counter()
    gradients = collect_gradients(subject, width=options.width, batch_tokens=options.batch_tokens)
    num_tokens = torch.tensor([sum(encoded.loss_mask[1:]) for encoded in subject.encoded])
    halves = subject.halves
    del subject  # free the model
    gramians = [parameter_gramians(sketch) for sketch in gradients]
    probed = _Probed(halves=halves, num_tokens=num_tokens, gramians=gramians)
    release_memory()
    collected = time.perf_counter()
    points = _measure_all(probed, sizes, plan)
    measured = time.perf_counter()
    state = f", {checkpoint} of {run.name}" if run else ""
    probe = Probe(
        title=f"{spec.model.label}, {spec.finetune.method}{state}: {options.draws} draws, {options.pool} examples of each kind",
        points=points,
        target_size=target_size(probed.pool("global")),
        sketch_width=options.width,
        sketch_stderr=probed.sketch_stderr(),
        seconds={"preparation": prepared - start, "pool": collected - prepared, "resampling": measured - collected},
    )
    _show(probe, console)
    return write_results(_files(folder, probe, spec, options), console)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The rules to measure under each partition."""

    options: argparse.Namespace
    base_weights: str
    own: RegularizerSpec | None
    seed: int

    @property
    def partitions(self) -> list[str]:
        """Partitions from coarse to fine, including that of the user's own regularizer."""
        wanted = {*self.options.partitions, *([self.own.partition] if self.own else [])}
        return [name for name in PARTITIONS if name in wanted]

    @property
    def families(self) -> list[Family]:
        """The families that are asked for, and those of the user's own set where it is from outside the package."""
        own = families_of(self.own.set) if self.own else {}
        return [*(family for name, family in FAMILIES.items() if name in self.options.families), *own.values()]

    def rules(self, partition: str, target_rows: int) -> list[RegularizerSpec]:
        """One a point."""
        found = list(
            rules(
                partition,
                families=self.families,
                target_rows=target_rows,
                base_weights=self.base_weights,
                has_alike=partition == self.partitions[0],
            )
        )
        if self.own is not None and self.own.partition == partition and not (self.own.is_auto and target_rows < 2):
            # Draws are not consecutive steps, so an automatic strength must not average over past ones.
            found.append(replace(self.own, name=f"own.{self.own.name}", auto_memory=0.0))
        return found

    def check(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Refuse sizes that would fail only after the pass over the pool.

        Raises:
            ResultsError: A step has more examples than half of the pool, or more than a set can enumerate.
        """
        for n, m in sizes:
            if max(n, m) > self.options.pool // 2:
                raise ResultsError(
                    f"--rows {n}x{m}: a step takes its examples from one half of the pool, {self.options.pool // 2} of each "
                    "kind. Raise --pool."
                )
            rules = {rule.set: rule for partition in self.partitions for rule in self.rules(partition, m)}
            for name, rule in rules.items():
                limit = None if rule.entry is None else rule.entry.max_general
                if limit is not None and n > limit:
                    raise ResultsError(
                        f"--rows {n}x{m}: the set {name!r} takes at most {limit} general examples a step. Leave it out of "
                        "--families, or lower n."
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probed:
    """The measured pool: roles of the examples, and their gramians by parameter from one or two sketches."""

    halves: tuple[dict[str, Tensor], dict[str, Tensor]]  # indices in the pool by role: general, target, population, used
    num_tokens: Tensor
    gramians: list[ParameterGramians]

    def pool(self, partition: str, target: str = "target") -> Pool:
        """The pool's gramians under one partition; the first sketch measures, the last one chooses."""
        first, second = self.halves
        measuring = self.gramians[0].of_blocks(Partition(partition))
        return Pool(
            gramian=measuring,
            choosing=measuring if len(self.gramians) == 1 else self.gramians[1].of_blocks(Partition(partition)),
            num_tokens=self.num_tokens,
            general=(first["general"], second["general"]),
            target=(first[target], second[target]),
            population=(first["population"], second["population"]),
        )

    def sketch_stderr(self) -> float | None:
        """Relative standard error of a squared distance: that from the general mean to v*."""
        if len(self.gramians) == 1:
            return None
        gaps = [self._mean_of("general", half) - self._mean_of("population", half) for half in (0, 1)]
        return sketch_error(self.gramians[0], self.gramians[1], (gaps[0] + gaps[1]) / 2)

    def _mean_of(self, kind: str, half: int) -> Tensor:
        places = self.halves[half][kind]
        weights = torch.zeros(len(self.num_tokens), dtype=torch.float64)
        weights[places] = 1.0 / len(places)
        return weights


def _measure_all(probed: _Probed, sizes: Sequence[tuple[int, int]], plan: _Plan) -> list[Point]:
    points: list[Point] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        total = sum(len(plan.rules(partition, m)) for partition in plan.partitions for _, m in sizes)
        task = progress.add_task("rules", total=total)

        def run(pool: Pool, specs: Sequence[RegularizerSpec], size: tuple[int, int], target: str) -> None:
            n, m = size
            draws = draw(pool, num_draws=plan.options.draws // 2, general_rows=n, target_rows=m, seed=plan.seed)
            built = [build_regularizer(rule, seed=plan.seed) for rule in specs]
            found = measure(built, pool, draws, advance=lambda: progress.advance(task))
            points.extend(
                Point(rule=rule, general_rows=n, target_rows=m, target=target, direction=direction)
                for rule, direction in zip(specs, found, strict=True)
            )

        for partition in plan.partitions:
            pool = probed.pool(partition)
            for size in sizes:
                run(pool, plan.rules(partition, size[1]), size, "unseen")
        num_used = len(probed.halves[0].get("used", ()))
        for size in sizes:
            if num_used >= max(2, size[1]):
                apart = [rule for rule in plan.rules(plan.partitions[0], size[1]) if is_alike(rule) and not rule.is_auto]
                progress.update(task, total=(total := total + len(apart)))
                run(probed.pool("global", "used"), apart, size, "used")
    return points


def _files(folder: Path, probe: Probe, spec: RunSpec, options: argparse.Namespace) -> dict[Path, Callable[[], str | bytes]]:
    record: dict[str, Any] = probe.as_record() | {
        "config": asdict(spec),
        "options": {key: str(value) for key, value in vars(options).items() if key != "run_command"},
    }
    pictures = [(f"-n{size[0]}-m{size[1]}" if number else "", size) for number, size in enumerate(probe.sizes)]
    return {
        folder / "probe.html": lambda: build_probe_page(probe),
        **{folder / f"probe{suffix}.png": partial(draw_probe, probe, size) for suffix, size in pictures},
        folder / "probe.json": lambda: json.dumps(record, indent=1, default=str),
    }


def _show(probe: Probe, console: Console) -> None:
    for size in probe.sizes:
        console.print(_table(probe, size))
    used = probe.of(None, target="used")
    if used:
        console.print("on the target examples that were used in training, against the same v*:")
        for point in used:
            d = point.direction
            console.print(
                f"  {point.label}, m={point.target_rows}: bias² {d.bias_sq:.3f}, variance {d.variance:.3f}, mse {d.mse:.3f}"
            )
    error = (
        "exact gradients"
        if probe.sketch_stderr is None
        else f"the sketch adds an error of ±{probe.sketch_stderr:.1%} to squared distances"
    )
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in probe.seconds.items())
    console.print(f"{probe.target_text}; {error}; {seconds}")
    console.print("each family's best point was chosen on the draws that its figures come from, a slight optimistic bias")


def _table(probe: Probe, size: tuple[int, int]) -> Table:
    """The best strength and partition of every family, by mean squared error."""
    title = f"n={size[0]}, m={size[1]}: best point of each family (squares relative to ‖v*‖²; the oracle v* has 0)"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("family", "partition", "λ or ρ", "bias²", "variance", "mse", "cos(u, v*)", "‖u‖/‖v*‖", "failures"):
        table.add_column(heading, justify="left" if heading in {"family", "partition"} else "right")
    for point in best_points(probe.of(size), over_partitions=True):
        d = point.direction
        table.add_row(
            point.rule.name,
            point.rule.partition,
            point.dial,
            f"{d.bias_sq:.3f} ± {d.bias_sq_stderr:.3f}",
            f"{d.variance:.3f} ± {d.variance_stderr:.3f}",
            f"{d.mse:.3f} ± {d.mse_stderr:.3f}",
            f"{d.cosine:.3f}",
            f"{d.norm_ratio:.2f}",
            str(d.num_failures or ""),
        )
    return table
