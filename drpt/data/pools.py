"""Drawing the general pool, the scarce target examples and the held-out set from a source, kept apart."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from drpt.data.example import Example, Message
from drpt.data.fingerprint import example_line
from drpt.data.source import Source
from drpt.data.spec import DataSpec

# A generator that has repeated itself this often in a row has nothing new.
_PATIENCE = 5_000


@dataclass(frozen=True, kw_only=True)
class Pools:
    """Disjoint examples: no conversation of ``evaluation`` or ``stopping`` begins as one of another pool does."""

    general: list[Example]
    target: list[Example]
    stopping: list[Example]  # target examples held out of training to choose when to stop; may be empty
    evaluation: list[Example]
    counts: dict[str, int] = field(default_factory=dict)  # examples left out, by reason

    @property
    def fingerprint(self) -> str:
        """A checksum of every text in every pool, in order."""
        digest = hashlib.sha256()
        for name in ("general", "target", "stopping", "evaluation"):
            for example in getattr(self, name):
                digest.update(example_line(name, example))
        return digest.hexdigest()


def draw_pools(source: Source, spec: DataSpec, *, seed: int, stopping_share: float) -> Pools:
    """Draw the pools; ``split_seed`` fixes general and evaluation examples, ``seed`` redraws the target ones.

    Args:
        source: Streams of examples.
        spec: Sizes.
        seed: The run's.
        stopping_share: Share of the target examples that is kept out of training to choose when to stop.

    Returns:
        The pools, without repeated prompts.

    Raises:
        ValueError: The source has too few distinct examples.
    """
    if source.is_endless and spec.num_general is None:
        raise ValueError("data.num_general=null: this source never ends; give the size of the general pool.")
    counts: dict[str, int] = {}
    evaluation = _take(source.evaluation(spec.split_seed), spec.num_eval, set(), counts, "evaluation")
    if len(evaluation) < spec.num_eval:
        raise ValueError(
            f"data.num_eval={spec.num_eval}: the source has only {len(evaluation)} distinct target examples to hold out. "
            f"Lower it, and evaluation.num_generate, to less: data.num_target={spec.num_target} more are for training."
        )
    held_out = {example.beginning for example in evaluation}
    target = _take(source.target(seed), spec.num_target, held_out, counts, "target")
    if len(target) < spec.num_target:
        raise ValueError(
            f"data.num_target={spec.num_target}: besides the {spec.num_eval} held-out ones (data.num_eval) the source has "
            f"only {len(target)} distinct target examples. Lower one of the two."
        )
    num_stopping = round(stopping_share * spec.num_target)
    stopping = target[spec.num_target - num_stopping :]
    held_out |= {example.beginning for example in stopping}
    general = _take(source.general(spec.split_seed), spec.num_general, held_out, counts, "general")
    if len(general) < (spec.num_general or spec.general_rows):
        raise ValueError(
            f"data.num_general={spec.num_general}: the source has only {len(general)} distinct general examples that are "
            f"not held out, and a step takes data.general_rows={spec.general_rows}."
        )
    return Pools(
        general=general,
        target=target[: spec.num_target - num_stopping],
        stopping=stopping,
        evaluation=evaluation,
        counts=counts,
    )


def _take(
    stream: Iterator[Example], count: int | None, excluded: set[tuple[Message, ...]], counts: dict[str, int], pool: str
) -> list[Example]:
    taken: list[Example] = []
    seen: set[tuple[Message, ...]] = set()
    in_vain = 0
    for example in stream:
        if len(taken) == count or in_vain > _PATIENCE:
            break
        reason = "held_out" if example.beginning in excluded else "repeated" if example.prompt in seen else None
        if reason is None:
            taken.append(example)
            seen.add(example.prompt)
            in_vain = 0
        else:
            counts[f"{pool}_{reason}"] = counts.get(f"{pool}_{reason}", 0) + 1
            in_vain += 1
    return taken
