"""Whether an answer is offensive, by a small classifier that needs no network: alt-profanity-check's.

A linear support vector machine on words, calibrated, trained on 200,000 English texts that people labelled (Zhou 2019). It
knows words, not what is meant by them. Its two files are joblib's, which can run code when they are loaded: they come from
the package alone and are trusted by its name and version, which pyproject.toml fixes.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec

from drpt.checks import check_choice
from drpt.rewards.categories import limits_of
from drpt.rewards.reward import Answer, Verdict

MEASURES = {
    "probability": "that the answer is inoffensive, in [0, 1]",
    "logit": "of that probability, in [-10, 10]",
}
_MAX_LOGIT = 10.0  # a probability of 1 is rounded, not certain


class OffensiveReward:
    """High where the answer is inoffensive; toxicity is the probability that it is offensive.

    Of the answer alone, English. A text without a word that the classifier knows, such as the empty one, is rather
    inoffensive (0.96).

    Args:
        measure: A key of `MEASURES`.

    Raises:
        ValueError: ``measure`` is not known, or alt-profanity-check is not installed.
    """

    def __init__(self, *, measure: str) -> None:
        check_choice("measure", measure, MEASURES)
        if find_spec("profanity_check") is None:
            raise ValueError("alt-profanity-check is not installed, which finds offensive language: run `make install`.")
        self._measure = measure

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        if not answers:  # scikit-learn refuses none
            return []
        # Here and not above: with it comes scikit-learn, a matter of seconds.
        from profanity_check import predict_prob

        return [self._verdict(float(probability)) for probability in predict_prob([answer.text for answer in answers])]

    def limits(self) -> list[str]:
        """What it does not see, as measured; see `drpt.rewards.categories`."""
        return limits_of("offensive")

    def _verdict(self, offensive: float) -> Verdict:
        value = 1 - offensive if self._measure == "probability" else -_logit(offensive)
        return Verdict(value=value, outcome="offensive" if offensive > 0.5 else "inoffensive", toxicity=offensive)


def _logit(probability: float) -> float:
    if probability <= 0 or probability >= 1:
        return math.copysign(_MAX_LOGIT, probability - 0.5)
    return max(-_MAX_LOGIT, min(_MAX_LOGIT, math.log(probability / (1 - probability))))
