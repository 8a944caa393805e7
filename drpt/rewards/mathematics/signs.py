r"""One way to write a mathematical expression: the many signs of Unicode, LaTeX and plain text become few.

What comes out is LaTeX without layout: ``\dfrac`` is ``\frac``, U+2212 is ``-``, spaces of LaTeX are spaces, thousands marks
that a comma could be mistaken for are gone, and what stands in ``\text{…}`` and its like is in ``\text{…}``.
"""

import re
import unicodedata

CURRENCY = "¤"  # a dollar that is money, apart from the dollar that opens a formula
_MONEY = {"$": CURRENCY, "€": "\\text{euro}", "£": "\\text{pound}", "¥": "\\text{yen}", "₹": "\\text{rupee}"}

_CHARACTERS = {
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d", "-"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t", " "),
    **dict.fromkeys("\u200b\u2060\ufeff", ""),
    "×": "*",
    "·": "*",
    "⋅": "*",
    "∗": "*",
    "÷": "/",
    "⁄": "/",
    "∕": "/",
    "√": "\\sqrt ",
    "π": "\\pi ",
    "∞": "\\infty ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "≈": "\\approx ",
    "≃": "\\approx ",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∅": "\\emptyset ",
    "∈": "\\in ",
    "±": "\\pm ",
    "°": "^\\circ ",
    "％": "%",
    "，": ", ",
    "、": ", ",
    "；": ";",
    "（": "(",
    "）": ")",
    "’": "'",
    "′": "'",
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))

_FACTOR = r"(?=[-\d(\\]|[a-zA-Z](?![a-zA-Z])(?!\s+[a-zA-Z]{2}))"  # what follows a sign of arithmetic: 5 times x, not a day
# LaTeX for the same thing, in the order in which it is replaced.
_COMMANDS: tuple[tuple[str, str], ...] = (
    (r"\\(?:left|right|middle|bigl|bigr|Bigl|Bigr|biggl|biggr|big|Big|bigg|Bigg)(?![a-zA-Z])\s*\.?", ""),
    (r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|rm|bf|it|hfill|nobreak)(?![a-zA-Z])", " "),
    (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
    (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
    (r"\\(?:text(?:bf|it|rm|normal|sf|tt|up|md)?|mbox|mathrm|mathbf|mathit|mathsf|operatorname\*?)(?=\s*\{)\s*", r"\\text"),
    (r"\\boldsymbol\s*|\\bm(?=\{)|\\mathbf(?![a-zA-Z])", ""),
    (r"\{,\}|\\!\s*,|,\s*\\!\s*", ","),
    (r"(?<=\d)(?:\\[,;:! ]|~|\\thinspace(?![a-zA-Z])|(?<=\d)')(?=\d{3}(?!\d))", ""),
    (r"(?<!\\)\\[,;:! ]|~|\\(?:quad|qquad|thinspace|space|enspace|hspace\{[^{}]*\})(?![a-zA-Z])", " "),
    (r"\\!", ""),
    (r"\\(?:cdot|times|ast)(?![a-zA-Z])", "*"),
    (r"\\div(?![a-zA-Z])", "/"),
    (r"\\l?dots(?![a-zA-Z])|\\cdots(?![a-zA-Z])", "..."),
    (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le "),
    (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge "),
    (r"\\neq(?![a-zA-Z])", r"\\ne "),
    (r"\\(?:simeq|thickapprox|doteq)(?![a-zA-Z])", r"\\approx "),
    (r"\\lt(?![a-zA-Z])", "<"),
    (r"\\gt(?![a-zA-Z])", ">"),
    (r"\\lbrace(?![a-zA-Z])", r"\\{"),
    (r"\\rbrace(?![a-zA-Z])", r"\\}"),
    (r"\\(?:degree|degrees)(?![a-zA-Z])|\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])", r"^\\circ "),
    (r"\\text\{\s*(?:per\s?cent|percentage|pct|\\?%)\s*\}|\b(?:per\s?cent|percentage|pct)\b|\\%", "%"),
    (r"\\text\{\s*\}", ""),
    (r"\\text\{\s*(,?\s*(?:and|or)\s*,?|,)\s*\}|(?<![a-zA-Z]),?\s*\b(?:and|or)\b", ", "),
    (r"(?<![\\a-zA-Z])(?:infinity|inf)(?![a-zA-Z])", r"\\infty "),
    (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi "),
    (r"(?<![\\a-zA-Z])(sin|cos|tan|cot|log|ln|exp)(?=\s?\(|_\{?\d)", r"\\\1 "),
    (r"\*\*", "^"),
    (r"\\text\{\s*(squared|cubed|factorial|times|plus|minus|divided by)\s*\}", r" \1 "),
    (rf"(?<=[\w)}}])\s+times\s+{_FACTOR}", "*"),
    (rf"(?<=[\w)}}])\s+divided\s+by\s+{_FACTOR}", "/"),
    (rf"(?<=[\w)}}])\s+plus\s+{_FACTOR}", "+"),
    (rf"(?<=[\w)}}])\s+minus\s+{_FACTOR}", "-"),
    (r"(?<=[\w)}])\s+squared(?!\s*[a-zA-Z])", "^2"),
    (r"(?<=[\w)}])\s+cubed(?!\s*[a-zA-Z])", "^3"),
    (r"(?<=[\d)}])\s+factorial(?!\s*[a-zA-Z])", "!"),
)
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _COMMANDS)
_BOLD = re.compile(r"(?<![\w)*}])(\*\*|__)(?=\S)([^*\n]+?)(?<=\S)\1(?![\w({*])")
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,/^_{(a-zA-Z])([1-9]\d{0,2})((?: \d{3})+)(?![\d/])")
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\((.+?)\\\)|\\\[(.+?)\\\]|(?<![\\$])\$(?=\S)((?:\\\$|[^$\n])*?[^$\\])\$(?!\d)"
    r"|(?<![\\$])\$ ([^$\n]+) \$(?!\d)",
    re.DOTALL,
)
_BOXES = ("\\boxed", "\\fbox", "\\framebox")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
# Without braces: to the end of its formula, or one number or command.
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z{])[ \t]*(?=\S)(?!\{)")
_BARE_CONTENT = re.compile(r"[^$\n]*?(?=\$|\\\)|\\\])|-?\\?\$?[\w,./]*\w(?:\\?%)?|-?\\[a-zA-Z]+(?:\s*\w+|(?:\{[^{}]*\})*)")
_ROOT = re.compile(r"(?<![a-zA-Z])\\?sqrt\s*\(")
_SPACES = re.compile(r"\s+")


def plain_signs(text: str) -> str:
    """Replace signs of Unicode by those of ASCII or LaTeX, one by one; nothing else changes.

    Args:
        text: Any text.

    Returns:
        The text with minus signs, spaces, fractions, raised digits and the like in one form.
    """
    text = re.sub(f"[{''.join(_RAISED)}]+", lambda found: "^{" + "".join(_RAISED[sign] for sign in found[0]) + "}", text)
    text = re.sub(f"[{''.join(_LOWERED)}]+", lambda found: "_{" + "".join(_LOWERED[sign] for sign in found[0]) + "}", text)
    return "".join(_character(sign) for sign in text)


def _character(sign: str) -> str:
    if sign in _CHARACTERS:
        return _CHARACTERS[sign]
    if sign < "\u0080" or sign == CURRENCY:
        return sign
    if unicodedata.decomposition(sign).startswith("<fraction>"):  # ½, ¾, …: a space apart, so that 3½ is a mixed number
        over, under = unicodedata.normalize("NFKC", sign).split("\u2044")
        return f" {over}/{under}"
    digit = unicodedata.digit(sign, None)
    return sign if digit is None else str(digit)


def formula_spans(text: str) -> list[tuple[int, int, str]]:
    r"""Formulas between ``$…$``, ``$$…$$``, ``\(…\)`` and ``\[…\]``.

    A dollar before a space (but where both ends have one), or one before a digit at the other end, is money.

    Args:
        text: Any text.

    Returns:
        Begin, end and content of each, in order.
    """
    return [(found.start(), found.end(), next(part for part in found.groups() if part)) for found in _FORMULA.finditer(text)]


def last_box(text: str) -> tuple[int, int, str] | None:
    r"""The last ``\boxed{…}`` or ``\fbox{…}`` whose braces are balanced, or ``\boxed 18`` without any.

    Args:
        text: Any text.

    Returns:
        Begin, end and content; None where the last box does not end, or there is none.
    """
    start = max(text.rfind(box) for box in _BOXES)
    if start < 0:
        return None
    found = _BOX.match(text, start)
    if found is None:
        sign = _BARE_BOX.match(text, start)
        bare = sign and _BARE_CONTENT.match(text, sign.end())
        return (start, bare.end(), bare[0].strip()) if bare and bare[0].strip() else None
    end = closing(text, found.end() - 1)
    return None if end is None else (start, end + 1, text[found.end() : end])


def closing(text: str, start: int) -> int | None:
    """Where the brace that opens at ``start`` closes; None where it does not."""
    depth = 0
    for place in range(start, len(text)):
        if text[place] in "{}" and (place == 0 or text[place - 1] != "\\"):
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return place
    return None


def normal(text: str) -> str:
    """Bring an expression into the one form that is read.

    Args:
        text: An expression, with or without signs that open and close a formula; at most one sentence.

    Returns:
        The same in few signs, without what ends a sentence.
    """
    text = _BOLD.sub(r"\2", plain_signs(text).strip())
    text = text.replace("\\$", CURRENCY)
    text = _FORMULA.sub(lambda found: next(part for part in found.groups() if part), text)
    text = "".join(_MONEY.get(sign, sign) for sign in text)
    while (box := last_box(text)) is not None:  # a box around a part of it
        text = text[: box[0]] + box[2] + text[box[1] :]
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    text = _with_braces(text)
    text = _SPACES.sub(" ", text).strip()
    text = _SPACED_THOUSANDS.sub(lambda found: found[0].replace(" ", ""), text)
    return _unwrapped(re.sub(r"[\s.,;:]+$", "", text) if not text.endswith("...") else text)


def _with_braces(text: str) -> str:
    r"""``sqrt(2)`` as ``\sqrt{2}``."""
    while (root := _ROOT.search(text)) is not None:
        depth, place = 1, root.end()
        while place < len(text) and depth:
            depth += (text[place] == "(") - (text[place] == ")")
            place += 1
        inner = text[root.end() : place - 1] if depth == 0 else text[root.end() :]
        text = f"{text[: root.start()]}\\sqrt{{{inner}}}{text[place:]}"
    return text


def _unwrapped(text: str) -> str:
    """Without braces around the whole."""
    while text.startswith("{") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text
