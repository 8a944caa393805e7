"""reasoning-gym's own scorers, for examples of its task families.

Source: reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760).
"""

import re
from collections.abc import Sequence

from drpt.checks import check_choice
from drpt.data.example import Example
from drpt.data.reasoning import families
from drpt.data.reasoning_rules import REFUSED
from drpt.data.reasoning_scores import shared_scores
from drpt.rewards.reward import Answer, Verdict

EXTRACTIONS = {
    "whole": "the whole text",
    "last_line": "its last line that is not empty",
    "answer_tag": "what stands between the last <answer> and </answer>; without them nothing",
}
_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class ReasoningReward:
    """The family's score in [0, 1], or full marks alone.

    The scorers run in a process of their own, within three seconds an answer, and under the rules of
    `drpt.data.reasoning_rules`.

    Args:
        partial: Whether partial credit counts; else a score below 1 is 0. Most of it is the share that the right answer has
            of a short text around it.
        extract: A key of `EXTRACTIONS`: what of the text is the answer.

    Raises:
        ValueError: ``extract`` is not known.
    """

    needs_reference = True
    unreadable = "error"  # see `drpt.rewards.references`; the source leaves out items without an answer

    def __init__(self, *, partial: bool, extract: str) -> None:
        check_choice("extract", extract, EXTRACTIONS)
        self._partial = partial
        self._extract = extract
        self._scores = shared_scores()

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

    def faults(self, examples: Sequence[Example]) -> list[str | None]:
        """See `drpt.rewards.references.ChecksReferences`.

        Args:
            examples: Examples with reference responses.

        Returns:
            What is wrong with each reference, as a sentence; None where nothing is.
        """
        return [self._fault(example) for example in examples]

    def _fault(self, example: Example) -> str | None:
        try:
            _require_scorer(example.source, is_generated="answer" in example.payload)
        except ValueError as error:
            return str(error)
        score = self._scores.score(example.source, example.payload, example.response.strip())
        return None if score == 1.0 else f"the stored answer {example.response[-80:]!r} does not get full marks ({score})."

    def _judge(self, answer: Answer) -> Verdict:
        example = answer.example
        _require_scorer(example.source, is_generated="answer" in example.payload)
        text = self._answer_in(answer.text)
        if text is None:
            return Verdict(value=0.0, outcome="no_answer", is_correct=False)
        score = self._scores.score(example.source, example.payload, text)
        if isinstance(score, str):
            return Verdict(value=0.0, outcome=score, is_correct=False)
        if score == 1.0:
            return Verdict(value=1.0, outcome="correct", is_correct=True)
        outcome = "partial" if score > 0 else "wrong"
        return Verdict(value=score if self._partial else 0.0, outcome=outcome, is_correct=False)

    def _answer_in(self, text: str) -> str | None:
        if self._extract == "answer_tag":
            found = _TAG.findall(text)
            return found[-1].strip() if found else None
        if self._extract == "last_line":
            lines = [line for line in text.splitlines() if line.strip()]
            return lines[-1].strip() if lines else None
        return text.strip()


def _require_scorer(family: str, *, is_generated: bool) -> None:
    if family in REFUSED:
        raise ValueError(f"{family}: {REFUSED[family]}. Take it out of data.source.general.")
    if not is_generated or family not in families():
        raise ValueError(
            f"{family}: not a task family of reasoning-gym, whose scorers this reward asks. Take reward=math or reward=exact, "
            "or data=reasoning."
        )
