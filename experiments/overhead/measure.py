"""Measures the cost of a regularized step relative to a standard one, and renders the results.

python -m experiments.overhead.measure            # everything; a second call goes on where the first stopped
python -m experiments.overhead.measure --report   # tables in README.md and the pictures, from results/ alone

python -m experiments.overhead.measure --only steps growth --rounds 9
python -m experiments.overhead.measure --settings '*-m4-*' 'layers-*-bf16'
python -m experiments.overhead.measure --quick    # one round of one setting a part, to see that everything runs
"""

import argparse
import json
import os
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from drpt.memory import keep_freed_memory
from experiments.overhead.jobs import PARTS, QUICK, Job, Subjects, all_jobs, effort
from experiments.overhead.report import write_report
from experiments.overhead.store import RESULTS, environment, save

_QUIET_LOAD = 0.5
_QUICK_RESULTS = Path("runs/overhead_quick")


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, or report."""
    options = _parse(arguments)
    folder: Path = options.results or (_QUICK_RESULTS if options.quick else RESULTS)
    console = Console()
    if options.report:
        for path in write_report(folder):
            console.print(f"written: {path}", highlight=False)
        return
    # Not in a test, whose timings do not matter and whose process has more to do.
    if options.model != "tiny":
        keep_freed_memory()
    jobs = all_jobs(Subjects(options.model), QUICK if options.quick else effort(options.rounds))
    jobs = [job for job in jobs if _is_asked_for(job, options)]
    if options.quick:
        first = {job.part: job for job in reversed(jobs)}
        jobs = [job for job in jobs if job is first[job.part]]
    missing = [job for job in jobs if options.again or not _is_there(job, folder)]
    seconds = sum(job.estimated_seconds for job in missing)
    kept = len(jobs) - len(missing)
    console.print(
        f"{len(missing)} settings to measure, about {seconds / 60:.0f} minutes on two idle cores"
        + (f"; {kept} are there already (--again measures them anew)" if kept else ""),
        highlight=False,
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if missing and load > _QUIET_LOAD:
        console.print(
            f"the machine is busy (load average {load:.1f}): threads that share a core with other work can take twenty times "
            "as long, and ratios are meaningless; wait until it is idle",
            highlight=False,
        )
    _run(missing, folder, options.model, console)


def _parse(arguments: list[str] | None) -> Any:  # Any: what argparse returns
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--settings", nargs="+", default=["*"], metavar="PATTERN", help="names of result files, with * and ?")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="counted rounds where goals for time are set; fewer elsewhere (default: 3)",
    )
    parser.add_argument("--model", choices=("smollm2_135m", "tiny"), default="smollm2_135m")
    parser.add_argument("--results", type=Path, help="folder of the results (default: results/ beside this file)")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--quick", action="store_true", help=f"one round of one setting a part, into {_QUICK_RESULTS}")
    parser.add_argument("--report", action="store_true", help="measure nothing: tables and pictures from the results")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds={options.rounds} must be at least 1.")
    return options


def _is_asked_for(job: Job, options: Any) -> bool:  # Any: what argparse returns
    return job.part in options.only and any(fnmatchcase(job.name, pattern) for pattern in options.settings)


def _is_there(job: Job, folder: Path) -> bool:
    """Whether the results of a job exist, for the present variants."""
    path = folder / f"{job.name}.json"
    return path.exists() and job.variants == json.loads(path.read_text()).get("variants", {}).keys()


def _run(jobs: list[Job], folder: Path, model: str, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(job.estimated_seconds for job in jobs))
        for job in jobs:
            progress.update(task, description=job.name)
            share = job.estimated_seconds / job.steps

            def after_step(share: float = share) -> None:
                progress.advance(task, share)

            described = environment("experiments.overhead.measure")
            start = time.perf_counter()
            found = job.run(after_step)
            took = time.perf_counter() - start
            described["load_after"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
            save(folder, job.name, {"model": model, **found, "took_seconds": took, "environment": described})
            errors = [name for name, variant in (found.get("variants") or found["items"]).items() if variant["error"]]
            note = f"; could not run: {', '.join(errors)}" if errors else ""
            console.print(f"{job.name}: {took:.0f} s{note}", highlight=False)


if __name__ == "__main__":
    main()
