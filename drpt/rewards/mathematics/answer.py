r"""Where in a text the answer stands; references and answers are found by the same rules.

In this order: the last ``\boxed{…}`` or ``\fbox{…}`` (with the percent sign behind it; several with nothing but commas or
"and" between them are a list); what follows ``####`` in the last line; a text that is an expression as a whole; what follows
the last "answer is" or "answer:", to the end of its sentence or else the first expression there; the last formula or number
of the text, of an equation its last side. What a model thinks (``<think>…</think>``) is passed over where an answer follows.
"""

import re

from drpt.rewards.mathematics.signs import formula_spans, last_box, plain_signs
from drpt.rewards.mathematics.values import Value, read

_FINAL = re.compile(r"####[ \t]*([^\n]+?)\s*\Z")  # GSM8K's mark of the final answer
_ANCHOR = re.compile(
    r"(?:answers?|solutions?|results?)(?:\s+(?:to|of)\b[^.:\n]{0,60}?)?\s*(?:is|are|was|be|=|:)+\s*:?\s*", re.I
)
_SENTENCE = re.compile(r"(?:\.(?:\s|\Z)|\n|\Z)")
_BEHIND_BOX = re.compile(r"\s*\$?\s*(\\?%|percent\b|pct\b|\\text\{\s*(?:percent|pct|\\?%)\s*\})")
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;.&]|\\[()\[\],; ]|\\q?quad|and|or|\\text\{\s*,?\s*(?:and|or)?\s*,?\s*\})*")
_IS = re.compile(r".*(?:\b(?:is|are|equals|be)\b|:)\s*")
_NUMBER = re.compile(
    r"(?<![\w.,\\^{])[-+]?(?:\\?[$€£])?\s?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+ \d+/\d+|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+(?!\w))?!?(?:\s*[-+*/^×÷·=]{1,2}\s*\(?-?\(?(?:\d+(?:\.\d+)?|\.\d+)\)?!?)*(?:\s*(?:\\?%|percent\b|pct\b))?"
)
_THOUGHT = re.compile(r".*</think(?:ing)?>", re.DOTALL)
_MAX_WHOLE = 400  # characters of a text that may be an expression as a whole
_MAX_SENTENCE = 400
_MAX_TEXT = 20_000  # characters at the end of a text, where an answer is looked for


def find_answer(text: str, *, requires_box: bool) -> tuple[Value, str] | None:
    r"""Find and read the answer of a text.

    Args:
        text: Any text.
        requires_box: Whether only a box counts.

    Returns:
        The value and the expression that it was read from; None without one.
    """
    text = _after_thought(plain_signs(text[-_MAX_TEXT:]))
    box = _boxed(text)
    if box is not None:
        return _value(box, is_marked=True)
    if requires_box or has_open_box(text):
        return None
    final = _FINAL.search(text)
    if final:
        return _value(final[1], is_marked=True)
    whole = text.strip()
    if len(whole) <= _MAX_WHOLE and "\n" not in whole and (found := _value(whole, is_marked=_is_formula(whole))):
        return found
    return _after_anchor(text) or _last(text)


def _boxed(text: str) -> str | None:
    """What the last box holds; several with nothing between them but commas and "and" are a list."""
    box = last_box(text)
    if box is None:
        return None
    behind = _BEHIND_BOX.match(text, box[1])
    contents = [f"{box[2]} {behind[1]}" if behind else box[2]]
    while (before := last_box(text[: box[0]])) is not None and _BETWEEN_BOXES.fullmatch(text[before[1] : box[0]]):
        contents.insert(0, before[2])
        box = before
    return contents[0] if len(contents) == 1 else " ; ".join(contents)


def has_open_box(text: str) -> bool:
    """Whether the last box does not end: the answer was cut off in it."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    return start >= 0 and last_box(text) is None


def _after_thought(text: str) -> str:
    rest = _THOUGHT.sub("", text)
    return rest if rest.strip() else text


def _value(text: str, *, is_marked: bool) -> tuple[Value, str] | None:
    value = read(text, is_marked=is_marked)
    return None if value is None else (value, text)


def _after_anchor(text: str) -> tuple[Value, str] | None:
    anchor = next(reversed([*_ANCHOR.finditer(text)]), None)
    if anchor is None:
        return None
    start = anchor.end()
    end = _SENTENCE.search(text, start)
    assert end is not None
    sentence = text[start : end.start()].strip()
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
    """Whether a text is one formula between its signs: letters in it are no prose."""
    spans = formula_spans(text)
    return len(spans) == 1 and not (text[: spans[0][0]] + text[spans[0][1] :]).strip(" .")


def _expressions(text: str) -> list[tuple[str, bool]]:
    """Formulas, and numbers outside of them, in order; and which they are."""
    formulas = formula_spans(text)
    found = [(start, content, True) for start, _, content in formulas]
    place = 0
    for start, end, _ in [*formulas, (len(text), len(text), "")]:
        found += [(number.start(), number[0].strip(), False) for number in _NUMBER.finditer(text[:start], place)]
        place = end
    return [(content, is_formula) for _, content, is_formula in sorted(found)]
