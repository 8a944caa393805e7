"""Compares the probe with training: mean squared errors of update rules and final losses of runs under the same rules.

    python -m experiments.bias_variance.predicts PROBE.json SWEEP_FOLDER [--rows 8x2]

Prints a table and Spearman's rank correlations with 95 % intervals, and writes ``predicts.json`` and ``predicts.png`` beside
the probe. The interval is a bootstrap over rules and seeds; all rules get the same resampled seeds, since a seed's target
examples are common to them. It thus covers other rules of these kinds and other draws of the target. The probe's errors are
shown but not resampled: all rules share draws and pool, so that most of the error moves all rules together.
"""

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drpt.analysis.probe_grid import FAMILIES
from drpt.analysis.run import Run
from drpt.analysis.sweep import read_sweep
from drpt.analysis.sweep_words import lines_below
from drpt.files import write_atomically
from drpt.geometry.catalogue import SETS
from drpt.geometry.entry import AUTO

_RESAMPLES = 4000
_PLAIN = {"cone", "dual_cone"}  # once had no strength: that is 0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A rule that was both probed and used for training."""

    label: str
    name: str  # family of the probe
    mse: float
    mse_stderr: float
    cosine: float
    losses: dict[int, float]  # final held-out loss by seed

    @property
    def loss(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.losses.values())))

    @property
    def loss_stderr(self) -> float:
        """Standard error of the mean loss over seeds."""
        return float(np.std(list(self.losses.values()), ddof=1) / len(self.losses) ** 0.5)


def rule_of(regularizer: Mapping[str, Any]) -> tuple[Any, ...]:
    """The settings that determine an update, independent of the rule's name."""
    name, score = regularizer["set"], regularizer["score"]
    strength = 0.0 if name in _PLAIN and regularizer["strength"] is None else regularizer["strength"]
    is_alike = name in SETS and SETS[name].is_alike and strength != AUTO and regularizer["relaxation"] != AUTO
    partition = "" if is_alike else regularizer["partition"]
    weights = regularizer["base_weights"]
    return (
        name,
        partition,
        score if name in SETS and SETS[name].takes_score else "",
        strength,
        regularizer["relaxation"],
        weights,
    )


def pair(points: Sequence[Mapping[str, Any]], runs: Sequence[Run], size: tuple[int, int]) -> list[Pair]:
    """Match probed rules with runs, for the seeds that all rules have.

    Args:
        points: Points of ``probe.json``.
        runs: Runs of the sweep.
        size: Batch size (n, m) of the probe.

    Returns:
        Pairs, ordered by probed error; automatic dials are left out, since in training they average over past steps.

    Raises:
        ValueError: Fewer than three rules were both probed and used for training.
    """
    by_rule: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.is_finished and run.config["regularizer"]["stopping_share"] == 0.0:
            by_rule.setdefault(rule_of(run.config["regularizer"]), []).append(run)
    shared = []
    for point in points:
        rule = rule_of(point["rule"])
        if point["target"] == "unseen" and (point["n"], point["m"]) == size and AUTO not in rule and rule in by_rule:
            shared.append((point, by_rule.pop(rule)))
    if len(shared) < 3:
        raise ValueError(
            f"{len(shared)} rules were both probed at n={size[0]}, m={size[1]} and used for training; at least 3 are needed."
        )
    common = set.intersection(*({int(run.config["seed"]) for run in members} for _, members in shared))
    pairs = []
    for point, members in shared:
        losses = {int(run.config["seed"]): float(run.summary["final"]["target/loss/mean"]) for run in members}
        direction = point["direction"]
        pairs.append(
            Pair(
                label=str(members[0].summary["label"]),
                name=point["rule"]["name"],
                mse=direction["mse"],
                mse_stderr=direction["mse_stderr"],
                cosine=direction["cosine"],
                losses={seed: losses[seed] for seed in sorted(common)},
            )
        )
    return sorted(pairs, key=lambda found: found.mse)


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation, ties sharing their mean rank."""
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))


def correlate(pairs: Sequence[Pair], figure: str, *, seed: int = 0) -> dict[str, float]:
    """Spearman's correlation of a probed figure with the mean final loss, and its 95 % interval.

    Args:
        pairs: At least three pairs.
        figure: ``mse`` or ``cosine``; the cosine is negated, so that smaller is better for both.
        seed: Seed of the bootstrap.

    Returns:
        ``rho``, ``low`` and ``high``.
    """
    generator = np.random.default_rng(seed)
    losses = np.array([list(found.losses.values()) for found in pairs])  # [rule, seed]
    sign = -1.0 if figure == "cosine" else 1.0
    probed = sign * np.array([getattr(found, figure) for found in pairs])
    resampled = []
    for _ in range(_RESAMPLES):
        rules = generator.integers(len(pairs), size=len(pairs))
        seeds = generator.integers(losses.shape[1], size=losses.shape[1])
        resampled.append(spearman(probed[rules], losses[rules][:, seeds].mean(axis=1)))
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return {"rho": spearman(probed, losses.mean(axis=1)), "low": float(low), "high": float(high)}


def draw(pairs: Sequence[Pair], title: str) -> bytes:
    """Draw probed error against final loss, with a labelled point for each rule."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 5.2), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for found in pairs:
            axes.errorbar(
                [found.mse],
                [found.loss],
                xerr=[found.mse_stderr],
                yerr=[found.loss_stderr],
                fmt="o",
                color=FAMILIES[found.name].curve.colour if found.name in FAMILIES else "black",
                elinewidth=0.8,
            )
            axes.annotate(found.label, (found.mse, found.loss), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set_xlabel("mean squared error of the update before training / ‖v*‖²  (probe)")
        axes.set_ylabel("held-out loss after training")
        axes.set_title(title, fontsize=10)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", type=Path)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--rows", default="8x2", help="n and m of the probe; default: 8x2")
    options = parser.parse_args()
    n, m = (int(part) for part in options.rows.split("x"))
    record = json.loads(options.probe.read_text())
    sweep = read_sweep(options.sweep)
    if not sweep.is_complete:
        print("\n".join(lines_below(sweep)), file=sys.stderr)
    pairs = pair(record["points"], sweep, (n, m))
    print(f"| rule | probed mean squared error | cos(u, v*) | final loss, {len(pairs[0].losses)} seeds |")
    print("| :-- | --: | --: | --: |")
    for found in pairs:
        errors = f"{found.mse:.3f} ± {found.mse_stderr:.3f} | {found.cosine:.3f}"
        print(f"| {found.label} | {errors} | {found.loss:.3f} ± {found.loss_stderr:.3f} |")
    found_correlations = {figure: correlate(pairs, figure) for figure in ("mse", "cosine")}
    for figure, value in found_correlations.items():
        print(f"rank correlation of {figure} with the final loss: {value['rho']:.2f} [{value['low']:.2f}, {value['high']:.2f}]")
    result = {"correlations": found_correlations, "pairs": [asdict(found) for found in pairs]}
    write_atomically(options.probe.parent / "predicts.json", json.dumps(result, indent=1))
    rho = found_correlations["mse"]
    title = f"{options.sweep.name}: rank correlation {rho['rho']:.2f} [{rho['low']:.2f}, {rho['high']:.2f}]"
    write_atomically(options.probe.parent / "predicts.png", draw(pairs, title))


if __name__ == "__main__":
    main()
