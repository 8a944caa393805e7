"""A reward: a weighted sum of terms, and what there is to tell of it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from drpt.errors import NonFiniteRewardError
from drpt.rewards.finite import require_finite_verdicts
from drpt.rewards.reward import Answer, RewardTerm, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedTerm:
    """A term and what its value is multiplied by."""

    term: RewardTerm
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one answer is worth."""

    value: float  # Σ weight · value over the terms
    verdicts: Mapping[str, Verdict]  # by term

    @property
    def is_correct(self) -> bool | None:
        """Whether all terms that judge the answer say so; None when none does."""
        said = [verdict.is_correct for verdict in self.verdicts.values() if verdict.is_correct is not None]
        return all(said) if said else None


class WeightedReward:
    """Judges answers by every term.

    Args:
        terms: By name; at least one.
    """

    def __init__(self, terms: Mapping[str, WeightedTerm]) -> None:
        self._terms = dict(terms)

    @property
    def comparing(self) -> list[str]:
        """Names of the terms that compare answers with the examples' reference responses."""
        return [name for name, weighted in self._terms.items() if getattr(weighted.term, "needs_reference", False)]

    def prepare(self) -> None:
        """Load the models of terms that have one, so that what is wrong with them shows before anything is asked."""
        prepare([weighted.term for weighted in self._terms.values()])

    def __call__(self, answers: Sequence[Answer]) -> list[Judged]:
        """Judge answers.

        Args:
            answers: In any number and order.

        Returns:
            One judgement an answer.

        Raises:
            NonFiniteRewardError: A term's value is NaN or infinite, or the weighted sum is.
        """
        columns = {name: weighted.term(answers) for name, weighted in self._terms.items()}
        for name, verdicts in columns.items():
            require_finite_verdicts(f"reward.terms.{name}", answers, verdicts)
        judged = [
            Judged(
                value=sum(self._terms[name].weight * verdict.value for name, verdict in row.items()),
                verdicts=row,
            )
            for row in ({name: column[i] for name, column in columns.items()} for i in range(len(answers)))
        ]
        if any(not math.isfinite(one.value) for one in judged):
            raise NonFiniteRewardError(
                "the weighted sum of the reward's terms is too large for a number: lower the weights in reward.terms, or let "
                "the terms answer with smaller values."
            )
        return judged

    def metrics(self, judged: Sequence[Judged]) -> dict[str, float]:
        """Figures of some answers, by metric without its stage.

        Args:
            judged: At least one.

        Returns:
            ``reward/mean``, ``reward/std`` (over the answers), of several terms ``reward_TERM/mean`` each, and the shares of
            their outcomes, ``TERM_OUTCOME/share``; where answers are judged, ``correct/share``.
        """
        values = [one.value for one in judged]
        figures = {"reward/mean": fmean(values), "reward/std": pstdev(values)}
        if len(self._terms) > 1:
            figures |= {f"reward_{name}/mean": fmean(one.verdicts[name].value for one in judged) for name in self._terms}
        figures |= {f"{row['term']}_{row['outcome']}/share": row["share"] for row in self.outcomes(judged)}
        if judged[0].is_correct is not None:
            figures["correct/share"] = fmean(float(bool(one.is_correct)) for one in judged)
        return figures

    def outcomes(self, judged: Sequence[Judged]) -> list[dict[str, Any]]:
        """How often each term said what.

        Args:
            judged: Any number.

        Returns:
            Rows of ``term``, ``outcome``, ``count`` and ``share``, the most frequent outcome of a term first.
        """
        rows = []
        for name in self._terms:
            counts = Counter(one.verdicts[name].outcome for one in judged)
            rows += [
                {"term": name, "outcome": outcome, "count": count, "share": count / len(judged)}
                for outcome, count in counts.most_common()
            ]
        return rows


def prepare(terms: Sequence[RewardTerm]) -> None:
    """Call ``prepare`` of the terms that have such a method.

    Args:
        terms: Of a reward, or judges.
    """
    for term in terms:
        if hasattr(term, "prepare"):
            term.prepare()
