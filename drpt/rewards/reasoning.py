"""reasoning-gym's own scorers, for examples of its task families.

Source: reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760).
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from drpt.checks import check_choice
from drpt.data.reasoning import RUNS_ANSWERS, families
from drpt.rewards.reward import Answer, Verdict

EXTRACTIONS = {
    "whole": "the whole text",
    "last_line": "its last line that is not empty",
    "answer_tag": "what stands between the last <answer> and </answer>; without them nothing",
}
_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class ReasoningReward:
    """The family's score in [0, 1], or full marks alone.

    Args:
        partial: Whether partial credit counts. Most families give the share that the right answer has of the text that
            contains it, so that shorter answers score higher; else a score below 1 is 0.
        extract: A key of `EXTRACTIONS`: what of the text is the answer.

    Raises:
        ValueError: ``extract`` is not known.
    """

    needs_reference = True

    def __init__(self, *, partial: bool, extract: str) -> None:
        check_choice("extract", extract, EXTRACTIONS)
        self._partial = partial
        self._extract = extract

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`.

        Args:
            answers: In any number and order.

        Returns:
            One verdict an answer.

        Raises:
            ValueError: An example is not of reasoning-gym, or of a family whose scorer runs answers as code.
        """
        return [self._judge(answer) for answer in answers]

    def _judge(self, answer: Answer) -> Verdict:
        scorer = _scorer(answer.example.source, is_generated="answer" in answer.example.payload)
        text = self._answer_in(answer.text)
        if text is None:
            return Verdict(value=0.0, outcome="no_answer", is_correct=False)
        try:
            score = float(scorer(answer=text, entry=dict(answer.example.payload)))
        except Exception:  # scorers parse what they are given, and raise whatever comes of that
            return Verdict(value=0.0, outcome="unparsable", is_correct=False)
        if score >= 1.0:
            return Verdict(value=1.0, outcome="correct", is_correct=True)
        outcome = "partial" if score > 0 else "wrong"
        return Verdict(value=max(0.0, score) if self._partial else 0.0, outcome=outcome, is_correct=False)

    def _answer_in(self, text: str) -> str | None:
        if self._extract == "answer_tag":
            found = _TAG.findall(text)
            return found[-1].strip() if found else None
        if self._extract == "last_line":
            lines = [line for line in text.splitlines() if line.strip()]
            return lines[-1].strip() if lines else None
        return text.strip()


@lru_cache(maxsize=256)
def _scorer(family: str, *, is_generated: bool) -> Callable[..., Any]:
    if family in RUNS_ANSWERS:
        raise ValueError(
            f"{family}: reasoning-gym's scorer of this family runs answers as Python code, and a model's answers are not to be "
            "run. Take it out of data.source.general."
        )
    if not is_generated or family not in families():
        raise ValueError(
            f"{family}: not a task family of reasoning-gym, whose scorers this reward asks. Take reward=math or reward=exact, "
            "or data=reasoning."
        )
    import reasoning_gym

    scorer: Callable[..., Any] = reasoning_gym.get_score_answer_fn(family)
    return scorer
