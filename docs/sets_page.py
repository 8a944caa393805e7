"""The card of each feasible set, from its entry in the catalogue."""

from collections.abc import Iterator

from drpt.geometry.catalogue import SCORES, SETS
from drpt.geometry.entry import SetEntry


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Feasible sets",
        "",
        "Chosen by `regularizer.set`. `drpt explain PRESET` and `drpt explain regularizer.set=NAME` (with a strength, where "
        "the set has one) print the same facts, with what a step costs on your model. Larger strengths λ are stronger.",
        "",
    ]
    for name, entry in SETS.items():
        first, *others = [f"| {heading} | {_cell(text)} |" for heading, text in _facts(entry)]
        lines += [f"## `{name}`", "", first, "| --- | --- |", *others]
        lines.append("")
    lines += ["## Scores", "", "What ranks the examples for sets that choose (`regularizer.score`).", ""]
    lines += ["| score | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {_cell(entry.meaning)} |" for name, entry in SCORES.items()]
    return "\n".join(lines) + "\n"


def _facts(entry: SetEntry) -> Iterator[tuple[str, str]]:
    yield "set F", entry.formula
    yield "update u", entry.update
    yield "source", entry.source
    if entry.relatives:
        yield "related", entry.relatives
    if (domain := entry.strength) is None:
        yield "strength", "none"
        return
    yield "strength λ", f"in {domain}: {domain.meaning}"
    yield "weakest", domain.at_low
    yield "strongest", domain.at_high
    if entry.is_auto_closed:
        yield "`auto`", "in closed form"
    elif entry.auto_grid:
        yield "`auto`", "one of " + ", ".join(f"{value:g}" for value in entry.auto_grid)
    else:
        yield "`auto`", "not for this set; `regularizer.relaxation=auto` is"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
