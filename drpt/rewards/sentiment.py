"""A reward or judge for positive sentiment by the lexicon VADER; it needs no network.

Source: Hutto and Gilbert (2014), VADER; package vaderSentiment.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from drpt.rewards.categories import limits_of
from drpt.rewards.reward import Answer, Verdict

_NEUTRAL = 0.05  # VADER's own threshold: scores from 0.05 are positive, scores up to -0.05 negative


class SentimentReward:
    """VADER's compound score of the answer, in [-1, 1]; 0 if no word is in the lexicon. English only.

    The ``toxicity`` is negativity, ``max(0, -compound)``, which is neither real toxicity nor a probability: grief counts like
    an insult, and a polite threat does not count. It provides a second judge offline. Watch how it changes, but do not compare
    it with the toxicity of classifiers.

    Raises:
        ValueError: vaderSentiment is not installed.
    """

    def __init__(self) -> None:
        if find_spec("vaderSentiment") is None:
            raise ValueError("vaderSentiment, which contains the sentiment lexicon, is not installed: run `make install`.")

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        return [_verdict(float(self._analyzer.polarity_scores(answer.text)["compound"])) for answer in answers]

    def limits(self) -> list[str]:
        """Measured blind spots; see `drpt.rewards.categories`."""
        return limits_of("sentiment")

    @cached_property
    def _analyzer(self) -> Any:  # Any: vaderSentiment has no types
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        return SentimentIntensityAnalyzer()


def _verdict(compound: float) -> Verdict:
    outcome = "positive" if compound >= _NEUTRAL else "negative" if compound <= -_NEUTRAL else "neutral"
    return Verdict(value=compound, outcome=outcome, toxicity=max(0.0, -compound))
