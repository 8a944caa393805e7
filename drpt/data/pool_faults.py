"""Messages on pools that are smaller than asked for: how many examples were left out, why, and what to change."""

from collections.abc import Mapping
from dataclasses import dataclass

from drpt.data.drawing import ExclusionReason, Groups
from drpt.data.source import Source
from drpt.data.spec import MOST_GENERAL, DataSpec

_WARNED_SHARE = 0.1  # share of the examples left out for data.max_length from which on a warning is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The examples left out while pools were drawn, by reason, and the messages about them."""

    source: Source
    spec: DataSpec
    exclusion_reason: ExclusionReason | None
    counts: Mapping[str, int]  # numbers of examples left out, by pool and reason
    taken: Mapping[str, int]  # numbers of examples taken, by pool

    @property
    def _words(self) -> Mapping[str, str]:
        """Place of the first example left out and what is wrong with it, by reason."""
        return getattr(self.exclusion_reason, "words", {})

    def evaluation_size(self, evaluation: int, groups: Groups | None, *, has_own: bool) -> str | None:
        """Explain why there are fewer evaluation examples than asked for.

        Args:
            evaluation: Number of evaluation examples.
            groups: Groups of target examples, if whole prompts were assigned to pools; else None.
            has_own: Whether evaluation examples have their own file or table.

        Returns:
            A message; None if there are as many as asked for.
        """
        wanted, target = self.spec.num_eval, self.spec.num_target
        if evaluation >= wanted:
            return None
        if has_own or groups is None:
            return f"data.num_eval={wanted}: the source has only {evaluation} evaluation examples."
        others = f"the {target} for training (data.num_target={target})"
        left = groups.num_rows - evaluation - target
        if not left:
            return f"data.num_eval={wanted}: only {evaluation} evaluation examples remain besides {others}."
        why = "nearly the same as an evaluation example"
        if len(groups.sizes) < groups.num_rows:
            why = "other responses to prompts of one of the two pools, or " + why
        return (
            f"data.num_eval={wanted}: {groups.num_rows} distinct examples of {len(groups.sizes)} prompts give {evaluation} "
            f"evaluation examples besides {others}. Pools must not share questions, so {left} examples are in neither pool "
            f"({why})."
        )

    def general_size(self, general: int, *, has_more: bool) -> str | None:
        """Explain why the size of the general pool differs from that asked for.

        Args:
            general: Number of general examples.
            has_more: Whether the source has more.

        Returns:
            A message; None if the size is as asked for.
        """
        if has_more:
            return (
                f"data.num_general=null: the source has more than {general:,} general examples, of which the first {general:,} "
                "in the order of data.split_seed are used; give a number for another size."
            )
        wanted = self.spec.num_general
        if wanted is None or general >= wanted:
            return None
        return f"data.num_general={wanted}: the source has only {general} general examples."

    def shortage(self, general: int) -> str | None:
        """Explain why the general stream ended early, if its source knows.

        Args:
            general: Number of general examples.

        Returns:
            A message; None if enough examples were drawn or the reason is unknown.
        """
        is_short = general < (self.spec.num_general or MOST_GENERAL)
        return getattr(self.source, "shortage", None) if is_short else None

    def warnings(self) -> list[str]:
        """Warnings on pools that lost a tenth of their examples to ``data.max_length``, or any for other reasons."""
        lines = []
        for pool, taken in self.taken.items():
            lost = self.counts.get(f"{pool}_too_long", 0)
            if lost and lost >= _WARNED_SHARE * (lost + taken):
                lines.append(
                    f"data.max_length={self.spec.max_length}: left out {lost} of {lost + taken} {pool} examples, whose answers "
                    f"do not fit into {self.spec.max_length} tokens; raise data.max_length to keep them."
                )
        for pool, taken in self.taken.items():
            for reason in sorted(set(self._words) - {"too_long", "no_answer"}):
                if lost := self.counts.get(f"{pool}_{reason}", 0):
                    lines.append(
                        f"{pool} pool: left out {lost} of {lost + taken} examples ({reason.replace('_', ' ')}). The first, "
                        f"{self._words[reason]}"
                    )
        return lines

    def explained(self, pool: str, message: str, *, omitted: str | None = None) -> str:
        """Add the reasons for which examples were left out to a message that a pool is too small.

        Args:
            pool: Name of the pool.
            message: Message that says what is wrong.
            omitted: Reason that the message already states.

        Returns:
            The message with the reasons and remedies.
        """
        limit = self.spec.max_length
        reasons = {
            "too_long": f"{{}} have no room for their answer within data.max_length={limit} tokens (raise it)",
            "no_answer": "{} have empty responses in the data",
            "refused": "{} are refused by the chat template",
            "ambiguous": "{} have assistant tokens that cannot be identified under the chat template",
            "tool_calls": "{} have tool calls that the chat template does not write",
            "unwritten": "{} have a turn that the chat template does not write although it is answered",
            "weight_zero": '{} have no turn to learn ("weight": 0, or changed by the chat template)',
            "held_out": "{} repeat a held-out question",
            "in_target": "{} repeat the question of a target example",
            "repeated": "{} are repetitions",
            "near_duplicate": "{} are near-duplicates of examples in another pool (data.near_duplicates=null keeps them)",
        }
        counts = {key: self.counts[f"{pool}_{key}"] for key in reasons if f"{pool}_{key}" in self.counts and key != omitted}
        found = [reasons[key].format(count) for key, count in counts.items()]
        shortage = getattr(self.source, "shortage", None)
        more = [f"Examples left out: {'; '.join(found)}."] if found else []
        firsts = [self._words[reason] for reason in self._words if reason not in {"too_long", "no_answer"}]
        more += [f"The first, {firsts[0]}"] if firsts else []
        return " ".join([message, *more, *([shortage] if shortage else [])])


def too_few_to_hold_out(spec: DataSpec, found: int) -> str:
    """Message for a source with too few evaluation examples."""
    if not found:
        return f"data.num_eval={spec.num_eval}: the source has no target example to hold out that training could see."
    return (
        f"data.num_eval={spec.num_eval}: the source has only {found} distinct target examples to hold out, and training needs "
        f"data.num_target={spec.num_target} more. Lower data.num_eval and evaluation.num_generate."
    )


def too_few_targets(spec: DataSpec, found: int, held_out: int) -> str:
    """Message for a target stream that is too small."""
    return (
        f"data.num_target={spec.num_target}: besides {held_out} held-out examples (data.num_eval) the source has only {found} "
        "distinct target examples. Lower one of the two."
    )


def too_few_shared(spec: DataSpec, groups: Groups) -> str:
    """Message for a source in which training would leave nothing for evaluation."""
    smallest = min(groups.sizes, default=0)
    most = groups.num_rows - smallest
    has_several = len(groups.sizes) < groups.num_rows
    prompts = f" of {len(groups.sizes)} prompt{'s'[: len(groups.sizes) != 1]}" if has_several else ""
    held_out = f"the {smallest} of one prompt" if has_several and smallest > 1 else "one"
    advice = f"Lower it to at most {most}." if most > 0 else "Add examples of other prompts."
    return (
        f"data.num_target={spec.num_target}: the source has only {groups.num_rows} usable, distinct target examples{prompts}, "
        f"of which at least {held_out} must be held out for evaluation (data.num_eval). {advice}"
    )


def too_few_general(spec: DataSpec, found: int) -> str:
    """Message for a general pool that cannot fill a step."""
    size = "null" if spec.num_general is None else str(spec.num_general)
    return (
        f"data.num_general={size}: the source has only {found} distinct general examples that are not held out, and a step "
        f"takes data.general_rows={spec.general_rows}."
    )
