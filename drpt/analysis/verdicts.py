"""Shares of verifier outcomes at the beginning and at the end of training, for report.html."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drpt.analysis.run import OUTCOMES_FILE, Run
from drpt.analysis.table import ZERO_SHOT, Estimate, Row, estimate


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Share of judged responses with one outcome of one reward term, for one regularizer, over seeds."""

    early: Estimate  # share in the first tenth of the recorded steps
    late: Estimate  # share in the last tenth of the recorded steps

    def show(self) -> str:
        """Both shares in per cent, the second with its standard error."""
        return f"{self.early.mean:.1%}".rstrip("%") + " → " + self.late.show(1, 100)


@dataclass(frozen=True, kw_only=True)
class VerdictTable:
    """All verdicts of a sweep."""

    heads: list[tuple[str, str]]  # term and outcome of each column
    lines: list[tuple[str, list[Verdict]]]  # label of each row, and its verdict in each column


def verdict_table(rows: Sequence[Row]) -> VerdictTable | None:
    """Collect the verifier outcomes of all runs.

    An outcome that did not occur at a recorded step has the share 0 there.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`.

    Returns:
        Terms and outcomes in the order of first occurrence, grouped by term; None if no run recorded any. Points without
        records are left out.
    """
    found = [
        (row, [run for run in row.runs if OUTCOMES_FILE not in run.faults and run.outcomes])
        for row in rows
        if row.name != ZERO_SHOT
    ]
    found = [(row, runs) for row, runs in found if runs]
    pairs = dict.fromkeys((line["term"], line["outcome"]) for _, runs in found for run in runs for line in run.outcomes)
    terms = list(dict.fromkeys(term for term, _ in pairs))
    heads = sorted(pairs, key=lambda pair: terms.index(pair[0]))
    if not heads:
        return None
    return VerdictTable(heads=heads, lines=[(row.label, [_verdict(runs, *head) for head in heads]) for row, runs in found])


def _verdict(runs: Sequence[Run], term: str, outcome: str) -> Verdict:
    ends = [_ends(run.outcomes, term, outcome) for run in runs]
    return Verdict(early=estimate([early for early, _ in ends]), late=estimate([late for _, late in ends]))


def _ends(lines: Sequence[dict[str, Any]], term: str, outcome: str) -> tuple[float, float]:
    """Mean shares over the first and the last tenth of the recorded steps, each at least one step."""
    steps = sorted({line["step"] for line in lines})
    shares = dict.fromkeys(steps, 0.0)
    for line in lines:
        if (line["term"], line["outcome"]) == (term, outcome):
            shares[line["step"]] += line["share"]
    few = max(1, len(steps) // 10)
    values = [shares[step] for step in steps]
    return sum(values[:few]) / few, sum(values[-few:]) / few
