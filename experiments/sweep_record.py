"""Stores the results of a sweep in an experiment's folder: chart, curves of every run, and the table in the README.

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
from experiments.readme import fill_section

# Prefixes of the metrics whose curves are kept; the table has the rest.
_KEPT = ("target/", "train/reward/", "train/kl/", "train/entropy/", "train/toxicity/", "train/kl_coefficient/", "rollout/")


def main(arguments: list[str] | None = None) -> None:
    """Copy chart and curves of a sweep into an experiment's folder, and write its table into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="folder of the experiment, whose README.md has a section for results")
    parser.add_argument("sweep", type=Path, help="folder of a sweep whose runs are all finished")
    options = parser.parse_args(arguments)
    runs = read_sweep(options.sweep)
    if not runs.is_complete:
        parser.error("\n".join(lines_below(runs)))
    report = write_report(options.sweep)
    if trouble := [*report.faults.values(), *report.notes]:
        parser.error("\n".join(trouble))
    write_atomically(options.experiment / "chart.png", report.chart.read_bytes())
    # One line for each run keeps diffs readable.
    lines = ",\n".join(json.dumps(_record(run), sort_keys=True) for run in runs)
    write_atomically(options.experiment / "results.json", f"[\n{lines}\n]\n")
    fill_section(options.experiment / "README.md", "results", as_markdown(report.rows))


def _record(run: Run) -> dict[str, Any]:
    """The label, seed, duration and curves (pairs of step and value) of one run."""
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
