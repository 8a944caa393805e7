"""Drawing the general pool, the scarce target examples and the held-out set from a source, kept apart."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from drpt.data.example import Example, Message
from drpt.data.source import Source
from drpt.data.spec import DataSpec

# A generator that has repeated itself this often in a row has nothing new.
_PATIENCE = 5_000


@dataclass(frozen=True, kw_only=True)
class Pools:
    """Disjoint examples: no prompt of ``evaluation`` stands in another pool, nor one of ``stopping`` in ``target``."""

    general: list[Example]
    target: list[Example]
    stopping: list[Example]  # target examples held out of training to choose when to stop; may be empty
    evaluation: list[Example]
    counts: dict[str, int] = field(default_factory=dict)  # examples left out, by reason


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
            f"data.num_eval={spec.num_eval}: the source has only {len(evaluation)} distinct target examples to hold out."
        )
    held_out = {example.prompt for example in evaluation}
    target = _take(source.target(seed), spec.num_target, held_out, counts, "target")
    if len(target) < spec.num_target:
        raise ValueError(
            f"data.num_target={spec.num_target}: besides the {spec.num_eval} held-out ones (data.num_eval) the source has "
            f"only {len(target)} distinct target examples. Lower one of the two."
        )
    general = _take(source.general(spec.split_seed), spec.num_general, held_out, counts, "general")
    if len(general) < (spec.num_general or spec.general_rows):
        raise ValueError(
            f"data.num_general={spec.num_general}: the source has only {len(general)} distinct general examples that are "
            f"not held out, and a step takes data.general_rows={spec.general_rows}."
        )
    num_stopping = round(stopping_share * spec.num_target)
    if stopping_share > 0 and not 1 <= num_stopping <= spec.num_target - spec.target_rows:
        raise ValueError(
            f"regularizer.stopping_share={stopping_share} of data.num_target={spec.num_target} holds out {num_stopping} "
            f"examples; it must leave at least data.target_rows={spec.target_rows} to train on and hold out at least one."
        )
    return Pools(
        general=general,
        target=target[: spec.num_target - num_stopping],
        stopping=target[spec.num_target - num_stopping :],
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
        reason = "held_out" if example.prompt in excluded else "repeated" if example.prompt in seen else None
        if reason is None:
            taken.append(example)
            seen.add(example.prompt)
            in_vain = 0
        else:
            counts[f"{pool}_{reason}"] = counts.get(f"{pool}_{reason}", 0) + 1
            in_vain += 1
    return taken
