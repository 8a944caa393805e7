"""Near-duplicates: examples whose prompts share most of their words in a row, though not every character; no torch.

Two rules. *Alike*: sets of three words in a row (Broder 1997, shingles) of two prompts are compared by Jaccard's index.
*Contained*: a held-out question that stands within a longer text ("Problem 7. …", an example of a few-shot prompt, a later
turn, a plain text, a response) is found whatever else the text holds.

Departures from Jaccard's index: what stands in many examples (the wording of a template, an instruction) is no evidence that
two texts are one, and is left out where they share it; where they differ in it, it counts. The last word, by which the tasks of
a template often differ, counts as much as one in the middle, which stands in more shingles. And two texts whose figures differ
are two problems, not two versions of one: the figures (numbers, number words, and the signs and commas that join them, see
`drpt.data.wording`) of one text must stand in a row among the other's. So a text with a number more is found, and "three
apples" and "five apples" are two problems.

The smaller side is indexed and the index is exact, so that no sketch (MinHash) is needed at the sizes that are drawn: ten
thousand general examples against a thousand others are seconds.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import islice, takewhile

from drpt.data.example import Example
from drpt.data.sameness import telling_turns
from drpt.data.small_talk import is_small_talk
from drpt.data.wording import WORDS_IN_A_ROW, Shingle, Words, folded, stand_in_a_row, without_labels, words_of

# Of the examples that were looked at: what more of them share, and more than this many, is their common wording.
_COMMON_SHARE = 0.05
_COMMON_COUNT = 10
# A question of fewer words must be a sentence of the text that holds it; one of fewer still may not go on after its end.
_LONG = 10
_SHORT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """An example that is left out, and the one that it resembles."""

    pool: str  # of the example that is left out
    other_pool: str
    example: Example
    other: Example
    similarity: float  # Jaccard's index; of a contained question, that of two texts of one length that share as much of it
    is_contained: bool = False  # one of the two stands within the other

    def __str__(self) -> str:
        """Both examples in a line, the beginnings of their prompts."""
        return (
            f"{self.similarity:.2f} {self.pool} {self.example.source} {_beginning(self.example)!r} "
            f"{'holds' if self.is_contained else '~'} {self.other_pool} {self.other.source} {_beginning(self.other)!r}"
        )


class CommonWording:
    """What many examples share: the words of templates and instructions, which tell nothing of a single one.

    Args:
        examples: Some of each pool.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        texts = [_question(example).shingles for example in examples]
        found = Counter(shingle for text in texts for shingle in text)
        limit = max(_COMMON_COUNT, _COMMON_SHARE * len(texts))
        self._common = frozenset(shingle for shingle, count in found.items() if count > limit)

    def own(self, shingles: frozenset[Shingle]) -> frozenset[Shingle]:
        """The shingles of a text that are its own.

        Args:
            shingles: See `drpt.data.wording.Words.shingles`.

        Returns:
            None of a text that is common wording through and through.
        """
        return shingles - self._common


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    pool: str
    example: Example
    question: Words
    shingles: frozenset[Shingle]
    own: frozenset[Shingle]
    is_held_out: bool


class NearDuplicates:
    """Prompts of some pools, and the one among them that another example resembles.

    Args:
        threshold: Jaccard's index from which on two prompts are near-duplicates, in (0, 1].
        wording: What is no evidence.
        for_held_out: Whether the examples that will be compared are held out: they must not stand within a member, either.
    """

    def __init__(self, threshold: float, wording: CommonWording, *, for_held_out: bool = False) -> None:
        self._threshold = threshold
        # Of two texts of one length that share so much of each, Jaccard's index is the threshold.
        self._contained = 2 * threshold / (1 + threshold)
        self._wording = wording
        self._members: list[_Member] = []
        self._holders: dict[Shingle, list[int]] = {}  # places of the members that have a shingle of their own
        self._openings: dict[Shingle, list[int]] = {}  # places of the held-out members whose question begins so
        self._for_held_out = for_held_out
        self._texts: list[Words] = []  # all that each member says, where held-out examples are compared
        self._text_holders: dict[Shingle, list[int]] = {}

    def add(self, pool: str, example: Example, *, is_held_out: bool = False) -> None:
        """Take in an example that later ones are compared with.

        Args:
            pool: Name of its pool.
            example: An example of the pool.
            is_held_out: Whether it must not stand within longer texts, either.
        """
        member = self._member(pool, example, is_held_out)
        place = len(self._members)
        self._members.append(member)
        for shingle in member.own:
            self._holders.setdefault(shingle, []).append(place)
        if self._for_held_out:
            self._texts.append(_whole(example))
            for shingle in self._texts[-1].shingles:
                self._text_holders.setdefault(shingle, []).append(place)
        if is_held_out and _can_be_contained(member.question):
            self._openings.setdefault(member.question.shingle(0), []).append(place)

    def nearest(self, pool: str, example: Example) -> NearDuplicate | None:
        """The member that an example resembles most, if it is a near-duplicate of one.

        Args:
            pool: Name of the example's pool.
            example: Not a member.

        Returns:
            None where no member reaches the threshold.
        """
        this = self._member(pool, example, self._for_held_out)
        found = self._alike(this)
        if found is None and self._openings:
            found = self._holding(this)
        if found is None and self._for_held_out and _can_be_contained(this.question):
            found = self._held(this)
        return found

    def _member(self, pool: str, example: Example, is_held_out: bool) -> _Member:
        question = _question(example)
        shingles = question.shingles
        own = self._wording.own(shingles)
        return _Member(pool=pool, example=example, question=question, shingles=shingles, own=own, is_held_out=is_held_out)

    def _alike(self, this: _Member) -> NearDuplicate | None:
        best: NearDuplicate | None = None
        for place, count in self._shared(this.own).items():
            other = self._members[place]
            least = max(self._threshold, best.similarity if best else 0.0)
            if count < least * (len(this.own) + len(other.own) - count):
                continue
            ends = _lost_at_end(this.question, other.shingles), _lost_at_end(other.question, this.shingles)
            similarity = count / (count + len(this.shingles ^ other.shingles) + (sum(ends) if all(ends) else 0))
            mine, its = this.question.figures, other.question.figures
            if similarity >= least and (stand_in_a_row(mine, its) or stand_in_a_row(its, mine)):
                best = _found(this, other, similarity)
        return best

    def _holding(self, this: _Member) -> NearDuplicate | None:
        """The held-out member that stands within an example, first those that do word for word."""
        text = _whole(this.example)
        for place in range(len(text.words)):
            for opening in self._openings.get(text.shingle(place), ()):
                if _begins_at(self._members[opening].question, text, place):
                    return _found(this, self._members[opening], 1.0, is_contained=True)
        for place, count in self._shared(text.shingles).items():
            other = self._members[place]
            if other.is_held_out and count >= self._contained * len(other.own):
                share = self._share(other, text)
                if share >= self._contained:
                    return _found(this, other, share / (2 - share), is_contained=True)
        return None

    def _held(self, this: _Member) -> NearDuplicate | None:
        """The member within which a held-out example stands."""
        question = this.question
        shared = Counter(place for shingle in this.own for place in self._text_holders.get(shingle, ()))
        likely = {place for place, count in shared.items() if count >= self._contained * len(this.own)}
        for place in sorted(likely.union(self._text_holders.get(question.shingle(0), ()))):
            other, text = self._members[place], self._texts[place]
            is_whole = any(_begins_at(question, text, start) for start in range(len(text.words)))
            share = 1.0 if is_whole else self._share(this, text)
            if share >= self._contained:
                return _found(this, other, share / (2 - share), is_contained=True)
        return None

    def _shared(self, shingles: frozenset[Shingle]) -> Counter[int]:
        return Counter(place for shingle in shingles for place in self._holders.get(shingle, ()))

    def _share(self, held_out: _Member, text: Words) -> float:
        """The largest share of a question that stands in one stretch of a text; 0 where its figures do not."""
        question = held_out.question
        if len(question.words) < _LONG:
            return 0.0
        length = len(question.words) * 3 // 2
        places = [place for place in range(len(text.words)) if text.shingle(place) in held_out.shingles]
        best = 0.0
        first = 0
        inside: Counter[Shingle] = Counter()
        for last, place in enumerate(places):
            inside[text.shingle(place)] += 1
            while place - places[first] > length:
                inside[text.shingle(places[first])] -= 1
                inside += Counter()  # drops those that are there no more
                first += 1
            if len(inside) < self._contained * len(held_out.own):
                continue
            shared = len(held_out.own & inside.keys())
            lost = len(held_out.shingles) - len(inside) + _lost_at_end(question, inside.keys())
            share = shared / max(1, shared + lost)
            if share > best and stand_in_a_row(question.figures, _figures_in(text, places[first], places[last])):
                best = share
        return best


def _can_be_contained(question: Words) -> bool:
    """Whether a question says enough to be known within a longer text."""
    return len(question.words) >= WORDS_IN_A_ROW and not is_small_talk(" ".join(question.words))


def _begins_at(question: Words, text: Words, place: int) -> bool:
    """Whether a question stands word for word in a text; a short one as a sentence of its own."""
    end = place + len(question.words)
    if text.words[place:end] != question.words:
        return False
    if len(question.words) < _LONG and end not in text.borders:
        return False
    if len(question.words) < _SHORT and place not in text.borders:
        return False
    return stand_in_a_row(question.figures, _figures_in(text, place, end))


def _figures_in(text: Words, first: int, last: int) -> tuple[str, ...]:
    """The figures of a text that begin in a stretch of it, the words of a shingle at its end included."""
    pairs = zip(text.figures, text.places, strict=True)
    return tuple(figure for figure, place in pairs if first <= place < last + WORDS_IN_A_ROW)


def _lost_at_end(question: Words, shingles: Set[Shingle]) -> int:
    """How many shingles fewer than elsewhere a question loses by a word at its end that is another one in the other text."""
    lasts = range(len(question.words) - WORDS_IN_A_ROW, -1, -1)
    missing = sum(1 for _ in takewhile(lambda place: question.shingle(place) not in shingles, islice(lasts, WORDS_IN_A_ROW)))
    return WORDS_IN_A_ROW - missing if missing else 0


def _found(this: _Member, other: _Member, similarity: float, *, is_contained: bool = False) -> NearDuplicate:
    return NearDuplicate(
        pool=this.pool,
        other_pool=other.pool,
        example=this.example,
        other=other.example,
        similarity=similarity,
        is_contained=is_contained,
    )


def _question(example: Example) -> Words:
    """What is compared of an example, see `_asked_text`, without its number in a sheet and its points."""
    return words_of(without_labels(folded(_asked_text(example))))


def _whole(example: Example) -> Words:
    """All that an example says, the response included: what a question may stand in."""
    return words_of(folded("\n".join(message.content for message in example.messages)))


def _asked_text(example: Example) -> str:
    """All turns before the last but the system's and small talk at the beginning, or the whole of a plain text."""
    turns = [turn.content for turn in telling_turns(example.prompt)]
    return "\n".join(turns or [example.response])


def _beginning(example: Example) -> str:
    text = " ".join(folded(_asked_text(example)).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-28:]}"
