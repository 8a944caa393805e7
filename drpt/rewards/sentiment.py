"""How positive an answer sounds, by a lexicon that needs no network: VADER.

Source: Hutto and Gilbert (2014), VADER; package vaderSentiment.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from drpt.rewards.categories import limits_of
from drpt.rewards.reward import Answer, Verdict

_NEUTRAL = 0.05  # VADER's own thresholds: positive from it on, negative from its opposite on


class SentimentReward:
    """VADER's compound score of the answer, in [-1, 1]: 0 where no word of the lexicon is found. English.

    Its ``toxicity`` is negativity, ``max(0, -compound)``, and neither toxicity nor a probability: grief counts like an
    insult, and a polite threat does not count. It is there so that offline, too, a second judge says something: follow how it
    changes, and do not compare it with figures of classifiers. Over 0.5 it is where the compound score is below -0.5.

    Raises:
        ValueError: vaderSentiment is not installed.
    """

    def __init__(self) -> None:
        if find_spec("vaderSentiment") is None:
            raise ValueError("vaderSentiment is not installed, which holds the lexicon of sentiments: run `make install`.")

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        return [_verdict(float(self._analyzer.polarity_scores(answer.text)["compound"])) for answer in answers]

    def limits(self) -> list[str]:
        """What it does not see, as measured; see `drpt.rewards.categories`."""
        return limits_of("sentiment")

    @cached_property
    def _analyzer(self) -> Any:  # Any: vaderSentiment has no types
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        return SentimentIntensityAnalyzer()


def _verdict(compound: float) -> Verdict:
    outcome = "positive" if compound >= _NEUTRAL else "negative" if compound <= -_NEUTRAL else "neutral"
    return Verdict(value=compound, outcome=outcome, toxicity=max(0.0, -compound))
