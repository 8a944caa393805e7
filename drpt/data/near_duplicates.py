"""Near-duplicates: examples whose prompts share most of their words in a row, though not every character; no torch.

What is compared are sets of three words in a row (Broder 1997, shingles) by Jaccard's index. Departures: what stands in many
examples (the wording of a template, an instruction) is no evidence and is left out; and two texts whose numbers, or the signs
between them, differ are two problems, not two versions of one. The smaller side is indexed and the index is exact, so that
no sketch (MinHash) is needed at the sizes that are drawn: ten thousand general examples against a thousand others are seconds.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from drpt.data.example import Example
from drpt.data.sameness import normalised

_WORDS_IN_A_ROW = 3
# A character of a script that is written without spaces is a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W぀-ヿ㐀-鿿가-힯]+")
_SIGN = r"[-+*/^<>=%×÷−]"
_NUMBER = re.compile(rf"\d+|(?<=\d)\s*{_SIGN}|{_SIGN}\s*(?=\d)")
# Of the examples that were looked at: what more of them share, and more than this many, is their common wording.
_COMMON_SHARE = 0.05
_COMMON_COUNT = 10

Shingle = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """An example that is left out, and the one that it resembles."""

    pool: str  # of the example that is left out
    other_pool: str
    example: Example
    other: Example
    similarity: float  # Jaccard's index

    def __str__(self) -> str:
        """Both examples in a line, the beginnings of their prompts."""
        return (
            f"{self.similarity:.2f} {self.pool} {self.example.source} {_beginning(self.example)!r} ~ "
            f"{self.other_pool} {self.other.source} {_beginning(self.other)!r}"
        )


class CommonWording:
    """What many examples share: the words of templates and instructions, which tell nothing of a single one.

    Args:
        examples: Some of each pool.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        texts = [shingles(_asked_text(example)) for example in examples]
        found = Counter(shingle for text in texts for shingle in text)
        limit = max(_COMMON_COUNT, _COMMON_SHARE * len(texts))
        self._common = frozenset(shingle for shingle, count in found.items() if count > limit)

    def own(self, text: str) -> frozenset[Shingle]:
        """The shingles of a text that are its own.

        Args:
            text: See `drpt.data.sameness.normalised`.

        Returns:
            None of a text that is common wording through and through.
        """
        return shingles(text) - self._common


class NearDuplicates:
    """Prompts of some pools, and the one among them that another example resembles.

    Args:
        threshold: Jaccard's index from which on two prompts are near-duplicates, in (0, 1].
        wording: What is no evidence.
    """

    def __init__(self, threshold: float, wording: CommonWording) -> None:
        self._threshold = threshold
        self._wording = wording
        self._members: list[tuple[str, Example, int, tuple[str, ...]]] = []  # pool, example, size, numbers
        self._holders: dict[Shingle, list[int]] = {}  # places of the members that have a shingle

    def add(self, pool: str, example: Example) -> None:
        """Take in an example that later ones are compared with.

        Args:
            pool: Name of its pool.
            example: An example of the pool.
        """
        text = _asked_text(example)
        own = self._wording.own(text)
        place = len(self._members)
        self._members.append((pool, example, len(own), _numbers(text)))
        for shingle in own:
            self._holders.setdefault(shingle, []).append(place)

    def nearest(self, pool: str, example: Example) -> NearDuplicate | None:
        """The member that an example resembles most, if it is a near-duplicate of one.

        Args:
            pool: Name of the example's pool.
            example: Not a member.

        Returns:
            None where no member reaches the threshold.
        """
        text = _asked_text(example)
        own = self._wording.own(text)
        shared = Counter(place for shingle in own for place in self._holders.get(shingle, ()))
        best: NearDuplicate | None = None
        for place, count in shared.items():
            other_pool, other, size, numbers = self._members[place]
            similarity = count / (len(own) + size - count)
            if similarity >= max(self._threshold, best.similarity if best else 0.0) and numbers == _numbers(text):
                best = NearDuplicate(pool=pool, other_pool=other_pool, example=example, other=other, similarity=similarity)
        return best


def shingles(text: str) -> frozenset[Shingle]:
    """All runs of three words of a text, punctuation left out; of a shorter one, all of its words in one run.

    Args:
        text: See `drpt.data.sameness.normalised`.

    Returns:
        None of a text without words.
    """
    words = _WORD.findall(text)
    runs = (tuple(words[i : i + _WORDS_IN_A_ROW]) for i in range(max(1, len(words) - _WORDS_IN_A_ROW + 1)))
    return frozenset(run for run in runs if run)


def _asked_text(example: Example) -> str:
    """What is compared of an example: all turns before the last but the system's, or the whole of a plain text."""
    turns = [message.content for message in example.prompt if message.role not in {"system", "developer"}] or [example.response]
    return normalised("\n".join(turns))


def _numbers(text: str) -> tuple[str, ...]:
    return tuple(found.strip() for found in _NUMBER.findall(text))


def _beginning(example: Example) -> str:
    text = _asked_text(example)
    return text if len(text) <= 90 else f"{text[:60]} … {text[-28:]}"
