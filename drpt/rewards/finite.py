"""Checks that verdicts are finite: a NaN reward would turn the advantages of its whole group into NaN."""

import math
from collections.abc import Sequence

from drpt.errors import NonFiniteRewardError
from drpt.rewards.reward import Answer, Verdict

_SHOWN_ANSWERS = 2
_SHOWN_CHARACTERS = 60


def require_finite_verdicts(option: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> None:
    """Refuse verdicts whose value or toxicity is NaN or infinite.

    Args:
        option: Name of the term or judge in the configuration.
        answers: Judged answers.
        verdicts: Verdicts on the answers [answer].

    Raises:
        NonFiniteRewardError: Some verdicts are not finite; the message shows the first answers.
    """
    bad = [place for place, verdict in enumerate(verdicts) if not _is_finite(verdict)]
    if bad:
        shown = "; ".join(_shown(answers[place], verdicts[place]) for place in bad[:_SHOWN_ANSWERS])
        raise NonFiniteRewardError(
            f"{option} returns a value that is NaN or infinite for {len(bad)} of {len(answers)} answers: {shown}. A reward "
            "term must return a finite number for every text, including the empty one."
        )


def _is_finite(verdict: Verdict) -> bool:
    return math.isfinite(verdict.value) and (verdict.toxicity is None or math.isfinite(verdict.toxicity))


def _shown(answer: Answer, verdict: Verdict) -> str:
    prompt = answer.example.prompt[-1].content if answer.example.prompt else ""
    return f"{verdict.value} for {_cut(answer.text)} to {_cut(prompt)}"


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
