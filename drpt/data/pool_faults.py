"""What is said of pools that are smaller than what was asked for: how many examples were lost, to what, and what to change."""

from collections.abc import Mapping
from dataclasses import dataclass

from drpt.data.drawing import Groups, Unfit
from drpt.data.source import Source
from drpt.data.spec import MOST_GENERAL, DataSpec

_WARNED_SHARE = 0.1  # of the examples looked at: so many lost to data.max_length are a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What examples were lost to while pools were drawn."""

    source: Source
    spec: DataSpec
    unfit: Unfit | None
    counts: Mapping[str, int]  # by pool and reason
    taken: Mapping[str, int]  # by pool

    @property
    def _words(self) -> Mapping[str, str]:
        """By reason, where the first example is that training does not see, and what is wrong with it."""
        return getattr(self.unfit, "words", {})

    def evaluation_size(self, evaluation: int, groups: Groups | None, *, has_own: bool) -> str | None:
        """Why there are fewer examples to measure with than were asked for; None where there are not.

        Args:
            evaluation: How many there are.
            groups: What the target's stream holds, if whole prompts were shared out.
            has_own: Whether the evaluation has a source of its own.

        Returns:
            A line.
        """
        wanted, target = self.spec.num_eval, self.spec.num_target
        if evaluation >= wanted:
            return None
        if has_own or groups is None:
            return f"data.num_eval={wanted}: the {evaluation} examples to measure with are all that their source has."
        others = f"the {target} for training (data.num_target={target})"
        left = groups.num_rows - evaluation - target
        if not left:
            return f"data.num_eval={wanted}: {evaluation} examples to measure with are all that there are besides {others}."
        why = "nearly the same as one to measure with"
        if len(groups.sizes) < groups.num_rows:
            why = "other responses to prompts of one of the two, or " + why
        return (
            f"data.num_eval={wanted}: {evaluation} examples to measure with are what {groups.num_rows} distinct examples of "
            f"{len(groups.sizes)} prompts give besides {others}: what one pool asks is asked in no other, and {left} are in "
            f"neither ({why})."
        )

    def general_size(self, general: int, *, has_more: bool) -> str | None:
        """Why the general pool has another size than was asked for; None where it has not.

        Args:
            general: How many there are.
            has_more: Whether the source has more.

        Returns:
            A line.
        """
        if has_more:
            return (
                f"data.num_general=null: the first {general:,} general examples in the order of data.split_seed, of more; give "
                "a number for another size."
            )
        wanted = self.spec.num_general
        if wanted is None or general >= wanted:
            return None
        return f"data.num_general={wanted}: {general} general examples are all that there are."

    def shortage(self, general: int) -> str | None:
        """Why the general stream ended, where its source knows; None where enough were drawn.

        Args:
            general: How many there are.

        Returns:
            A line.
        """
        is_short = general < (self.spec.num_general or MOST_GENERAL)
        return getattr(self.source, "shortage", None) if is_short else None

    def warnings(self) -> list[str]:
        """What a tenth or more of a pool's examples were lost to."""
        said = []
        for pool, taken in self.taken.items():
            lost = self.counts.get(f"{pool}_too_long", 0)
            if lost and lost >= _WARNED_SHARE * (lost + taken):
                said.append(
                    f"data.max_length={self.spec.max_length}: {lost} of the {lost + taken} {pool} examples that were looked "
                    f"at were left out: within {self.spec.max_length} tokens there is no room for their answer; raise "
                    "data.max_length to keep them."
                )
        for pool, taken in self.taken.items():
            for reason in sorted(set(self._words) - {"too_long", "no_answer"}):
                if lost := self.counts.get(f"{pool}_{reason}", 0):
                    said.append(
                        f"{pool} pool: {lost} of {lost + taken} examples are left out ({reason.replace('_', ' ')}). The first, "
                        f"{self._words[reason]}"
                    )
        return said

    def explained(self, pool: str, message: str, *, unsaid: str | None = None) -> str:
        """A message that a pool is too small, with what its examples were lost to.

        Args:
            pool: Its name.
            message: What is wrong.
            unsaid: A reason that the message gives already.

        Returns:
            The message, and what helps.
        """
        limit = self.spec.max_length
        reasons = {
            "too_long": f"{{}} have no room for their answer within data.max_length={limit} tokens: raise it",
            "no_answer": "{} have no answer: their responses are empty in the data",
            "refused": "{} are refused by the chat template",
            "ambiguous": "of {} the assistant's tokens cannot be told apart under the chat template",
            "tool_calls": "the tool calls of {} are not written by the chat template",
            "unwritten": "of {} the chat template leaves out a turn that is answered",
            "weight_zero": 'no turn of {} is learned ("weight": 0, or changed by the chat template)',
            "held_out": "{} ask what is held out to measure with",
            "in_target": "{} ask what a target example asks",
            "repeated": "{} are repetitions",
            "near_duplicate": "{} are near-duplicates of another pool's (data.near_duplicates; null keeps them)",
        }
        counts = {key: self.counts[f"{pool}_{key}"] for key in reasons if f"{pool}_{key}" in self.counts and key != unsaid}
        found = [reasons[key].format(count) for key, count in counts.items()]
        shortage = getattr(self.source, "shortage", None)
        more = [f"Of those looked at, {'; '.join(found)}."] if found else []
        firsts = [self._words[reason] for reason in self._words if reason not in {"too_long", "no_answer"}]
        more += [f"The first, {firsts[0]}"] if firsts else []
        return " ".join([message, *more, *([shortage] if shortage else [])])


def too_few_to_hold_out(spec: DataSpec, found: int) -> str:
    """What is said where nothing, or of a source that never ends too little, is there to measure with."""
    if not found:
        return f"data.num_eval={spec.num_eval}: the source has no target example to hold out that training could see."
    return (
        f"data.num_eval={spec.num_eval}: the source has only {found} distinct target examples to hold out. Lower it, and "
        f"evaluation.num_generate, to less: data.num_target={spec.num_target} more are for training."
    )


def too_few_targets(spec: DataSpec, found: int, held_out: int) -> str:
    """What is said where the target's own stream is too small."""
    return (
        f"data.num_target={spec.num_target}: besides the {held_out} held-out ones (data.num_eval) the source has only {found} "
        "distinct target examples. Lower one of the two."
    )


def too_few_shared(spec: DataSpec, groups: Groups) -> str:
    """What is said where training would leave nothing to measure with."""
    smallest = min(groups.sizes, default=0)
    most = groups.num_rows - smallest
    has_several = len(groups.sizes) < groups.num_rows
    prompts = f" of {len(groups.sizes)} prompt{'s'[: len(groups.sizes) != 1]}" if has_several else ""
    held_out = f"the {smallest} of one prompt are" if has_several and smallest > 1 else "one is"
    advice = f"Lower it to at most {most}." if most > 0 else "Add examples of other prompts."
    return (
        f"data.num_target={spec.num_target}: the source has only {groups.num_rows} distinct target examples{prompts} that "
        f"training can see, of which at least {held_out} held out to measure with (data.num_eval). {advice}"
    )


def too_few_general(spec: DataSpec, found: int) -> str:
    """What is said where the general pool cannot fill a step."""
    size = "null" if spec.num_general is None else str(spec.num_general)
    return (
        f"data.num_general={size}: the source has only {found} distinct general examples that are not held out, and a step "
        f"takes data.general_rows={spec.general_rows}."
    )
