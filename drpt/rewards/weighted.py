"""The reward as a weighted sum of terms, and its metrics."""

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
    """A term and its weight in the reward."""

    term: RewardTerm
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The reward of one answer."""

    value: float  # Σ weight · value over the terms
    verdicts: Mapping[str, Verdict]  # verdicts by term

    @property
    def is_correct(self) -> bool | None:
        """Whether all verifiers among the terms find the answer correct; None if there is no verifier."""
        opinions = [verdict.is_correct for verdict in self.verdicts.values() if verdict.is_correct is not None]
        return all(opinions) if opinions else None


class WeightedReward:
    """Computes the reward of answers as the weighted sum of its terms.

    Args:
        terms: Terms with weights by name, at least one.
    """

    def __init__(self, terms: Mapping[str, WeightedTerm]) -> None:
        self._terms = dict(terms)

    @property
    def comparing(self) -> list[str]:
        """Names of the terms that compare answers with the examples' reference responses."""
        return [name for name, weighted in self._terms.items() if getattr(weighted.term, "needs_reference", False)]

    def prepare(self) -> None:
        """Load the models of the terms, so that errors appear before training starts."""
        prepare([weighted.term for weighted in self._terms.values()])

    def __call__(self, answers: Sequence[Answer]) -> list[Judged]:
        """Judge answers by every term.

        Args:
            answers: Answers in any number and order.

        Returns:
            One judgement per answer.

        Raises:
            NonFiniteRewardError: The value of a term, or the weighted sum, is NaN or infinite.
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
                "the weighted sum of the reward's terms overflows: lower the weights in reward.terms, or return smaller values "
                "from the terms."
            )
        return judged

    def metrics(self, judged: Sequence[Judged]) -> dict[str, float]:
        """Compute metrics of the rewards of some answers; metric names lack the stage.

        Args:
            judged: Judgements of the answers, at least one.

        Returns:
            ``reward/mean`` and ``reward/std`` over the answers; ``reward_TERM/mean`` if there are several terms; the share of
            each outcome, ``TERM_OUTCOME/share``; and ``correct/share`` if a term is a verifier.
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
        """Count the outcomes of each term.

        Args:
            judged: Judgements of the answers.

        Returns:
            Rows of ``term``, ``outcome``, ``count`` and ``share``, with the most frequent outcome of each term first.
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
        terms: Reward terms or judges.
    """
    for term in terms:
        if hasattr(term, "prepare"):
            term.prepare()
