"""A reward by reasoning-gym's own scorers, for examples of its task families.

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
    "last_line": "the last line that is not empty",
    "answer_tag": "the text between the last <answer> and </answer>; no answer without these tags",
}
_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class ReasoningReward:
    """Score of the family's scorer in [0, 1], with or without partial credit.

    The scorers run in a separate process, with three seconds per answer, under the rules of `drpt.data.reasoning_rules`.

    Args:
        partial: Whether partial credit counts, mostly for a correct answer within a short text; otherwise scores below 1 are
            set to 0.
        extract: Part of the text that is taken as the answer, a key of `EXTRACTIONS`.

    Raises:
        ValueError: ``extract`` is unknown.
    """

    needs_reference = True
    unreadable = "error"  # see `drpt.rewards.references`; the source already leaves out items without an answer

    def __init__(self, *, partial: bool, extract: str) -> None:
        check_choice("extract", extract, EXTRACTIONS)
        self._partial = partial
        self._extract = extract
        self._scores = shared_scores()

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Judge answers; raises ValueError for examples that are not of reasoning-gym or whose family cannot be scored."""
        return [self._judge(answer) for answer in answers]

    def faults(self, examples: Sequence[Example]) -> list[str | None]:
        """See `drpt.rewards.references.ChecksReferences.faults`."""
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
            f"{family}: not a task family of reasoning-gym, whose scorers this reward uses. Choose reward=math or "
            "reward=exact, or data=reasoning."
        )
