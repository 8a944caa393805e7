"""Task families of reasoning-gym: text questions, answers and verifiers, generated from seeds; no download.

Source: reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760).
"""

import hashlib
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from drpt.checks import check_choice
from drpt.data.example import Example, Message
from drpt.data.reasoning_rules import REFUSED, STORES_NO_ANSWERS
from drpt.data.reasoning_scores import shared_scores

_PATIENCE = 25  # items without an answer, after which a family has none
_CHAPTER = 1_000  # items made from one seed; some families prepare something for each when they are created


class ReasoningSource:
    """Many families as the general pool, one as the target.

    Args:
        target: Name of the target family.
        target_options: Options of the target family, e.g. ``{min_terms: 2, max_terms: 2}``.
        general: Names of the general families, each with an equal share.
        general_options: Options of general families, by their names, e.g. ``{products: {max_digits: 1}}``; those of
            families that are not in ``general`` have no effect.
        system: A system turn put before every question; None leaves it to the chat template.

    Raises:
        ValueError: A family does not exist, the target is among the general ones or cannot be verified, or an option is not
            the family's.
    """

    is_endless = True
    has_responses = True

    def __init__(
        self,
        *,
        target: str,
        target_options: Mapping[str, Any],
        general: Sequence[str],
        general_options: Mapping[str, Mapping[str, Any]],
        system: str | None,
    ) -> None:
        known = families()
        check_choice("data.source.target", target, known)
        for family in general:
            check_choice("data.source.general", family, known)
        if not general:
            raise ValueError("data.source.general=[]: name at least one family for the general pool.")
        if target in general:
            raise ValueError(
                f"data.source.target={target!r} is also in data.source.general: general data would hold target examples. "
                "Take it out of the list."
            )
        if target in REFUSED:
            raise ValueError(f"data.source.target={target!r}: {REFUSED[target]}. Take another family.")
        for family in sorted(STORES_NO_ANSWERS.intersection(general)):
            raise ValueError(f"data.source.general: {family!r}: {REFUSED[family]}. Take it out of the list.")
        for family in general_options:
            check_choice("data.source.general_options", family, known)
        self._target, self._general, self._system = target, list(general), system
        self._scores = shared_scores()
        self._options = {target: dict(target_options)} | {
            name: dict(general_options[name]) for name in general if name in general_options
        }
        for family in self._options:
            self._family(family, 0)  # an unknown option is refused now

    def general(self, seed: int) -> Iterator[Example]:
        """Families in turn, so that each has the same share of any beginning of the stream."""
        return self._in_turn(f"general-{seed}")

    def _in_turn(self, name: str) -> Iterator[Example]:
        streams = [self._stream(family, name) for family in self._general]
        while True:
            for stream in streams:
                yield next(stream)

    def target(self, seed: int) -> Iterator[Example]:
        """See `Source.target`."""
        return self._stream(self._target, f"target-{seed}")

    def evaluation(self, seed: int) -> Iterator[Example]:
        """See `Source.evaluation`."""
        return self._stream(self._target, f"evaluation-{seed}")

    def is_correct(self, example: Example, response: str) -> bool:
        """Full marks from the family's own verifier, in time; partial credit does not count."""
        options = self._options.get(example.source, {})
        return self._scores.score(example.source, example.payload, response.strip(), options) == 1.0

    def _stream(self, family: str, name: str) -> Iterator[Example]:
        num_without_answer = 0
        for entry in self._entries(family, name):
            if entry["answer"] is None or not str(entry["answer"]).strip():  # nothing to learn, or to verify against
                num_without_answer += 1
                if num_without_answer == _PATIENCE:
                    raise ValueError(
                        f"data.source: the family {family!r} stores no answers ({_PATIENCE} items in a row had none), so "
                        "there is nothing to imitate. Take another family."
                    )
                continue
            num_without_answer = 0
            system = () if self._system is None else (Message(role="system", content=self._system),)
            yield Example(
                messages=(
                    *system,
                    Message(role="user", content=entry["question"]),
                    Message(role="assistant", content=str(entry["answer"])),
                ),
                source=family,
                payload=entry,
            )

    def _entries(self, family: str, name: str) -> Iterator[Mapping[str, Any]]:
        for chapter in itertools.count():
            # An item's own seed is its data set's plus its index: seeds that are not far apart would share their items.
            digest = hashlib.sha256(f"{family}-{name}-{chapter}".encode()).digest()
            dataset = self._family(family, int.from_bytes(digest[:4], "big"))
            yield from (dataset[index] for index in range(_CHAPTER))

    @lru_cache(maxsize=256)  # noqa: B019  # one source lives as long as its run
    def _family(self, family: str, seed: int) -> Any:  # Any: reasoning-gym's data set
        import reasoning_gym

        options = self._options.get(family, {})
        option = self._option_of(family)
        try:
            return reasoning_gym.create_dataset(family, seed=seed, size=_CHAPTER, **options)
        except (TypeError, AssertionError, ValueError) as error:
            raise ValueError(f"{option}={options}: the family {family!r} does not take these ({error}).") from error

    def _option_of(self, family: str) -> str:
        """The full name of a family's options."""
        return f"data.source.{'target_options' if family == self._target else f'general_options.{family}'}"


def families() -> list[str]:
    """Names of all task families."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a dependency's sources, at their first compilation
        from reasoning_gym.factory import DATASETS

    # `composite` mixes other families and has none by itself.
    return sorted(set(DATASETS) - {"composite"})
