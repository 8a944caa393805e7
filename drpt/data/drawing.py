"""Taking the examples of one pool after the other, and counting what is left out; `drpt.data.pools` decides the sizes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from drpt.data.example import Example
from drpt.data.near_duplicates import CommonWording, NearDuplicate, NearDuplicates
from drpt.data.sameness import Asked, Asks, Key, groups_of_same, prompt_key, row_key
from drpt.data.sharing import shared_out
from drpt.data.source import Source, advance
from drpt.data.spec import DataSpec

# A generator that has repeated itself this often in a row has nothing new.
_PATIENCE = 5_000
_WORDING = 100  # examples of each stream that tell what the common wording is
_SHOWN = 3

# Why training does not see an example ("too_long", "no_answer"; see `drpt.data.fitting`), or None where it does.
Unfit = Callable[[Example], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A pool that was drawn before, and that the next one has to keep away from."""

    reason: str  # what is counted of examples that ask the same
    pool: str  # its name, for messages
    examples: list[Example]
    is_held_out: bool  # its questions must not stand within longer texts of the next one, either


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The rows of a finite stream that training sees, by what they ask."""

    num_rows: int
    sizes: list[int]  # rows of each group
    of_row: dict[Key, int]  # the group of each row, by `row_key`

    def among(self, stream: Iterable[Example], chosen: Iterable[int]) -> Iterator[Example]:
        """The rows of some groups.

        Args:
            stream: Rows in any order.
            chosen: Places of groups.

        Returns:
            Rows in the order of the stream.
        """
        places = frozenset(chosen)
        return (row for row in stream if self.of_row.get(row_key(row)) in places)

    def outside(self, stream: Iterable[Example], chosen: Iterable[int]) -> Iterator[Example]:
        """The rows of all other groups, and those of none.

        Args:
            stream: Rows in any order.
            chosen: Places of groups.

        Returns:
            Rows in the order of the stream.
        """
        places = frozenset(chosen)
        return (row for row in stream if self.of_row.get(row_key(row)) not in places)


class Drawing:
    """One drawing of all pools, and what was left out on the way.

    Args:
        source: Streams of examples.
        spec: Sizes.
        seed: The run's.
        unfit: Why training would not see an example; None: it sees them all.
    """

    def __init__(self, source: Source, spec: DataSpec, seed: int, unfit: Unfit | None) -> None:
        self._source, self._spec, self._seed = source, spec, seed
        self.unfit = unfit
        self.counts: dict[str, int] = {}
        self.taken: dict[str, int] = {}
        self.has_more_general = False
        self._shown: dict[str, list[NearDuplicate]] = {}
        streams = (source.evaluation(spec.split_seed), source.target(spec.split_seed), source.general(spec.split_seed))
        sample = [example for stream in streams for example in islice(stream, _WORDING)]
        self._wording = None if spec.near_duplicates is None else CommonWording(sample)

    @property
    def shown(self) -> tuple[NearDuplicate, ...]:
        """Some near-duplicates of each pool, fewer of all."""
        return tuple(islice((found for pool in self._shown.values() for found in pool), _SHOWN))

    def is_endless(self, pool: str) -> bool:
        """Whether the stream that a pool is drawn from never ends."""
        own = self._source.is_endless
        return own if pool == "general" else bool(getattr(self._source, "is_target_endless", own))

    def take_evaluation(self) -> list[Example]:
        """Examples to measure with, in the order of ``split_seed``."""
        return self.take("evaluation", self._source.evaluation(self._spec.split_seed), self._spec.num_eval, ())

    def take_target(self, num_train: int, num_stopping: int, evaluation: list[Example]) -> tuple[list[Example], list[Example]]:
        """Target examples for training and for stopping; one prompt's responses are in one of the two.

        Args:
            num_train: Wanted for training.
            num_stopping: Wanted for stopping.
            evaluation: Examples that were taken to measure with.

        Returns:
            Both, fewer than were wanted where the source has no more.
        """
        held_out = Other(reason="held_out", pool="evaluation", examples=evaluation, is_held_out=True)
        stream = self._source.target(self._seed)
        train, stopping = self._train_and_stopping(stream, stream, (num_train, num_stopping), held_out)
        if not num_stopping or len(stopping) == num_stopping or self.is_endless("target"):
            return train, stopping
        # Drawn by rows, training took some responses of nearly every prompt: whole prompts are shared out.
        self.forget("target")
        rows = self.take("target", self._source.target(self._seed), -1, (held_out,))
        groups = _grouped(rows)
        chosen = shared_out(groups.sizes, wanted=num_stopping, most=groups.num_rows - num_train)
        streams = (
            groups.outside(self._source.target(self._seed), chosen),
            groups.among(self._source.target(self._seed), chosen),
        )
        return self._train_and_stopping(*streams, (num_train, num_stopping), held_out)

    def _train_and_stopping(
        self, of_train: Iterator[Example], of_stopping: Iterator[Example], sizes: tuple[int, int], held_out: Other
    ) -> tuple[list[Example], list[Example]]:
        self.forget("target")
        train = self.take("target", of_train, sizes[0], (held_out,))
        if not sizes[1] or len(train) < sizes[0]:
            return train, []
        trained = Other(reason="in_target", pool="target", examples=train, is_held_out=False)
        return train, self.take("target", of_stopping, sizes[1], (held_out, trained), is_held_out=True)

    def target_groups(self) -> Groups:
        """All target examples that training sees, by what they ask, groups in the order of ``split_seed``."""
        self.forget("evaluation")
        rows = self.take("evaluation", self._source.evaluation(self._spec.split_seed), -1, ())
        self.forget("evaluation")
        return _grouped(rows)

    def take_shared_evaluation(self, groups: Groups, most: int) -> list[Example]:
        """Examples to measure with, of whole prompts, so that the others are left for training.

        Args:
            groups: See `target_groups`.
            most: Rows that training can spare.

        Returns:
            As many as were asked for, or as can be spared.
        """
        self.forget("evaluation")
        chosen = shared_out(groups.sizes, wanted=self._spec.num_eval, most=most)
        rows = groups.among(self._source.evaluation(self._spec.split_seed), chosen)
        return self.take("evaluation", rows, self._spec.num_eval, ()) if chosen else []

    def take_general(
        self, count: int, evaluation: list[Example], target: list[Example], stopping: list[Example]
    ) -> list[Example]:
        """General examples that ask nothing that the other pools ask.

        Args:
            count: Wanted.
            evaluation: Examples to measure with.
            target: Target examples for training.
            stopping: Target examples for stopping.

        Returns:
            Fewer where the source has no more.
        """
        stream = self._source.general(self._spec.split_seed)
        others = (
            Other(reason="held_out", pool="held_out", examples=[*evaluation, *stopping], is_held_out=True),
            Other(reason="in_target", pool="target", examples=target, is_held_out=False),
        )
        found = self.take("general", stream, count, others)
        self.has_more_general = self._spec.num_general is None and len(found) == count and next(stream, None) is not None
        return found

    def take(
        self, pool: str, stream: Iterator[Example], count: int, others: tuple[Other, ...], *, is_held_out: bool = False
    ) -> list[Example]:
        """Take distinct examples that training sees, and that ask nothing that other pools ask.

        Args:
            pool: Name of the pool.
            stream: Candidates.
            count: Wanted; negative: all of a stream that ends.
            others: Pools to keep away from.
            is_held_out: Whether what is taken must not stand within the others' texts, either.

        Returns:
            Examples in the order of the stream.
        """
        filter_ = _Filter(self._spec.near_duplicates, self._wording, others, is_held_out=is_held_out)
        taken: list[Example] = []
        prompts: set[Key] = set()
        in_vain = 0
        verdict: bool | None = None  # whether the last example was taken: mixtures want to know
        while len(taken) != count and (in_vain <= _PATIENCE or not self.is_endless(pool)):
            try:
                example = advance(stream, verdict)
            except StopIteration:
                break
            verdict = False
            reason = filter_.reason(pool, example) or (None if self.unfit is None else self.unfit(example))
            if reason is not None:
                self._count(f"{pool}_{reason}")
                in_vain += 1
                continue
            taken.append(example)
            verdict = True
            filter_.rows.add(row_key(example))
            if (prompt := prompt_key(example)) in prompts:
                self._count(f"{pool}_same_prompt")  # kept: another response to it
            prompts.add(prompt)
            in_vain = 0
        self.taken[pool] = self.taken.get(pool, 0) + len(taken)
        self._shown.setdefault(pool, []).extend(filter_.shown)
        return taken

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def forget(self, pool: str) -> None:
        """Forget what was counted of a pool that is drawn anew."""
        for name in [name for name in self.counts if name.startswith(f"{pool}_")]:
            del self.counts[name]
        self.taken.pop(pool, None)
        self._shown.pop(pool, None)


class _Filter:
    """Why examples of a stream are not taken."""

    def __init__(
        self, threshold: float | None, wording: CommonWording | None, others: tuple[Other, ...], *, is_held_out: bool
    ) -> None:
        self._asked = [(other.reason, Asked()) for other in others]
        self._near: NearDuplicates | None = None
        if others and threshold is not None and wording is not None:
            self._near = NearDuplicates(threshold, wording, for_held_out=is_held_out)
        self.rows: set[Key] = set()  # those that were taken
        self.shown: list[NearDuplicate] = []
        for other, (_, asked) in zip(others, self._asked, strict=True):
            for example in other.examples:
                asked.add(example)
                if self._near is not None:
                    self._near.add(other.pool, example, is_held_out=other.is_held_out)

    def reason(self, pool: str, example: Example) -> str | None:
        """Why an example is left out; None where it is not."""
        asks = Asks(example) if self._asked else None
        for reason, asked in self._asked:
            if asks is not None and asked.meets(asks):
                return reason
        if row_key(example) in self.rows:
            return "repeated"
        if self._near is None or (found := self._near.nearest(pool, example)) is None:
            return None
        if len(self.shown) < _SHOWN and all(found.example != other.example for other in self.shown):
            self.shown.append(found)
        return "near_duplicate"


def _grouped(rows: list[Example]) -> Groups:
    places = groups_of_same(rows)
    of_row = {row_key(rows[place]): number for number, group in enumerate(places) for place in group}
    return Groups(num_rows=len(rows), sizes=[len(group) for group in places], of_row=of_row)
