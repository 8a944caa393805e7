"""Detects near-duplicates, whose prompts share most of their wording but not every character; no torch.

Two rules. *Similarity*: the sets of three consecutive words (shingles, Broder 1997) of two prompts are compared by the Jaccard
index. *Containment*: a held-out question within a longer text ("Problem 7. …", an example in a few-shot prompt, a later turn,
a plain text, a response) is found whatever else the text contains.

Departures from the Jaccard index: wording shared by many examples, such as a template or an instruction, is no evidence that
two texts are the same. It is ignored where two texts share it, and counts where they differ in it. The last word, in which the
problems of a template often differ, counts as much as a word in the middle, which is in more shingles. Texts with different
figures are different problems: the figures of one text (numbers, number words, and the signs and commas that join them, see
`drpt.data.wording`) must be consecutive among those of the other. So "three apples" and "five apples" are different problems,
but a text with an additional number is found.

The smaller side is indexed exactly, without a sketch such as MinHash: comparing ten thousand general examples with a thousand
others takes seconds.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import islice, takewhile

from drpt.data.example import Example
from drpt.data.sameness import telling_turns
from drpt.data.small_talk import is_small_talk
from drpt.data.wording import WORDS_IN_A_ROW, Shingle, Words, folded, stand_in_a_row, without_labels, words_of

# A shingle is common wording if it is in more than this share and more than this number of the examples.
_COMMON_SHARE = 0.05
_COMMON_COUNT = 10
# A question with fewer than _LONG words must end at a border of the containing text; one with fewer than _SHORT must also
# begin at one.
_LONG = 10
_SHORT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """An example that is left out, and the example that it resembles."""

    pool: str  # pool of the example that is left out
    other_pool: str
    example: Example
    other: Example
    similarity: float  # Jaccard index; for a contained question, that of two texts of equal length with the same overlap
    is_contained: bool = False  # whether one of the two contains the other

    def __str__(self) -> str:
        """Both examples in one line, with the beginnings of their prompts."""
        return (
            f"{self.similarity:.2f} {self.pool} {self.example.source} {_beginning(self.example)!r} "
            f"{'contains' if self.is_contained else '~'} {self.other_pool} {self.other.source} {_beginning(self.other)!r}"
        )


class CommonWording:
    """Wording shared by many examples, such as templates and instructions, which does not distinguish them.

    Args:
        examples: Sample of examples from each pool.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        texts = [_question(example).shingles for example in examples]
        found = Counter(shingle for text in texts for shingle in text)
        limit = max(_COMMON_COUNT, _COMMON_SHARE * len(texts))
        self._common = frozenset(shingle for shingle, count in found.items() if count > limit)

    def own(self, shingles: frozenset[Shingle]) -> frozenset[Shingle]:
        """Remove the shingles of common wording.

        Args:
            shingles: Shingles of a text; see `drpt.data.wording.Words.shingles`.

        Returns:
            The other shingles; none for a text of common wording only.
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
    """An index of the prompts of pools, in which near-duplicates of other examples are looked up.

    Args:
        threshold: Jaccard index from which on two prompts are near-duplicates, in (0, 1].
        wording: Common wording, which is ignored.
        for_held_out: Whether the examples to compare are held out, so that no member may contain them either.
    """

    def __init__(self, threshold: float, wording: CommonWording, *, for_held_out: bool = False) -> None:
        self._threshold = threshold
        # If two texts of equal length share this much of each other, their Jaccard index is the threshold.
        self._contained = 2 * threshold / (1 + threshold)
        self._wording = wording
        self._members: list[_Member] = []
        self._holders: dict[Shingle, list[int]] = {}  # indices of members by their own shingles
        self._openings: dict[Shingle, list[int]] = {}  # indices of held-out members by the first shingle of the question
        self._for_held_out = for_held_out
        self._texts: list[Words] = []  # whole text of each member, if held-out examples are compared
        self._text_holders: dict[Shingle, list[int]] = {}

    def add(self, pool: str, example: Example, *, is_held_out: bool = False) -> None:
        """Add an example with which later ones are compared.

        Args:
            pool: Name of the example's pool.
            example: Example of the pool.
            is_held_out: Whether longer texts must not contain its question either.
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
        """Find the member of which an example is a near-duplicate.

        Args:
            pool: Name of the example's pool.
            example: Example that is not a member.

        Returns:
            The most similar member; None if no member reaches the threshold.
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
        """Find a held-out member whose question an example contains, first literally, then approximately."""
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
        """Find a member that contains a held-out example."""
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
        """Largest share of a question that is in one stretch of a text; 0 if its figures are not."""
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
                inside += Counter()  # removes zero counts
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
    """Whether a question is specific enough to be recognised within a longer text."""
    return len(question.words) >= WORDS_IN_A_ROW and not is_small_talk(" ".join(question.words))


def _begins_at(question: Words, text: Words, place: int) -> bool:
    """Whether a text contains a question literally at a position; a short question must be a separate sentence."""
    end = place + len(question.words)
    if text.words[place:end] != question.words:
        return False
    if len(question.words) < _LONG and end not in text.borders:
        return False
    if len(question.words) < _SHORT and place not in text.borders:
        return False
    return stand_in_a_row(question.figures, _figures_in(text, place, end))


def _figures_in(text: Words, first: int, last: int) -> tuple[str, ...]:
    """Figures of a text that begin in a stretch of it, which includes the shingle at its end."""
    pairs = zip(text.figures, text.places, strict=True)
    return tuple(figure for figure, place in pairs if first <= place < last + WORDS_IN_A_ROW)


def _lost_at_end(question: Words, shingles: Set[Shingle]) -> int:
    """Number of shingles by which a difference in the last words counts less than one in the middle."""
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
    """Words of an example that are compared: see `_asked_text`, without exercise numbers and points."""
    return words_of(without_labels(folded(_asked_text(example))))


def _whole(example: Example) -> Words:
    """Words of all turns of an example, including the response, in which a question may be contained."""
    return words_of(folded("\n".join(message.content for message in example.messages)))


def _asked_text(example: Example) -> str:
    """Text of all turns before the last, without system turns and initial small talk; or a whole plain text."""
    turns = [turn.content for turn in telling_turns(example.prompt)]
    return "\n".join(turns or [example.response])


def _beginning(example: Example) -> str:
    text = " ".join(folded(_asked_text(example)).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-28:]}"
