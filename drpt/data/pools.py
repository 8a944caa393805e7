"""Draws disjoint pools from a source: general, target, stopping and evaluation examples. Called once per run."""

import hashlib
from dataclasses import dataclass, field

from drpt.data.drawing import Drawing, ExclusionReason, Groups
from drpt.data.example import Example
from drpt.data.fingerprint import example_line
from drpt.data.near_duplicates import NearDuplicate
from drpt.data.pool_faults import Losses, too_few_general, too_few_shared, too_few_targets, too_few_to_hold_out
from drpt.data.source import Source
from drpt.data.spec import MOST_GENERAL, DataSpec


@dataclass(frozen=True, kw_only=True)
class Pools:
    """Disjoint pools of examples; no two pools share a question or nearly the same question."""

    general: list[Example]
    target: list[Example]
    stopping: list[Example]  # target examples held out of training for early stopping; may be empty
    evaluation: list[Example]
    counts: dict[str, int] = field(default_factory=dict)  # numbers of examples left out, by pool and reason
    chosen: tuple[str, ...] = ()  # messages on sizes that differ from those asked for
    warnings: tuple[str, ...] = ()  # warnings on problems that the user should fix
    near_duplicates: tuple[NearDuplicate, ...] = ()  # a few of the near-duplicates that were left out

    @property
    def fingerprint(self) -> str:
        """Checksum of all texts in all pools, in order."""
        digest = hashlib.sha256()
        for name in ("general", "target", "stopping", "evaluation"):
            for example in getattr(self, name):
                digest.update(example_line(name, example))
        return digest.hexdigest()

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples in each pool."""
        return {name: len(getattr(self, name)) for name in ("general", "target", "stopping", "evaluation")}


def draw_pools(
    source: Source, spec: DataSpec, *, seed: int, stopping_share: float, exclusion_reason: ExclusionReason | None = None
) -> Pools:
    """Draw the pools; ``split_seed`` determines general and evaluation examples, ``seed`` the target examples.

    General examples with the question of a target example are left out, so the general pool may differ between seeds if both
    come from one file. Examples are drawn row by row. If prompts in a small file have several responses and too few rows would
    remain, whole prompts are assigned to the pools instead.

    Args:
        source: Source of the streams of examples.
        spec: The `data` config group. The target pool always gets its size; the other pools of a finite source may get fewer.
        seed: Seed of the run.
        stopping_share: Share of the target examples that is held out of training for early stopping, between 0 and 1.
        exclusion_reason: Function that says why an example cannot be trained on; None = all can be.

    Returns:
        The pools. Repeated rows are used once; several responses to one prompt are kept in one pool.

    Raises:
        ValueError: The source has too few distinct examples.
    """
    if source.is_endless and spec.num_general is None:
        raise ValueError("data.num_general=null: this source never ends, so give the size of the general pool.")
    drawing = Drawing(source, spec, seed, exclusion_reason)
    num_stopping = round(stopping_share * spec.num_target)
    held = _draw_target_and_evaluation(drawing, source, spec, num_stopping)
    wanted = MOST_GENERAL if spec.num_general is None else spec.num_general
    general = drawing.take_general(wanted, held.evaluation, held.target, held.stopping)
    losses = Losses(source=source, spec=spec, exclusion_reason=exclusion_reason, counts=drawing.counts, taken=drawing.taken)
    if len(general) < (wanted if source.is_endless else spec.general_rows):
        raise ValueError(losses.explained("general", too_few_general(spec, len(general))))
    general_size = losses.general_size(len(general), has_more=drawing.has_more_general)
    chosen = [held.evaluation_size, general_size, losses.shortage(len(general))]
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
    evaluation_size: str | None  # why there are fewer evaluation examples than asked for; None if there are not


def _draw_target_and_evaluation(drawing: Drawing, source: Source, spec: DataSpec, num_stopping: int) -> _Held:
    """Draw target and evaluation examples row by row, or as whole prompts if that would leave too few to train on."""
    losses = Losses(
        source=source, spec=spec, exclusion_reason=drawing.exclusion_reason, counts=drawing.counts, taken=drawing.taken
    )
    num_train = spec.num_target - num_stopping
    evaluation = drawing.take_evaluation()
    is_target_endless = drawing.is_endless("target")
    if len(evaluation) < (spec.num_eval if is_target_endless else 1):
        raise ValueError(losses.explained("evaluation", too_few_to_hold_out(spec, len(evaluation))))
    target, stopping = drawing.take_target(num_train, num_stopping, evaluation)
    missing = spec.num_target - len(target) - len(stopping)
    has_own = bool(getattr(source, "has_own_evaluation", False))
    if not missing:
        size = losses.evaluation_size(len(evaluation), None, has_own=has_own)
        return _Held(evaluation=evaluation, target=target, stopping=stopping, evaluation_size=size)
    if is_target_endless or has_own or not drawing.counts.get("target_held_out", 0):
        found = len(target) + len(stopping)
        raise ValueError(losses.explained("target", too_few_targets(spec, found, len(evaluation))))
    # In a small file, the rows that remain after the target examples are used for evaluation.
    groups: Groups = drawing.target_groups()
    spare = groups.num_rows - spec.num_target
    while spare > 0 and (evaluation := drawing.take_shared_evaluation(groups, spare)):
        target, stopping = drawing.take_target(num_train, num_stopping, evaluation)
        missing = spec.num_target - len(target) - len(stopping)
        if not missing:
            size = losses.evaluation_size(len(evaluation), groups, has_own=False)
            return _Held(evaluation=evaluation, target=target, stopping=stopping, evaluation_size=size)
        spare = min(spare, len(evaluation)) - missing if len(evaluation) > missing else 0
    raise ValueError(losses.explained("target", too_few_shared(spec, groups), omitted="held_out"))
