r"""Finds the final answer in a text; the same rules apply to references and answers.

The first of these that exists is the answer:

1. the last ``\boxed{…}`` or ``\fbox{…}``, with a following percent sign or word such as "million". Several boxes separated only
   by commas or "and" are a list; boxes that repeat one value without a comma are that value;
2. the text after ``####`` in the last line;
3. the whole text, if it is one expression;
4. the text after the last "answer is" or "answer:", up to the end of the sentence, or else the first expression there;
5. the last formula or number of the text, or the last side of an equation.

A model's reasoning (``<think>…</think>``) is skipped if an answer follows.

A "!" after a number is a factorial in a box, after ``####``, in a formula, in a text that is one expression (``5!``), and where
its sentence continues or ends with another mark (``5! = 120``, ``5! ways``, ``5!.``). At the end of a sentence in words it is
an exclamation mark ("The answer is 8!" means 8), and so it is after a formula or bold print: ``$8$!`` and ``**8**!`` mean 8.
"""

import re
from itertools import pairwise

from drpt.rewards.mathematics.equality import equal
from drpt.rewards.mathematics.quantities import MULTIPLE, PART
from drpt.rewards.mathematics.reading import read
from drpt.rewards.mathematics.signs import formula_spans, last_box, plain_signs
from drpt.rewards.mathematics.values import Value

_FINAL = re.compile(r"####[ \t]*([^\n]+?)\s*\Z")  # GSM8K's mark of the final answer
_ANCHOR = re.compile(
    r"(?:answers?|solutions?|results?)(?:\s+(?:to|of)\b[^.:\n]{0,60}?)?\s*(?:is|are|was|be|=|:)+\s*:?\s*", re.I
)
_SENTENCE = re.compile(r"\.(?:\s|\Z)|\n|\Z")
_EXCLAMATION = re.compile(r"(?<=[\w)}$*%])!+(?=[\"'*_)\]]*(?:\s*\Z|\s*\n|\s+[A-Z]))")
_OUTSIDE = re.compile(r"(?:(?<=\$)|(?<=\\\))|(?<=\*\*))!+\s*\Z")  # an exclamation mark after a formula or bold print
_FACTOR = rf"\\?%|percent\b|pct\b|(?i:{MULTIPLE}|{PART})"  # words and signs that scale the number before them
_BEHIND_BOX = re.compile(rf"\s*(?:\$|\\\))?\s*((?:{_FACTOR})|\\text\{{\s*(?:{_FACTOR})\s*\}})")
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;.&]|\\[()\[\],; ]|\\q?quad|and|or|\\text\{\s*,?\s*(?:and|or)?\s*,?\s*\})*")
_IS = re.compile(r".*(?:\b(?:is|are|equals|be)\b|:)\s*")
_ROOT = r"(?:\\pi(?![a-zA-Z])|\\sqrt\s*(?:\{\d+\}|\d+))"  # or pi
_NUMBER = re.compile(
    r"(?<![\w.,\\^{])[-+]?(?:\\?[$€£])?\s?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+ \d+/\d+|\d+(?:\.\d+)?|\.\d+)"
    rf"(?:[eE][-+]?\d+(?!\w))?!?|{_ROOT})(?:\s*{_ROOT})*"
    rf"(?:\s*(?:[-+*/^×÷·=]{{1,2}}|\\approx)\s*\(?-?\(?(?:\d+(?:\.\d+)?|\.\d+|{_ROOT})\)?!?(?:\s*{_ROOT})*)*"
    rf"(?:\s+(?:squared|cubed)(?![a-zA-Z]))?(?:\s*(?:{_FACTOR}))*"
)
# Text after a number that is rejected or is part of another number: 5 is wrong, 5 less than, 5 and a half, 5k, 5', 5_2, and
# 7^{7^7}, which is too large to compute.
_NOT_THE_NUMBER = re.compile(
    r"\s*(?:\\text\s*\{\s*)?(?:(?:is|are)\s+(?:wrong|incorrect|false|not)\b|times\s+as\b|(?:less|more|fewer|greater)\s+than\b"
    r"|and\s+a\s+(?:half|third|quarter)\b|(?:score|gross|mil|[kK])(?![a-zA-Z]))|_|\)*\s*(?:\^|\*\*)|'(?![a-zA-Z])"
)
_THOUGHT = re.compile(r".*</think(?:ing)?>", re.DOTALL)
_COMMAND = re.compile(r"\\(?:text|mathrm|mbox)[a-z]*\s*\{[^{}]*\}|\\[a-zA-Z]+|(?<=\d)'")
_TOO_LARGE = re.compile(r"(?=.*[!^])[-\d\s.,^*/+(){}!]+")  # powers and factorials of numbers, too large to compute
_MAX_WHOLE = 400  # largest number of characters of a text that is tried as one expression
_MAX_SENTENCE = 400
_MAX_TEXT = 20_000  # number of characters at the end of a text that are searched for an answer


def find_answer(text: str, *, requires_box: bool) -> tuple[Value, str] | None:
    r"""Find and read the answer of a text.

    Args:
        text: Any text.
        requires_box: Whether only an answer in a box counts.

    Returns:
        The value and the expression from which it was read; None if there is no answer.
    """
    text = _after_thought(plain_signs(text[-_MAX_TEXT:]))
    boxes = _boxes(text)
    if boxes:
        return _of_boxes(boxes, text)
    if requires_box or has_open_box(text):
        return None
    final = _FINAL.search(text)
    if final:
        return _value(final[1], is_marked=True)
    whole = _OUTSIDE.sub("", text.strip())
    if len(whole) <= _MAX_WHOLE and "\n" not in whole and (found := _value(whole, is_marked=_is_formula(whole))):
        return found
    if len(whole) <= _MAX_WHOLE and _is_broken_expression(whole):
        return None
    text = _without_exclamations(text.replace("{,}", ","))
    return _after_anchor(text) or _last(text)


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of the last box, and of preceding boxes that are separated only by commas or "and"."""
    box = last_box(text)
    if box is None:
        return []
    behind = _BEHIND_BOX.match(text, box[1])
    boxes = [(box[0], box[1], f"{box[2]} {behind[1]}" if behind else box[2])]
    while (before := last_box(text[: box[0]])) is not None and _BETWEEN_BOXES.fullmatch(text[before[1] : box[0]]):
        boxes.insert(0, before)
        box = before
    return boxes


def _of_boxes(boxes: list[tuple[int, int, str]], text: str) -> tuple[Value, str] | None:
    last = _value(boxes[-1][2], is_marked=True)
    between = "".join(text[end:start] for (_, end, _), (start, _, _) in pairwise(boxes))
    if last is None or len(boxes) == 1:
        return last if len(boxes) == 1 else None
    if not re.search(r"[,;]|and|or", between):  # the same answer repeated
        values = [read(content, is_marked=True) for _, _, content in boxes]
        if all(value is not None and equal(value, last[0]) for value in values):
            return last
    return _value(" ; ".join(content for _, _, content in boxes), is_marked=True)


def has_open_box(text: str) -> bool:
    """Whether the last box is not closed, so that the answer was cut off."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    return start >= 0 and last_box(text) is None


def _after_thought(text: str) -> str:
    rest = _THOUGHT.sub("", text)
    return rest if rest.strip() else text


def _without_exclamations(text: str) -> str:
    """Replace exclamation marks outside formulas by full stops."""
    spans = formula_spans(text)
    return _EXCLAMATION.sub(lambda mark: mark[0] if any(a <= mark.start() < b for a, b, _ in spans) else ".", text)


def _value(text: str, *, is_marked: bool) -> tuple[Value, str] | None:
    value = read(text, is_marked=is_marked)
    return None if value is None else (value, text)


def _after_anchor(text: str) -> tuple[Value, str] | None:
    anchor = next(reversed([*_ANCHOR.finditer(text)]), None)
    if anchor is None:
        return None
    start = anchor.end()
    ends = (end.start() for end in _SENTENCE.finditer(text, start))
    end = next((end for end in ends if text.count("{", start, end) <= text.count("}", start, end)), len(text))
    sentence = text[start:end].strip()  # \text{Mr. Smith} is one sentence
    if len(sentence) <= _MAX_SENTENCE:
        for words in (sentence, _IS.sub("", sentence)):  # The largest n is 34
            if found := _value(words, is_marked=_is_formula(words)):
                return found
    expressions = _expressions(text[start : start + 4 * _MAX_SENTENCE])
    return next((found for one, is_formula in expressions if (found := _value(one, is_marked=is_formula))), None)


def _last(text: str) -> tuple[Value, str] | None:
    expressions = _expressions(text[-20 * _MAX_SENTENCE :])
    found = (_value(expression, is_marked=is_formula) for expression, is_formula in reversed(expressions))
    return next((one for one in found if one is not None), None)


def _is_formula(text: str) -> bool:
    """Whether a text is one formula in delimiters, so that letters in it are variables."""
    spans = formula_spans(text)
    return len(spans) == 1 and not (text[: spans[0][0]] + text[spans[0][1] :]).strip(" .")


def _is_broken_expression(text: str) -> bool:
    r"""Whether an unreadable text has no words (``20000!``, ``\langle 1, 2 \rangle``), so its last number is not the answer."""
    if _TOO_LARGE.fullmatch(text):
        return True
    if "\n" in text or "=" in text or not _COMMAND.search(text):
        return False
    return not formula_spans(text) and re.search(r"[a-zA-Z]{2}", _COMMAND.sub(" ", text)) is None


def _expressions(text: str) -> list[tuple[str, bool]]:
    """Formulas and the numbers outside them, in order, each with whether it is a formula."""
    formulas = formula_spans(text)
    found = [(start, content, True) for start, _, content in formulas]
    place = 0
    for start, end, _ in [*formulas, (len(text), len(text), "")]:
        numbers = [number for number in _NUMBER.finditer(text[:start], place) if _is_meant(number, text)]
        found += [(number.start(), _last_side(number[0]), False) for number in numbers]
        place = end
    return [(content, is_formula) for _, content, is_formula in sorted(found)]


def _is_meant(number: re.Match[str], text: str) -> bool:
    is_quoted = text[: number.start()].endswith("'") and text[number.end() :].startswith("'")
    return is_quoted or _NOT_THE_NUMBER.match(text, number.end()) is None


def _last_side(number: str) -> str:
    """The last side of an equation with roots; other equations are checked as a whole."""
    return (number.rpartition("=")[2] if "\\" in number else number).strip()
