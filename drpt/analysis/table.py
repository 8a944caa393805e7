"""A sweep as a table: one line a regularizer and strength, mean and standard error over seeds."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from rich.box import SIMPLE_HEAD
from rich.table import Table

from drpt.analysis.run import Run

FORMATS = ("text", "csv", "markdown", "latex")
ZERO_SHOT = "zero-shot"
_WIDE = 112  # characters that the full titles need beside a usual label


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over seeds and its standard error; the latter is NaN for one seed."""

    mean: float
    stderr: float
    count: int

    def show(self, digits: int, scale: float = 1.0, plus_minus: str = " ± ") -> str:
        """The mean, with the standard error where there is one."""
        if self.count == 0:
            return "–"
        if math.isinf(self.mean):
            return "∞"
        mean = f"{self.mean * scale:.{digits}f}"
        return mean if math.isnan(self.stderr) else f"{mean}{plus_minus}{self.stderr * scale:.{digits}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: a metric's name and how it is shown."""

    title: str
    short: str  # title in a narrow terminal
    key: str  # name of the figure in the CSV
    metric: str
    section: str  # of the run's summary: final or best
    digits: int
    scale: float = 1.0


COLUMNS = (
    Column(title="held-out loss", short="loss", key="loss", metric="target/loss/mean", section="final", digits=4),
    Column(title="perplexity", short="ppl", key="perplexity", metric="target/perplexity/mean", section="final", digits=2),
    Column(
        title="accuracy %", short="acc %", key="accuracy", metric="target/accuracy/mean", section="final", digits=1, scale=100
    ),
    Column(title="lowest loss", short="lowest", key="lowest_loss", metric="target/loss/mean", section="best", digits=4),
    Column(title="s / step", short="s/step", key="step_seconds", metric="train/step_seconds/median", section="final", digits=2),
    Column(
        title="peak GB",
        short="GB",
        key="peak_memory_bytes",
        metric="train/peak_memory_bytes/max",
        section="final",
        digits=2,
        scale=1e-9,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """All runs of one point: one regularizer with its dials, under otherwise equal settings."""

    label: str
    name: str  # the regularizer's
    strength: float | None
    runs: tuple[Run, ...]
    values: dict[str, Estimate]  # by the columns' keys

    @property
    def num_seeds(self) -> int:
        """How many replicates."""
        return len(self.runs)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error ``s/√n``, ``s`` with n − 1 in its denominator.

    Args:
        values: One a seed.

    Returns:
        NaN for what the number of values does not allow.
    """
    if not values:
        return Estimate(math.nan, math.nan, 0)
    stderr = stdev(values) / math.sqrt(len(values)) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
    return Estimate(fmean(values), stderr, len(values))


def tabulate(runs: Sequence[Run]) -> list[Row]:
    """Group finished runs into points.

    Runs are of one point when their configurations agree in all but the seed. Settings outside the regularizer that differ
    between points are added to every label, and settings of the regularizer where two points would bear one label: what is
    compared with something else is never shown as if it were alike.

    Args:
        runs: Of one sweep; unfinished ones are left out.

    Returns:
        Zero-shot first (the model before training), then target-only, then full, then the others by name and strength.
    """
    finished = [run for run in runs if run.is_finished]
    groups = _group(finished, _settings)
    labels = _labels([members[0].label for members in groups], [_settings(members[0]) for members in groups])
    rows = [
        Row(
            label=label,
            name=members[0].regularizer["name"],
            strength=_number(members[0].regularizer["strength"]),
            runs=tuple(members),
            values={column.key: _estimate_over(members, column.section, column.metric) for column in COLUMNS},
        )
        for label, members in zip(labels, groups, strict=True)
    ]
    rows.sort(key=_rank)
    return [*_zero_shot(finished), *rows]


def _number(strength: float | str | None) -> float | None:
    """A strength's place on an axis; an automatic one has none."""
    return None if strength is None or isinstance(strength, str) else float(strength)


def _group(runs: Sequence[Run], settings: Callable[[Run], dict[str, object]]) -> list[list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(sorted(settings(run).items())), []).append(run)
    return list(groups.values())


# Where results go and what is kept of a run: replicates may differ in them.
_OF_NO_RESULT = (
    "sweep",
    "runs_folder",
    "logger.",
    "trainer.keep_steps",
    "trainer.checkpoint_every_steps",
    "trainer.score_check_steps",
)


def _settings(run: Run) -> dict[str, object]:
    """What two replicates have in common, flattened: all but the seed and what changes no result."""
    flat: dict[str, object] = {}

    def add(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
        elif prefix != "seed" and not prefix.startswith(_OF_NO_RESULT):
            flat[prefix] = value

    add("", run.config)
    return flat


def _labels(names: Sequence[str], settings: Sequence[dict[str, object]]) -> list[str]:
    """Names with the settings that tell them apart, or that differ between them without being the regularizer's."""

    def differing(points: Sequence[dict[str, object]]) -> list[str]:
        keys = dict.fromkeys(key for point in points for key in point)
        return [key for key in keys if len({repr(point.get(key)) for point in points}) > 1]

    outside = _shortened([key for key in differing(settings) if not key.startswith("regularizer.")])
    labels = []
    for name, own in zip(names, settings, strict=True):
        alike = [point for point, other in zip(settings, names, strict=True) if other == name]
        inside = [key for key in differing(alike) if key.startswith("regularizer.")]
        parts = [f"{key.removeprefix('regularizer.')}={own.get(key)}" for key in [*inside, *outside]]
        labels.append(" ".join([name, *parts]))
    return labels


def _shortened(keys: Sequence[str]) -> list[str]:
    """Of a whole group that was exchanged, the key that says which it is."""
    sections: dict[str, list[str]] = {}
    for key in keys:
        sections.setdefault(key.split(".")[0], []).append(key)
    telling = (".name", ".method", ".source", ".source.target", ".source._target_")
    return [
        key
        for section, members in sections.items()
        for key in (
            members if len(members) == 1 else [k for k in members if k.removeprefix(section) in telling][:1] or members[:2]
        )
    ]


def _estimate_over(runs: Sequence[Run], section: str, metric: str) -> Estimate:
    return estimate([run.summary[section][metric] for run in runs if metric in run.summary[section]])


def _zero_shot(runs: Sequence[Run]) -> list[Row]:
    """The model before training: one row for each model and set of held-out examples, which no seed changes."""

    def what_is_measured(run: Run) -> dict[str, object]:
        of_evaluation = ("model.", "data.source.", "data.num_eval", "data.max_length", "data.split_seed", "evaluation.num_")
        return {key: value for key, value in _settings(run).items() if key.startswith((*of_evaluation, "trainer.precision"))}

    groups = _group(runs, what_is_measured)
    labels = _labels([ZERO_SHOT] * len(groups), [what_is_measured(members[0]) for members in groups])
    nothing = Estimate(math.nan, math.nan, 0)
    return [
        Row(
            label=label,
            name=ZERO_SHOT,
            strength=None,
            runs=tuple(members[:1]),
            values={
                column.key: _estimate_over(members[:1], "start", column.metric) if column.section == "final" else nothing
                for column in COLUMNS
            },
        )
        for label, members in zip(labels, groups, strict=True)
    ]


def _rank(row: Row) -> tuple[int, str, float, str]:
    first = {"target_only": 0, "target_only_stopped": 1, "full": 2}
    return first.get(row.name, 3), row.name, -1.0 if row.strength is None else row.strength, row.label


def as_text(rows: Sequence[Row], width: int) -> Table:
    """The table for a terminal; the lowest loss and the highest accuracy of the trained points are bold.

    Args:
        rows: See `tabulate`.
        width: Of the terminal, in characters; titles are short where there is little room.

    Returns:
        For a console to print.
    """
    is_narrow = width < _WIDE
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if is_narrow else 1))
    table.add_column("regularizer", overflow="fold")
    table.add_column("n" if is_narrow else "seeds", justify="right")
    for column in COLUMNS:
        table.add_column(column.short if is_narrow else column.title, justify="right", no_wrap=True)
    best = best_labels(rows)
    for row in rows:
        cells = [row.values[column.key].show(column.digits, column.scale) for column in COLUMNS]
        marked = [
            f"[bold]{cell}[/]" if best.get(column.key) == row.label else cell
            for column, cell in zip(COLUMNS, cells, strict=True)
        ]
        is_trained = row.name != ZERO_SHOT
        table.add_row(row.label, str(row.num_seeds) if is_trained else "", *marked, style=None if is_trained else "dim")
    return table


def best_labels(rows: Sequence[Row]) -> dict[str, str]:
    """Which trained point is best, by column key, for the columns in which better has one meaning."""
    best: dict[str, str] = {}
    directions: dict[str, Callable[[Row], float]] = {
        "loss": lambda row: row.values["loss"].mean,
        "perplexity": lambda row: row.values["perplexity"].mean,
        "accuracy": lambda row: -row.values["accuracy"].mean,
    }
    for key, order in directions.items():
        trained = [row for row in rows if row.name != ZERO_SHOT and row.values[key].count]
        if trained:
            best[key] = min(trained, key=order).label
    return best


def as_csv(rows: Sequence[Row]) -> str:
    """Raw figures: mean and standard error of every column, in its own unit (seconds, bytes, shares)."""
    text = io.StringIO()
    header = ["regularizer", "name", "strength", "seeds", "num_seeds"]
    header += [f"{column.key}_{part}" for column in COLUMNS for part in ("mean", "stderr")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        seeds = " ".join(str(run.config["seed"]) for run in row.runs) if row.name != ZERO_SHOT else ""
        figures = [number for column in COLUMNS for number in (row.values[column.key].mean, row.values[column.key].stderr)]
        strength = "" if row.strength is None else row.strength
        cells = ["" if math.isnan(number) else number for number in figures]
        writer.writerow([row.label, row.name, strength, seeds, row.num_seeds if seeds else "", *cells])
    return text.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """A table for a README."""
    lines = [["regularizer", "seeds", *(column.title for column in COLUMNS)]]
    lines.append([":--", *["--:"] * (len(COLUMNS) + 1)])
    for row in rows:
        seeds = "" if row.name == ZERO_SHOT else str(row.num_seeds)
        lines.append([row.label, seeds, *(row.values[column.key].show(column.digits, column.scale) for column in COLUMNS)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def as_latex(rows: Sequence[Row]) -> str:
    """A ``tabular`` for a paper, with booktabs rules."""

    def escape(text: str) -> str:
        for plain, tex in (
            ("_", r"\_"),
            ("%", r"\%"),
            ("λ", r"$\lambda$"),
            ("ρ", r"$\rho$"),
            ("∞", r"$\infty$"),
            ("–", "--"),
        ):
            text = text.replace(plain, tex)
        return text

    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(COLUMNS) + 1)}}}",
        r"\toprule",
        " & ".join(["regularizer", "seeds", *(escape(column.title) for column in COLUMNS)]) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        seeds = "" if row.name == ZERO_SHOT else str(row.num_seeds)
        cells = [row.values[column.key].show(column.digits, column.scale, r" $\pm$ ") for column in COLUMNS]
        lines.append(" & ".join([escape(row.label), seeds, *map(escape, cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
