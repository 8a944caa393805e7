"""Drawing the general pool, the scarce target examples and the held-out set from a source, kept apart."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from drpt.data.example import Example
from drpt.data.fingerprint import example_line
from drpt.data.near_duplicates import CommonWording, NearDuplicate, NearDuplicates
from drpt.data.sameness import Asked, Key, prompt_key, row_key
from drpt.data.source import Source, advance
from drpt.data.spec import MOST_GENERAL, DataSpec

_log = logging.getLogger(__name__)

# A generator that has repeated itself this often in a row has nothing new.
_PATIENCE = 5_000
_WORDING = 100  # examples of each stream that tell what the common wording is
_WARNED_SHARE = 0.1  # of the examples looked at: so many lost to data.max_length are a warning
_SHOWN = 3

# Why training does not see an example ("too_long", "no_answer"; see `drpt.data.fitting`), or None where it does.
Unfit = Callable[[Example], str | None]


@dataclass(frozen=True, kw_only=True)
class Pools:
    """Disjoint examples: what one pool asks is asked in no other, nor nearly so."""

    general: list[Example]
    target: list[Example]
    stopping: list[Example]  # target examples held out of training to choose when to stop; may be empty
    evaluation: list[Example]
    counts: dict[str, int] = field(default_factory=dict)  # examples left out, by reason
    chosen: tuple[str, ...] = ()  # what was chosen where the source is smaller than what was asked for, a line each
    warnings: tuple[str, ...] = ()  # what a user should mend, a line each
    near_duplicates: tuple[NearDuplicate, ...] = ()  # some of those that were left out

    @property
    def fingerprint(self) -> str:
        """A checksum of every text in every pool, in order."""
        digest = hashlib.sha256()
        for name in ("general", "target", "stopping", "evaluation"):
            for example in getattr(self, name):
                digest.update(example_line(name, example))
        return digest.hexdigest()

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples each pool has."""
        return {name: len(getattr(self, name)) for name in ("general", "target", "stopping", "evaluation")}


def draw_pools(source: Source, spec: DataSpec, *, seed: int, stopping_share: float, unfit: Unfit | None = None) -> Pools:
    """Draw the pools; ``split_seed`` fixes general and evaluation examples, ``seed`` redraws the target ones.

    General examples that ask what a target example asks are left out, too, so that the general pool may differ between seeds
    where both are of one file.

    Args:
        source: Streams of examples.
        spec: Sizes. The target pool has exactly its size; of a finite source that has fewer, the others take what there is.
        seed: The run's.
        stopping_share: Share of the target examples that is kept out of training to choose when to stop.
        unfit: Why training would not see an example; left out: it sees them all.

    Returns:
        The pools. Rows that are written twice count once; several responses to one prompt stay, in one pool.

    Raises:
        ValueError: The source has too few distinct examples.
    """
    if source.is_endless and spec.num_general is None:
        raise ValueError("data.num_general=null: this source never ends; give the size of the general pool.")
    drawing = _Drawing(source, spec, seed, unfit)
    num_stopping = round(stopping_share * spec.num_target)
    evaluation = drawing.take("evaluation", source.evaluation(spec.split_seed), spec.num_eval, ())
    is_target_endless = drawing.is_endless("target")
    if len(evaluation) < (spec.num_eval if is_target_endless else 1):
        raise ValueError(drawing.explained("evaluation", _too_few_to_hold_out(spec, len(evaluation))))
    while True:
        target, stopping = drawing.take_target(spec.num_target - num_stopping, num_stopping, evaluation)
        missing = spec.num_target - len(target) - len(stopping)
        # Of a small file, what is left after the target examples is there to measure with.
        has_own = getattr(source, "has_own_evaluation", False)
        is_shared = not is_target_endless and not has_own and drawing.counts.get("target_held_out", 0) > 0
        if not missing or not is_shared or missing >= len(evaluation):
            break
        evaluation = evaluation[: len(evaluation) - missing]
    if missing:
        raise ValueError(drawing.explained("target", _too_few_targets(spec, len(target) + len(stopping), len(evaluation))))
    wanted = MOST_GENERAL if spec.num_general is None else spec.num_general
    general = drawing.take_general(wanted, evaluation, target, stopping)
    if len(general) < (wanted if source.is_endless else spec.general_rows):
        raise ValueError(drawing.explained("general", _too_few_general(spec, len(general))))
    drawing.say_sizes(general=len(general), evaluation=len(evaluation), target=spec.num_target)
    return Pools(
        general=general,
        target=target,
        stopping=stopping,
        evaluation=evaluation,
        counts=drawing.counts,
        chosen=tuple(drawing.chosen),
        warnings=tuple(drawing.warnings()),
        near_duplicates=tuple(drawing.shown),
    )


class _Drawing:
    """One drawing of all pools, and what was left out on the way."""

    def __init__(self, source: Source, spec: DataSpec, seed: int, unfit: Unfit | None) -> None:
        self._source, self._spec, self._seed = source, spec, seed
        self._unfit = unfit
        self.counts: dict[str, int] = {}
        self.chosen: list[str] = []
        self.shown: list[NearDuplicate] = []
        self._taken: dict[str, int] = {}
        self._more_general = False
        streams = (source.evaluation(spec.split_seed), source.target(spec.split_seed), source.general(spec.split_seed))
        sample = [example for stream in streams for example in islice(stream, _WORDING)]
        self._wording = None if spec.near_duplicates is None else CommonWording(sample)

    def is_endless(self, pool: str) -> bool:
        """Whether the stream that a pool is drawn from never ends."""
        own = self._source.is_endless
        return own if pool == "general" else bool(getattr(self._source, "is_target_endless", own))

    def take_target(self, num_train: int, num_stopping: int, evaluation: list[Example]) -> tuple[list[Example], list[Example]]:
        """Target examples for training and for stopping; one prompt's responses are in one of the two."""
        self._forget("target")
        stream = self._source.target(self._seed)
        train = self.take("target", stream, num_train, (("evaluation", evaluation),))
        if not num_stopping or len(train) < num_train:
            return train, []
        others = (("evaluation", evaluation), ("target", train))
        return train, self.take("target", stream, num_stopping, others)

    def take_general(
        self, count: int, evaluation: list[Example], target: list[Example], stopping: list[Example]
    ) -> list[Example]:
        """General examples that ask nothing that the other pools ask."""
        stream = self._source.general(self._spec.split_seed)
        held_out = [*evaluation, *stopping]
        found = self.take("general", stream, count, (("held_out", held_out), ("target", target)))
        self._more_general = self._spec.num_general is None and len(found) == count and next(stream, None) is not None
        return found

    def take(
        self, pool: str, stream: Iterator[Example], count: int, others: tuple[tuple[str, list[Example]], ...]
    ) -> list[Example]:
        """Take distinct examples that training sees, and that ask nothing that other pools ask."""
        asked = [(name, Asked()) for name, _ in others]
        near = None
        if self._wording is not None and self._spec.near_duplicates is not None and others:
            near = NearDuplicates(self._spec.near_duplicates, self._wording)
        for (name, examples), (_, keys) in zip(others, asked, strict=True):
            for example in examples:
                keys.add(example)
                if near is not None:
                    near.add(name, example)
        taken: list[Example] = []
        rows: set[Key] = set()
        prompts: set[Key] = set()
        in_vain = 0
        verdict: bool | None = None  # whether the last example was taken: mixtures want to know
        while len(taken) < count and (in_vain <= _PATIENCE or not self.is_endless(pool)):
            try:
                example = advance(stream, verdict)
            except StopIteration:
                break
            verdict = False
            reason = self._reason(pool, example, rows, asked, near)
            if reason is not None:
                self._count(f"{pool}_{reason}")
                in_vain += 1
                continue
            taken.append(example)
            verdict = True
            rows.add(row_key(example))
            if (prompt := prompt_key(example)) in prompts:
                self._count(f"{pool}_same_prompt")  # kept: another response to it
            prompts.add(prompt)
            in_vain = 0
        self._taken[pool] = self._taken.get(pool, 0) + len(taken)
        return taken

    def _reason(
        self, pool: str, example: Example, rows: set[Key], asked: list[tuple[str, Asked]], near: NearDuplicates | None
    ) -> str | None:
        """Why an example is left out; None where it is not."""
        for name, keys in asked:
            if keys.has(example):
                return "in_target" if name == "target" else "held_out"
        if row_key(example) in rows:
            return "repeated"
        if (found := None if near is None else near.nearest(pool, example)) is not None:
            if len(self.shown) < _SHOWN and all(found.example != other.example for other in self.shown):
                self.shown.append(found)
            return "near_duplicate"
        return None if self._unfit is None else self._unfit(example)

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def _forget(self, pool: str) -> None:
        for name in [name for name in self.counts if name.startswith(f"{pool}_")]:
            del self.counts[name]
        self._taken.pop(pool, None)

    def say_sizes(self, *, general: int, evaluation: int, target: int) -> None:
        """Note where a pool has not the size that was asked for."""
        spec = self._spec
        if evaluation < spec.num_eval:
            self.chosen.append(
                f"data.num_eval={spec.num_eval}: {evaluation} examples to measure with are all that there are besides the "
                f"{target} for training (data.num_target={spec.num_target})."
            )
        if self._more_general:
            self.chosen.append(
                f"data.num_general=null: the first {general:,} general examples in the order of data.split_seed, of more; give "
                "a number for another size."
            )
        elif spec.num_general is not None and general < spec.num_general:
            self.chosen.append(f"data.num_general={spec.num_general}: {general} general examples are all that there are.")
        if general < (spec.num_general or MOST_GENERAL) and (shortage := getattr(self._source, "shortage", None)):
            self.chosen.append(shortage)

    def warnings(self) -> list[str]:
        """What a tenth or more of a pool's examples were lost to."""
        said = []
        for pool, taken in self._taken.items():
            lost = self.counts.get(f"{pool}_too_long", 0)
            if lost and lost >= _WARNED_SHARE * (lost + taken):
                said.append(
                    f"data.max_length={self._spec.max_length}: {lost} of the {lost + taken} {pool} examples that were looked "
                    "at are too long for their answer, and were left out; raise data.max_length to keep them."
                )
        words = getattr(self._unfit, "words", {})
        for pool, taken in self._taken.items():
            for reason in sorted(set(words) - {"too_long", "no_answer"}):
                if lost := self.counts.get(f"{pool}_{reason}", 0):
                    said.append(
                        f"{pool} pool: {lost} of {lost + taken} examples are left out ({reason.replace('_', ' ')}). The first, "
                        f"{words[reason]}"
                    )
        return said

    def explained(self, pool: str, message: str) -> str:
        """A message that a pool is too small, with what its examples were lost to."""
        reasons = {
            "too_long": f"{{}} are too long for their answer: raise data.max_length={self._spec.max_length}",
            "no_answer": "{} have no answer: their responses are empty in the data",
            "refused": "{} are refused by the chat template",
            "ambiguous": "of {} the assistant's tokens cannot be told apart under the chat template",
            "tool_calls": "the tool calls of {} are not written by the chat template",
            "unwritten": "of {} the chat template leaves out a turn that is answered",
            "weight_zero": 'no turn of {} is learned ("weight": 0, or changed by the chat template)',
            "held_out": "{} are held out to measure with",
            "in_target": "{} are target examples",
            "repeated": "{} are repetitions",
            "near_duplicate": "{} are near-duplicates of another pool's (data.near_duplicates; null keeps them)",
        }
        found = [text.format(self.counts[f"{pool}_{key}"]) for key, text in reasons.items() if f"{pool}_{key}" in self.counts]
        shortage = getattr(self._source, "shortage", None)
        more = [f"Of those looked at, {'; '.join(found)}."] if found else []
        words = getattr(self._unfit, "words", {})
        firsts = [words[reason] for reason in words if reason not in {"too_long", "no_answer"}]
        more += [f"The first, {firsts[0]}"] if firsts else []
        return " ".join([message, *more, *([shortage] if shortage else [])])


def _too_few_to_hold_out(spec: DataSpec, found: int) -> str:
    return (
        f"data.num_eval={spec.num_eval}: the source has only {found} distinct target examples to hold out. Lower it, and "
        f"evaluation.num_generate, to less: data.num_target={spec.num_target} more are for training."
    )


def _too_few_targets(spec: DataSpec, found: int, held_out: int) -> str:
    return (
        f"data.num_target={spec.num_target}: besides the {held_out} held-out ones (data.num_eval) the source has only {found} "
        "distinct target examples. Lower one of the two."
    )


def _too_few_general(spec: DataSpec, found: int) -> str:
    size = "null" if spec.num_general is None else str(spec.num_general)
    return (
        f"data.num_general={size}: the source has only {found} distinct general examples that are not held out, and a step "
        f"takes data.general_rows={spec.general_rows}."
    )
