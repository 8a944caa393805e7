"""Compares steps of this checkout with those of another, such as an earlier commit, and measures the capture's check.

    git worktree add ../before COMMIT
    python -m experiments.overhead.against ../before

Each checkout runs in a process of its own, and the two take turns: one step of each variant at a time, in an order that is
shuffled in every round. The result goes to ``against.json`` beside this file, and from there into the README; ``--report``
does only the latter.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from statistics import median
from types import TracebackType

from experiments.overhead.settings import FIRST
from experiments.overhead.store import Record, commit_of, environment, save
from experiments.overhead.timing import ratio
from experiments.overhead.variants import HULL_SKETCH, STANDARD, SUBSET_AUTO, SUBSET_SKETCH
from experiments.readme import fill_section

VARIANTS = (STANDARD, SUBSET_SKETCH, SUBSET_AUTO, HULL_SKETCH)
CHECKED = (SUBSET_SKETCH, SUBSET_AUTO)
HERE = Path(__file__).parent


class Worker:
    """A process that runs single steps with one checkout's code.

    Args:
        checkout: Folder of the checkout.
        model: Name of the model.
    """

    def __init__(self, checkout: Path, model: str) -> None:
        script = Path(__file__).with_name("against_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), model],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, variant: str, *, is_first: bool = False, has_check: bool = True) -> float:
        """Run and time one step.

        Args:
            variant: Name of the variant.
            is_first: Whether to use a new capture, whose first step checks the model.
            has_check: False to skip that check.

        Returns:
            Wall-clock time in seconds.

        Raises:
            RuntimeError: The process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(f"{int(is_first)}{int(has_check)}{variant}", file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError("the process that runs a checkout's code has ended; see its output above.")

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(other: Path, model: str, rounds: int) -> Record:
    """Measure all rounds.

    Args:
        other: Folder of the other checkout.
        model: Name of the model.
        rounds: Number of counted rounds, after one warm-up round.

    Returns:
        Seconds by variant and checkout, and seconds of first steps with and without the check.
    """
    own = Path(__file__).parents[2]
    steps: dict[str, dict[str, list[float]]] = {variant.name: {"this": [], "other": []} for variant in VARIANTS}
    first: dict[str, dict[str, list[float]]] = {variant.name: {"checked": [], "unchecked": []} for variant in CHECKED}
    shuffled = random.Random(0)
    with Worker(own, model) as this, Worker(other, model) as that:
        for number in range(rounds + 1):
            for name in shuffled.sample(list(steps), len(steps)):
                turns = [("this", this), ("other", that)]
                shuffled.shuffle(turns)
                for key, worker in turns:
                    seconds = worker.seconds(name)
                    if number:
                        steps[name][key].append(seconds)
            for name in first:
                for key in shuffled.sample(["checked", "unchecked"], 2):
                    seconds = this.seconds(name, is_first=True, has_check=key == "checked")
                    if number:
                        first[name][key].append(seconds)
            print(f"round {number} of {rounds}", *(f"{name} {_ratio(found):.3f}" for name, found in steps.items()), sep=", ")
    return {"steps": steps, "first": first, "setting": FIRST.label, "this": commit_of(own), "other": commit_of(other)}


def _ratio(found: dict[str, list[float]]) -> float:
    known = ratio(found["this"], found["other"])
    return float("nan") if known is None else known.median


def table(record: Record) -> str:
    """Render ratios of this commit's steps to the other's, and of first steps with the check to those without.

    Args:
        record: Result of `measure`.

    Returns:
        The table in Markdown.
    """
    rounds = len(record["steps"][VARIANTS[0].name]["this"])
    lines = [
        f"Commit `{record['this']}` over `{record['other']}`, setting {record['setting']}, {rounds} rounds, {record['cpu']}, "
        f"{record['threads']} threads, torch {record['packages']['torch']}:",
        "",
        "| variant | seconds before | seconds now | now / before | first step with the check / without |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name, found in record["steps"].items():
        first = record["first"].get(name)
        check = "" if first is None else _spread(first["checked"], first["unchecked"])
        seconds = [f"{median(found[key]):.2f}" for key in ("other", "this")]
        lines.append(f"| {' | '.join([name, *seconds, _spread(found['this'], found['other']), check])} |")
    return "\n".join(lines)


def _spread(seconds: list[float], base: list[float]) -> str:
    found = ratio(seconds, base)
    return "" if found is None else f"{found.median:.3f} [{found.low:.3f}, {found.high:.3f}]"


def report() -> None:
    """Write the table into the README."""
    record = json.loads((HERE / "against.json").read_text())
    fill_section(HERE / "README.md", "against", table(record))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", choices=("smollm2_135m", "tiny"), default="smollm2_135m")
    parser.add_argument("--report", action="store_true", help="measure nothing: write the table of the last result")
    options = parser.parse_args()
    if options.report:
        report()
        return
    if options.other is None or not (options.other / "experiments" / "overhead").is_dir():
        parser.error(f"other={options.other}: give the folder of another checkout of drpt (git worktree add ../before COMMIT).")
    described = environment("experiments.overhead.against")
    record = described | measure(options.other.resolve(), options.model, options.rounds)
    print(table(record))
    if options.model == "smollm2_135m":
        save(HERE, "against", record)
        report()


if __name__ == "__main__":
    main()
