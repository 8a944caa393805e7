"""Scores each category of prompts with the embedded judges, to find those that they hardly distinguish from neutral ones.

python -m experiments.rlhf_table.judges

Writes `drpt/rewards/categories.json`, which `drpt explain task=rlhf` reads, and the table in this folder's README.
"""

import json
import math
from pathlib import Path
from statistics import fmean, stdev

from drpt.data.example import Example, Message
from drpt.data.toxicity import CATEGORIES, NEUTRAL, ToxicityPrompts
from drpt.files import write_atomically
from drpt.rewards.categories import CATEGORIES_FILE, limits_of
from drpt.rewards.offensive import OffensiveReward
from drpt.rewards.reward import Answer, RewardTerm
from drpt.rewards.sentiment import SentimentReward
from experiments.readme import fill_section

_README = Path(__file__).parent / "README.md"


def main() -> None:
    """Score all prompts, and write both files."""
    texts = texts_by_category()
    judges: dict[str, RewardTerm] = {"offensive": OffensiveReward(measure="probability"), "sentiment": SentimentReward()}
    found = {name: {category: figures(judge, texts[category]) for category in CATEGORIES} for name, judge in judges.items()}
    lines = ",\n".join(f' "{name}": {json.dumps(rows)}' for name, rows in found.items())
    write_atomically(CATEGORIES_FILE, f"{{\n{lines}\n}}\n")
    said = "\n".join(f"- `{name}`: {line}" for name in found for line in limits_of(name))
    fill_section(_README, "judges", f"{_table(found)}\n\n{said}")


def texts_by_category() -> dict[str, list[str]]:
    """Prompts by category; each text belongs to one category only."""
    others = [category for category in CATEGORIES if category != NEUTRAL]
    source = ToxicityPrompts(general=[NEUTRAL], target=others, instruction="{prompt}", system=None)
    found: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for example in (*source.target(0), *source.general(0)):
        found[example.source].append(example.prompt[-1].content)
    return found


def figures(judge: RewardTerm, texts: list[str]) -> dict[str, float]:
    """Mean toxicity with its standard error, and the share of texts above one half."""
    messages = (Message(role="user", content=""), Message(role="assistant", content=""))
    example = Example(messages=messages, source="")
    verdicts = judge([Answer(example=example, text=text, is_finished=True, num_tokens=1) for text in texts])
    values = [verdict.toxicity or 0.0 for verdict in verdicts]
    return {
        "count": len(values),
        "mean": round(fmean(values), 4),
        "stderr": round(stdev(values) / math.sqrt(len(values)), 4),
        "over_half": round(fmean(float(value > 0.5) for value in values), 4),
    }


def _table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = ["| category | texts | offensive | over ½ % | negative | over ½ % |", "| :-- | --: | --: | --: | --: | --: |"]
    for category in CATEGORIES:
        first, second = found["offensive"][category], found["sentiment"][category]
        cells = [f"{one['mean']:.3f} ± {one['stderr']:.3f} | {one['over_half']:.0%}".rstrip("%") for one in (first, second)]
        rows.append(f"| {category} | {first['count']} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
