"""Measures the solvers on hard inputs: how many blocks they solve, and their time relative to Gaussian inputs.

python -m experiments.solvers.measure            # measures, and writes results.json and the tables in README.md
python -m experiments.solvers.measure --report   # the tables alone, from results.json
python -m experiments.solvers.measure --quick    # few examples, one round, into runs/: to see that it runs
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch

from drpt.files import write_atomically
from experiments.overhead.store import environment
from experiments.readme import fill_section
from experiments.solvers.hard_inputs import KINDS, hard_input, products_of
from experiments.solvers.sets import SOLVING, rule_of

_FOLDER = Path(__file__).parent
_QUICK_FOLDER = Path("runs/solvers_quick")
_DTYPES = {"float64": torch.float64, "float32": torch.float32}
_BASE = "gaussian"
_BLOCKS = 30

Record = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Measure, or report."""
    options = _parse(arguments)
    folder = _QUICK_FOLDER if options.quick else _FOLDER
    if not options.report:
        # One line for each setting keeps diffs readable.
        record = measure((2,) if options.quick else (1, 2, 4, 8, 16, 32, 64), options.rounds)
        lines = ",\n".join(json.dumps(line, sort_keys=True) for line in record["settings"])
        head = json.dumps({name: value for name, value in record.items() if name != "settings"}, sort_keys=True)
        write_atomically(folder / "results.json", f'{head[:-1]}, "settings": [\n{lines}\n]}}\n')
    tables = render(json.loads((folder / "results.json").read_text()))
    print(tables)
    if not options.quick:
        fill_section(_FOLDER / "README.md", "results", tables)


def _parse(arguments: list[str] | None) -> Any:  # Any: what argparse returns
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--quick", action="store_true", help=f"few examples, one round, into {_QUICK_FOLDER}")
    parser.add_argument("--report", action="store_true", help="measure nothing: the tables from results.json")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = 1
    if options.rounds < 1:
        parser.error("--rounds must be at least 1.")
    return options


def measure(counts: tuple[int, ...], rounds: int) -> Record:
    """Measure every set on every kind of input, in one thread, with the kinds interleaved.

    Args:
        counts: Numbers of general examples.
        rounds: Number of counted rounds, after one warm-up round.

    Returns:
        CPU seconds of every round, number of unsolved blocks, and largest residual of the solved ones, as plain values.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        record: Record = {"environment": environment("experiments.solvers.measure"), "rounds": rounds, "blocks": _BLOCKS}
        record["settings"] = [
            {"set": name, "n": n, "dtype": dtype, "kinds": _measure(name, n, _DTYPES[dtype], rounds)}
            for n, dtype, name in product(counts, _DTYPES, SOLVING)
        ]
    finally:
        torch.set_num_threads(threads)
    return record


def _measure(name: str, n: int, dtype: torch.dtype, rounds: int) -> dict[str, Record]:
    rule = rule_of(name)
    inputs = {kind: hard_input(kind, n=n, blocks=_BLOCKS) for kind in (_BASE, *KINDS)}
    products = {kind: products_of(given, dtype) for kind, given in inputs.items()}
    kinds: dict[str, Record] = {kind: {"cpu_seconds": []} for kind in inputs}
    for round_ in range(1 + rounds):
        for kind, given in inputs.items():
            start = time.process_time()
            solved = rule.coefficients(given.rows, products[kind], range(_BLOCKS)).solved
            seconds = time.process_time() - start
            assert solved is not None
            if round_:
                kinds[kind]["cpu_seconds"].append(round(seconds, 6))
                continue
            residuals = solved.residual[solved.is_converged]
            kinds[kind]["unsolved"] = int((~solved.is_converged).sum())
            kinds[kind]["largest_residual"] = float(f"{float(residuals.max()):.2g}") if len(residuals) else None
    return kinds


def render(record: Record) -> str:
    """Render the tables.

    Args:
        record: Result of `measure`.

    Returns:
        The tables in Markdown.
    """
    described, settings = record["environment"], record["settings"]
    counts = sorted({setting["n"] for setting in settings})
    lines = [
        f"{record['blocks']} blocks; n = {', '.join(map(str, counts))}; {record['rounds']} rounds; {described['cpu']}, one "
        f"thread, load before {described['load_before']:.1f}; commit `{described['commit']}`.",
        "",
        f"| set | Gaussian, ms, n = {min(8, counts[-1])} | n = {counts[-1]} | longest, of a Gaussian's time | at | not solved "
        "| largest residual of the solved |",
        "| :-- | --: | --: | --: | :-- | --: | --: |",
    ]
    for name in SOLVING:
        own = [setting for setting in settings if setting["set"] == name]
        base = [1e3 * _gaussian(own, n) for n in (min(8, counts[-1]), counts[-1])]
        longest = max(((_ratio(setting, kind), kind, setting) for setting in own for kind in KINDS), key=lambda found: found[0])
        unsolved = sum(found["unsolved"] for setting in own for found in setting["kinds"].values())
        total = sum(len(setting["kinds"]) for setting in own) * record["blocks"]
        residual = max(found["largest_residual"] or 0.0 for setting in own for found in setting["kinds"].values())
        place = f"{longest[1]}, n = {longest[2]['n']}, {longest[2]['dtype']}"
        lines.append(
            f"| {name} | {base[0]:.2f} | {base[1]:.1f} | {longest[0]:.1f} | {place} | {unsolved} of {total} | {residual:.0e} |"
        )
    lines += ["", f"| longest, of a Gaussian's time | {' | '.join(SOLVING)} |", f"| :-- |{' --: |' * len(SOLVING)}"]
    for kind in KINDS:
        shown = [max(_ratio(setting, kind) for setting in settings if setting["set"] == name) for name in SOLVING]
        lines.append(f"| {kind} | {' | '.join(f'{value:.1f}' for value in shown)} |")
    return "\n".join(lines) + "\n"


def _gaussian(settings: list[Record], n: int) -> float:
    """Seconds in float64."""
    (found,) = [setting for setting in settings if setting["n"] == n and setting["dtype"] == "float64"]
    return float(median(found["kinds"][_BASE]["cpu_seconds"]))


def _ratio(setting: Record, kind: str) -> float:
    """Median over rounds of the time relative to Gaussian input in the same round."""
    pairs = zip(setting["kinds"][kind]["cpu_seconds"], setting["kinds"][_BASE]["cpu_seconds"], strict=True)
    return float(median(seconds / max(base, 1e-6) for seconds, base in pairs))


if __name__ == "__main__":
    main()
