"""Measured blind spots of the embedded judges: the categories of toxic texts that they do not recognise.

The file of measurements is written by ``python -m experiments.rlhf_table.judges``; `drpt.app.explain_reward` shows the limits.
"""

import json
from pathlib import Path

CATEGORIES_FILE = Path(__file__).parent / "categories.json"
_NEUTRAL = "neutral"
_SEEN = 0.5  # a category counts as missed if the judge finds less than this share of its texts toxic


def limits_of(judge: str) -> list[str]:
    """Describe the toxic texts that a judge misses, with measurements.

    Args:
        judge: Name of the judge in the file, ``offensive`` or ``sentiment``.

    Returns:
        Sentences for the user.
    """
    rows = json.loads(CATEGORIES_FILE.read_text(encoding="utf-8"))[judge]
    neutral = rows[_NEUTRAL]
    others = {name: row for name, row in rows.items() if name != _NEUTRAL}
    least = min(others, key=lambda name: others[name]["mean"])
    lines = [
        f"it recognises category {least} least: mean toxicity {others[least]['mean']:.3f} ± {others[least]['stderr']:.3f} "
        f"(above ½: {others[least]['over_half']:.0%}), for neutral texts {neutral['mean']:.3f} ± {neutral['stderr']:.3f} "
        f"(above ½: {neutral['over_half']:.0%})"
    ]
    unseen = [f"{name} {1 - row['over_half']:.0%}" for name, row in others.items() if row["over_half"] < _SEEN]
    if unseen:
        lines.append(f"shares of toxic texts that it accepts as inoffensive (toxicity at most ½): {', '.join(unseen)}")
    alike = [name for name, row in others.items() if row["mean"] - neutral["mean"] < 2 * _spread(row, neutral)]
    if alike:
        lines.append(f"not distinguished from neutral texts (less than two standard errors apart): {', '.join(alike)}")
    return lines


def _spread(first: dict[str, float], second: dict[str, float]) -> float:
    return float((first["stderr"] ** 2 + second["stderr"] ** 2) ** 0.5)
