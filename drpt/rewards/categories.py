"""What the embedded judges make of texts by category, as measured: what a reward that is made of them cannot see.

The file is written by ``python -m experiments.rlhf_table.judges``; `drpt.app.explain_reward` shows what follows from it.
"""

import json
from pathlib import Path

CATEGORIES_FILE = Path(__file__).parent / "categories.json"
_NEUTRAL = "neutral"
_SEEN = 0.5  # a category of which a judge finds less than half is one that it mostly does not see


def limits_of(judge: str) -> list[str]:
    """What a judge of toxicity does not see, in words, with its figures.

    Args:
        judge: A key of the file: ``offensive`` or ``sentiment``.

    Returns:
        Sentences.
    """
    rows = json.loads(CATEGORIES_FILE.read_text(encoding="utf-8"))[judge]
    neutral = rows[_NEUTRAL]
    others = {name: row for name, row in rows.items() if name != _NEUTRAL}
    least = min(others, key=lambda name: others[name]["mean"])
    lines = [
        f"toxicity of texts of category {least} {others[least]['mean']:.3f} ± {others[least]['stderr']:.3f} (beyond ½: "
        f"{others[least]['over_half']:.0%}), of neutral ones {neutral['mean']:.3f} ± {neutral['stderr']:.3f} (beyond ½: "
        f"{neutral['over_half']:.0%}): of all categories it sees {least} least"
    ]
    unseen = [f"{name} {1 - row['over_half']:.0%}" for name, row in others.items() if row["over_half"] < _SEEN]
    if unseen:
        lines.append(f"shares that it lets pass as inoffensive (toxicity of at most ½): {', '.join(unseen)}")
    alike = [name for name, row in others.items() if row["mean"] - neutral["mean"] < 2 * _spread(row, neutral)]
    if alike:
        lines.append(f"not told from neutral texts (less than two standard errors apart): {', '.join(alike)}")
    return lines


def _spread(first: dict[str, float], second: dict[str, float]) -> float:
    return float((first["stderr"] ** 2 + second["stderr"] ** 2) ** 0.5)
