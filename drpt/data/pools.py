"""Drawing the general pool, the scarce target examples and the held-out set from a source, kept apart."""

import hashlib
from dataclasses import dataclass, field

from drpt.data.drawing import Drawing, Groups, Unfit
from drpt.data.example import Example
from drpt.data.fingerprint import example_line
from drpt.data.near_duplicates import NearDuplicate
from drpt.data.pool_faults import Losses, too_few_general, too_few_shared, too_few_targets, too_few_to_hold_out
from drpt.data.source import Source
from drpt.data.spec import MOST_GENERAL, DataSpec


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
    where both are of one file. Pools draw rows; where a small file's prompts have several responses and the rows that are left
    would not do, they share out whole prompts.

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
    drawing = Drawing(source, spec, seed, unfit)
    num_stopping = round(stopping_share * spec.num_target)
    held = _draw_target_and_evaluation(drawing, source, spec, num_stopping)
    wanted = MOST_GENERAL if spec.num_general is None else spec.num_general
    general = drawing.take_general(wanted, held.evaluation, held.target, held.stopping)
    losses = Losses(source=source, spec=spec, unfit=unfit, counts=drawing.counts, taken=drawing.taken)
    if len(general) < (wanted if source.is_endless else spec.general_rows):
        raise ValueError(losses.explained("general", too_few_general(spec, len(general))))
    chosen = [held.said, losses.general_size(len(general), has_more=drawing.has_more_general), losses.shortage(len(general))]
    return Pools(
        general=general,
        target=held.target,
        stopping=held.stopping,
        evaluation=held.evaluation,
        counts=drawing.counts,
        chosen=tuple(line for line in chosen if line),
        warnings=tuple(losses.warnings()),
        near_duplicates=drawing.shown,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    evaluation: list[Example]
    target: list[Example]
    stopping: list[Example]
    said: str | None  # why there are fewer to measure with than were asked for


def _draw_target_and_evaluation(drawing: Drawing, source: Source, spec: DataSpec, num_stopping: int) -> _Held:
    """Draw what is of the target's stream: both by rows or, where that leaves too few to train on, by whole prompts."""
    losses = Losses(source=source, spec=spec, unfit=drawing.unfit, counts=drawing.counts, taken=drawing.taken)
    num_train = spec.num_target - num_stopping
    evaluation = drawing.take_evaluation()
    is_target_endless = drawing.is_endless("target")
    if len(evaluation) < (spec.num_eval if is_target_endless else 1):
        raise ValueError(losses.explained("evaluation", too_few_to_hold_out(spec, len(evaluation))))
    target, stopping = drawing.take_target(num_train, num_stopping, evaluation)
    missing = spec.num_target - len(target) - len(stopping)
    has_own = bool(getattr(source, "has_own_evaluation", False))
    if not missing:
        said = losses.evaluation_size(len(evaluation), None, has_own=has_own)
        return _Held(evaluation=evaluation, target=target, stopping=stopping, said=said)
    if is_target_endless or has_own or not drawing.counts.get("target_held_out", 0):
        found = len(target) + len(stopping)
        raise ValueError(losses.explained("target", too_few_targets(spec, found, len(evaluation))))
    # Of a small file, what is left after the target examples is there to measure with.
    groups: Groups = drawing.target_groups()
    spare = groups.num_rows - spec.num_target
    while spare > 0 and (evaluation := drawing.take_shared_evaluation(groups, spare)):
        target, stopping = drawing.take_target(num_train, num_stopping, evaluation)
        missing = spec.num_target - len(target) - len(stopping)
        if not missing:
            said = losses.evaluation_size(len(evaluation), groups, has_own=False)
            return _Held(evaluation=evaluation, target=target, stopping=stopping, said=said)
        spare = min(spare, len(evaluation)) - missing if len(evaluation) > missing else 0
    raise ValueError(losses.explained("target", too_few_shared(spec, groups), unsaid="held_out"))
