"""Draws the examples of one pool after another, and counts those left out; `drpt.data.pools` decides the sizes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from drpt.data.example import Example
from drpt.data.near_duplicates import CommonWording, NearDuplicate, NearDuplicates
from drpt.data.sameness import Asked, Asks, Key, groups_of_same, prompt_key, row_key
from drpt.data.sharing import shared_out
from drpt.data.source import Source, advance
from drpt.data.spec import DataSpec

# Number of consecutive rejected examples after which an endless stream is taken to have nothing new.
_PATIENCE = 5_000
_WORDING = 100  # number of examples of each stream from which common wording is determined
_SHOWN = 3

# Why an example cannot be trained on ("too_long", "no_answer"; see `drpt.data.fitting`); None if it can.
ExclusionReason = Callable[[Example], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A pool drawn earlier, which the next pool must not overlap."""

    reason: str  # name under which examples with the same question are counted
    pool: str  # name of the pool, for messages
    examples: list[Example]
    is_held_out: bool  # whether longer texts of the next pool must not contain its questions either


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The usable rows of a finite stream, grouped by question."""

    num_rows: int
    sizes: list[int]  # number of rows in each group
    of_row: dict[Key, int]  # group of each row, by `row_key`

    def among(self, stream: Iterable[Example], chosen: Iterable[int]) -> Iterator[Example]:
        """The rows of a stream that belong to the chosen groups, in the order of the stream."""
        places = frozenset(chosen)
        return (row for row in stream if self.of_row.get(row_key(row)) in places)

    def outside(self, stream: Iterable[Example], chosen: Iterable[int]) -> Iterator[Example]:
        """The rows of a stream that belong to none of the chosen groups, in the order of the stream."""
        places = frozenset(chosen)
        return (row for row in stream if self.of_row.get(row_key(row)) not in places)


class Drawing:
    """Draws all pools of a run, and records which examples are left out.

    Args:
        source: Source of the streams of examples.
        spec: The `data` config group, with the sizes of the pools.
        seed: Seed of the run.
        exclusion_reason: Function that says why an example cannot be trained on; None = all can be.
    """

    def __init__(self, source: Source, spec: DataSpec, seed: int, exclusion_reason: ExclusionReason | None) -> None:
        self._source, self._spec, self._seed = source, spec, seed
        self.exclusion_reason = exclusion_reason
        self.counts: dict[str, int] = {}
        self.taken: dict[str, int] = {}
        self.has_more_general = False
        self._shown: dict[str, list[NearDuplicate]] = {}
        streams = (source.evaluation(spec.split_seed), source.target(spec.split_seed), source.general(spec.split_seed))
        sample = [example for stream in streams for example in islice(stream, _WORDING)]
        self._wording = None if spec.near_duplicates is None else CommonWording(sample)

    @property
    def shown(self) -> tuple[NearDuplicate, ...]:
        """A few of the near-duplicates that were left out, for messages."""
        return tuple(islice((found for pool in self._shown.values() for found in pool), _SHOWN))

    def is_endless(self, pool: str) -> bool:
        """Whether the stream of a pool never ends."""
        own = self._source.is_endless
        return own if pool == "general" else bool(getattr(self._source, "is_target_endless", own))

    def take_evaluation(self) -> list[Example]:
        """Draw the evaluation examples, in the order given by ``split_seed``."""
        return self.take("evaluation", self._source.evaluation(self._spec.split_seed), self._spec.num_eval, ())

    def take_target(self, num_train: int, num_stopping: int, evaluation: list[Example]) -> tuple[list[Example], list[Example]]:
        """Draw target examples for training and for early stopping; the responses to one prompt stay together.

        Args:
            num_train: Number of examples wanted for training.
            num_stopping: Number of examples wanted for early stopping.
            evaluation: Evaluation examples, which must not be repeated.

        Returns:
            Training and stopping examples; fewer than wanted if the source has no more.
        """
        held_out = Other(reason="held_out", pool="evaluation", examples=evaluation, is_held_out=True)
        stream = self._source.target(self._seed)
        train, stopping = self._train_and_stopping(stream, stream, (num_train, num_stopping), held_out)
        if not num_stopping or len(stopping) == num_stopping or self.is_endless("target"):
            return train, stopping
        # Drawn row by row, training took responses of nearly every prompt: assign whole prompts instead.
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
        """Group all usable target examples by question, in the order given by ``split_seed``."""
        self.forget("evaluation")
        rows = self.take("evaluation", self._source.evaluation(self._spec.split_seed), -1, ())
        self.forget("evaluation")
        return _grouped(rows)

    def take_shared_evaluation(self, groups: Groups, most: int) -> list[Example]:
        """Draw evaluation examples as whole prompts, and leave the other prompts for training.

        Args:
            groups: Groups of target examples, from `target_groups`.
            most: Largest number of rows that training can spare.

        Returns:
            The wanted number of examples, or as many as can be spared.
        """
        self.forget("evaluation")
        chosen = shared_out(groups.sizes, wanted=self._spec.num_eval, most=most)
        rows = groups.among(self._source.evaluation(self._spec.split_seed), chosen)
        return self.take("evaluation", rows, self._spec.num_eval, ()) if chosen else []

    def take_general(
        self, count: int, evaluation: list[Example], target: list[Example], stopping: list[Example]
    ) -> list[Example]:
        """Draw general examples whose questions are in no other pool.

        Args:
            count: Number of examples wanted.
            evaluation: Evaluation examples.
            target: Target examples for training.
            stopping: Target examples for early stopping.

        Returns:
            General examples; fewer than wanted if the source has no more.
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
        """Draw distinct, usable examples whose questions are not in other pools.

        Args:
            pool: Name of the pool.
            stream: Candidate examples.
            count: Number of examples wanted; negative = all of a finite stream.
            others: Pools that must not be overlapped.
            is_held_out: Whether the texts of other pools must not contain the drawn questions either.

        Returns:
            Examples in the order of the stream.
        """
        filter_ = _Filter(self._spec.near_duplicates, self._wording, others, is_held_out=is_held_out)
        taken: list[Example] = []
        prompts: set[Key] = set()
        in_vain = 0
        verdict: bool | None = None  # whether the last example was taken, which mixtures need to know
        while len(taken) != count and (in_vain <= _PATIENCE or not self.is_endless(pool)):
            try:
                example = advance(stream, verdict)
            except StopIteration:
                break
            verdict = False
            reason = filter_.reason(pool, example)
            if reason is None and self.exclusion_reason is not None:
                reason = self.exclusion_reason(example)
            if reason is not None:
                self._count(f"{pool}_{reason}")
                in_vain += 1
                continue
            taken.append(example)
            verdict = True
            filter_.rows.add(row_key(example))
            if (prompt := prompt_key(example)) in prompts:
                self._count(f"{pool}_same_prompt")  # kept as another response to the prompt
            prompts.add(prompt)
            in_vain = 0
        self.taken[pool] = self.taken.get(pool, 0) + len(taken)
        self._shown.setdefault(pool, []).extend(filter_.shown)
        return taken

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def forget(self, pool: str) -> None:
        """Reset the counts of a pool before it is drawn again."""
        for name in [name for name in self.counts if name.startswith(f"{pool}_")]:
            del self.counts[name]
        self.taken.pop(pool, None)
        self._shown.pop(pool, None)


class _Filter:
    """Decides which examples of a stream are rejected, and why."""

    def __init__(
        self, threshold: float | None, wording: CommonWording | None, others: tuple[Other, ...], *, is_held_out: bool
    ) -> None:
        self._asked = [(other.reason, Asked()) for other in others]
        self._near: NearDuplicates | None = None
        if others and threshold is not None and wording is not None:
            self._near = NearDuplicates(threshold, wording, for_held_out=is_held_out)
        self.rows: set[Key] = set()  # keys of the rows already taken
        self.shown: list[NearDuplicate] = []
        for other, (_, asked) in zip(others, self._asked, strict=True):
            for example in other.examples:
                asked.add(example)
                if self._near is not None:
                    self._near.add(other.pool, example, is_held_out=other.is_held_out)

    def reason(self, pool: str, example: Example) -> str | None:
        """Why an example is rejected; None if it is not."""
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
