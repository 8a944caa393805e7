"""Trains on the word problems with generated general data, and stores the contents of the run's page in this folder.

python -m experiments.word_problems.study            # everything: problems, 20 steps, results.json, chart.png, README.md
python -m experiments.word_problems.study --record   # results.json, chart.png and README.md of a finished run
python -m experiments.word_problems.study --report   # README.md alone, from results.json
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drpt.analysis.page_settings import common_settings, left_out
from drpt.analysis.report import write_report
from drpt.analysis.table_formats import as_markdown
from drpt.app.cli import main as drpt
from drpt.files import write_atomically
from experiments.readme import fill_section
from experiments.word_problems.problems import write_problems

_FOLDER = Path(__file__).parent
_SWEEP = Path("runs/word_problems")
_PROBLEMS = Path("runs/word_problems.jsonl")
_WORDS = (
    *("train", "data/general=reasoning", "data/target=jsonl", f"data.target.source.path={_PROBLEMS}"),
    *("trainer.max_steps=20", "evaluation.every_steps=20", "data.num_eval=40", "evaluation.num_generate=8"),
    *("trainer.checkpoint_every_steps=10", "logger=off", f"sweep={_SWEEP.name}"),
)
_CURVES = ("target/", "general/", "train/loss/")
_NUM_ANSWERS = 8

Record = dict[str, Any]  # Any: JSON values


def main(arguments: list[str] | None = None) -> None:
    """Train, record and report, or only the later steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="train nothing")
    parser.add_argument("--report", action="store_true", help="only write README.md, from results.json")
    parser.add_argument("--sweep", type=Path, default=_SWEEP, help=f"with --record: the sweep's folder (default: {_SWEEP})")
    options = parser.parse_args(arguments)
    if not (options.record or options.report):
        _train()
    if not options.report:
        record(options.sweep, _FOLDER)
    readme = _FOLDER / "README.md"
    words = render(json.loads((_FOLDER / "results.json").read_text()))
    print(words)
    fill_section(readme, "results", words)


def _train() -> None:
    _PROBLEMS.parent.mkdir(exist_ok=True)
    write_problems(_PROBLEMS)
    try:
        drpt(_WORDS)
    except SystemExit as stop:
        if stop.code:
            raise


def record(sweep: Path, folder: Path) -> None:
    """Write the contents of a finished sweep's page into ``results.json``, and its picture beside it.

    Args:
        sweep: Folder of a sweep whose runs are all finished.
        folder: Folder for the two files.

    Raises:
        SystemExit: A run is not finished, or a file is damaged.
    """
    report = write_report(sweep)
    if not report.is_whole:
        raise SystemExit("\n".join([f"{sweep}: not all runs are finished, or a file is damaged.", *report.notes]))
    runs = list(report.sweep)
    found = {
        "settings": dict(common_settings(runs)),
        "sizes": runs[0].summary["data_sizes"],
        "left_out": dict(left_out(runs)),
        "table": as_markdown(report.rows).strip().splitlines(),
        "answers": [
            {key: sample[key] for key in ("prompt", "expected", "answer", "is_correct")}
            for sample in runs[0].samples[:_NUM_ANSWERS]
        ],
        "seconds": round(runs[0].summary["seconds"]),
        "curves": _curves(runs[0].metrics),
    }
    write_atomically(folder / "chart.png", report.chart.read_bytes())
    write_atomically(folder / "results.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _curves(metrics: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    curves: dict[str, list[list[float]]] = {}
    for line in metrics:
        if line["name"].startswith(_CURVES):
            curves.setdefault(line["name"], []).append([line["step"], float(f"{line['value']:.6g}")])
    return curves


def render(found: Record) -> str:
    """Render the contents of the page.

    Args:
        found: Contents of ``results.json``, as `record` wrote them.

    Returns:
        Effective counts, settings, table and answers in Markdown.
    """
    sizes: Mapping[str, int] = found["sizes"]
    lines = [
        f"**Effective counts.** {sizes['general']:,} general and {sizes['target']:,} target examples were trained on, "
        f"{sizes['evaluation']:,} measured with. Cut or left out of the pools: "
        + (", ".join(f"{name} {count}" for name, count in found["left_out"].items()) or "none")
        + ".",
        "",
        f"**Settings.** {', '.join(f'{name}: {value}' for name, value in found['settings'].items())}; "
        f"{found['seconds'] / 60:.0f} minutes.",
        "",
        *found["table"],
        "",
        "| question | expected | answer | right |",
        "| :-- | :-- | :-- | :-- |",
    ]
    for sample in found["answers"]:
        cells = (_cell(sample["prompt"]), _cell(sample["expected"]), _cell(sample["answer"]))
        lines.append(f"| {' | '.join(cells)} | {'yes' if sample['is_correct'] else 'no'} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


if __name__ == "__main__":
    main()
