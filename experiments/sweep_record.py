"""Keep what a sweep found beside its question: chart, every run's curves, and the table in the README.

python -m experiments.sweep_record experiments/rlvr_curve runs/rlvr_curve
"""

import argparse
import json
from pathlib import Path
from typing import Any

from drpt.analysis.report import write_report
from drpt.analysis.run import Run
from drpt.analysis.sweep import read_sweep
from drpt.analysis.sweep_words import lines_below
from drpt.analysis.table_formats import as_markdown
from drpt.files import write_atomically

_MARKS = ("<!-- results: written by experiments.sweep_record -->", "<!-- end of results -->")
# Of every run: what its held-out prompts, its training and its cost were; the rest is in the table.
_KEPT = ("target/", "train/reward/", "train/kl/", "train/entropy/", "train/toxicity/", "train/kl_coefficient/", "rollout/")


def main(arguments: list[str] | None = None) -> None:
    """Copy chart and curves of a sweep into an experiment's folder, and put its table into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="its folder, with a README.md that has the marks")
    parser.add_argument("sweep", type=Path, help="a sweep's folder, all of whose runs are finished")
    options = parser.parse_args(arguments)
    runs = read_sweep(options.sweep)
    if not runs.is_complete:
        parser.error("\n".join(lines_below(runs)))
    report = write_report(options.sweep)
    if trouble := [*report.faults.values(), *report.notes]:
        parser.error("\n".join(trouble))
    write_atomically(options.experiment / "chart.png", report.chart.read_bytes())
    # A line a run, so that a difference between two versions of the file can be read.
    lines = ",\n".join(json.dumps(_record(run), sort_keys=True) for run in runs)
    write_atomically(options.experiment / "results.json", f"[\n{lines}\n]\n")
    readme = options.experiment / "README.md"
    before, rest = readme.read_text().split(_MARKS[0])
    table = as_markdown(report.rows)
    write_atomically(readme, f"{before}{_MARKS[0]}\n\n{table.strip()}\n\n{_MARKS[1]}{rest.split(_MARKS[1])[1]}")


def _record(run: Run) -> dict[str, Any]:
    """One run: what it was, how long it took, and its curves as pairs of step and value."""
    curves: dict[str, list[list[float]]] = {}
    for line in run.metrics:
        if line["name"].startswith(_KEPT):
            curves.setdefault(line["name"], []).append([line["step"], float(f"{line['value']:.6g}")])
    return {
        "regularizer": run.summary["label"],
        "seed": run.config["seed"],
        "seconds": round(run.summary["seconds"]),
        "curves": curves,
    }


if __name__ == "__main__":
    main()
