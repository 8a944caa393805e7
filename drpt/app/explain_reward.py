"""The part of `drpt explain` about rewards: what each term and judge measures, and what it is known to miss."""

import inspect
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from drpt.rewards.build import build_terms
from drpt.rewards.spec import RewardSpec


def print_reward(spec: RewardSpec, console: Console) -> None:
    """Print a table of the reward's terms and judges.

    Args:
        spec: Values of the `reward` config group.
        console: Console to print to.

    Raises:
        ValueError: A term or judge cannot be built; see `build_reward`.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for heading, text in reward_facts(spec):
        table.add_row(heading, text.replace("[", "\\["))
    console.print(table)


def reward_facts(spec: RewardSpec) -> Iterator[tuple[str, str]]:
    """Describe a reward.

    Args:
        spec: Values of the `reward` config group.

    Yields:
        Pairs of heading and text.
    """
    terms = build_terms(spec)
    for name, node in spec.terms.items():
        yield f"term {name}", f"{node['weight']:g} times: {_first_line(terms[f'reward.terms.{name}'])}"
        yield from _limits(terms[f"reward.terms.{name}"])
    for name in spec.judges:
        yield f"judge {name}", f"training does not follow it: {_first_line(terms[f'reward.judges.{name}'])}"
        yield from _limits(terms[f"reward.judges.{name}"])


def _first_line(term: object) -> str:
    return (inspect.getdoc(type(term)) or type(term).__name__).splitlines()[0]


def _limits(term: object) -> Iterator[tuple[str, str]]:
    limits = getattr(term, "limits", None)
    lines: list[str] = limits() if callable(limits) else []
    for line in lines:
        yield "  cannot see", line
