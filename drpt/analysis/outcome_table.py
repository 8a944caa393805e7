"""The table of `drpt outcome`: one line for each regularizer and strength, the lowest expected cross-entropy first."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from drpt.analysis.outcome import Outcome, Part
from drpt.analysis.table import ZERO_SHOT, Row
from drpt.analysis.text_table import first_that_fits

_WIDE = 112  # width in characters from which both standard errors fit beside a label of usual length


@dataclass(frozen=True, kw_only=True)
class OutcomePoint:
    """One regularizer with its dials, and the outcome of its replicates."""

    label: str
    name: str  # name of the regularizer, or ZERO_SHOT
    seeds: tuple[int, ...]  # seed of each replicate
    outcome: Outcome

    @property
    def is_trained(self) -> bool:
        """Whether the point has replicates, unlike the model before training."""
        return self.name != ZERO_SHOT


def zero_shot_point(row: Row) -> OutcomePoint:
    """The point of the model before training, which no seed changes, so that all of its cross-entropy is bias.

    Args:
        row: Row from `drpt.analysis.table.tabulate`, whose run's summary has the figure.

    Returns:
        A point without replicates and without errors over them.
    """
    start = row.runs[0].summary["start"]
    loss, stderr = start["target/loss/mean"], start.get("target/loss/stderr", math.nan)
    all_of_it = Part(raw=loss, value=loss, stderr_replicates=math.nan, stderr_examples=stderr)
    none_of_it = Part(raw=0.0, value=0.0, stderr_replicates=math.nan, stderr_examples=math.nan)
    outcome = Outcome(expected=all_of_it, bias=all_of_it, variance=none_of_it, losses=(loss,), num_examples=0, num_tokens=0)
    return OutcomePoint(label=row.label, name=row.name, seeds=(), outcome=outcome)


def ranked(points: Iterable[OutcomePoint]) -> list[OutcomePoint]:
    """Points by expected cross-entropy, lowest first; points that diverged come last."""

    def rank(point: OutcomePoint) -> float:
        value = point.outcome.expected.value
        return math.inf if math.isnan(value) else value

    return sorted(points, key=rank)


def as_text(points: Iterable[OutcomePoint], width: int) -> Table | Group:
    """The table for a terminal; the lowest expected cross-entropy, bias and variance of the trained points are bold.

    Every figure has its standard error over replicates (``–`` if there are too few) and, if there is room, the one over
    held-out examples; the title says which.

    Args:
        points: Points in any order.
        width: Width of the terminal, in characters.

    Returns:
        The table, for a console to print.
    """
    rows = ranked(points)
    layouts = (True, False) if width >= _WIDE else (False,)
    return first_that_fits([partial(_build, rows, is_wide=is_wide) for is_wide in layouts], [one.label for one in rows], width)


def _build(rows: Sequence[OutcomePoint], labels: Sequence[str], *, is_wide: bool) -> Table:
    errors = "± over replicates ± over held-out examples" if is_wide else "± over replicates"
    table = Table(
        title=f"nats per answer token, {errors}\nbias + variance = expected cross-entropy; bias contains the data's entropy",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1 if is_wide else 0),
    )
    table.add_column("regularizer", no_wrap=True)
    table.add_column("replicates" if is_wide else "R", justify="right", no_wrap=True)
    for heading in ("expected CE" if not is_wide else "expected cross-entropy", "bias", "variance"):
        table.add_column(heading, justify="right", no_wrap=True)
    trained = [_parts(point) for point in rows if point.is_trained]
    lowest = [min((part.value for part in parts), default=math.nan) for parts in zip(*trained, strict=True)]
    for point, label in zip(rows, labels, strict=True):
        cells = [
            f"[bold]{_show(part, is_wide)}[/]" if point.is_trained and part.value == low else _show(part, is_wide)
            for part, low in zip(_parts(point), lowest, strict=True)
        ]
        table.add_row(escape(label), str(len(point.seeds) or "–"), *cells)
    return table


def _parts(point: OutcomePoint) -> tuple[Part, Part, Part]:
    return point.outcome.expected, point.outcome.bias, point.outcome.variance


def _show(part: Part, has_both: bool) -> str:
    errors = (part.stderr_replicates, part.stderr_examples) if has_both else (part.stderr_replicates,)
    if all(map(math.isnan, errors)):
        return f"{part.value:.4f}"
    return " ± ".join([f"{part.value:.4f}", *("–" if math.isnan(error) else f"{error:.4f}" for error in errors)])
