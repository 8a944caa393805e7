r"""Normalises mathematical notation of Unicode, LaTeX and plain text, and finds formulas and boxes in texts.

The result is LaTeX without layout: ``\dfrac`` becomes ``\frac``, U+2212 becomes ``-``, LaTeX spaces become spaces, thousands
separators that could be taken for list commas are removed, and all text commands become ``\text{…}``.
"""

import re
import unicodedata

CURRENCY = "¤"  # stands for a dollar sign that means money and does not open a formula
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

_FACTOR = r"(?=[-\d(\\]|[a-zA-Z](?![a-zA-Z])(?!\s+[a-zA-Z]{2}))"  # operand after an operator word: 5 times x, not 5 times a day
# Replacements for equivalent notation, in the order in which they are applied.
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
# A box without braces extends to the end of its formula, or over one number or command.
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z{])[ \t]*(?=\S)(?!\{)")
_BARE_CONTENT = re.compile(r"[^$\n]*?(?=\$|\\\)|\\\])|-?\\?\$?[\w,./]*\w(?:\\?%)?|-?\\[a-zA-Z]+(?:\s*\w+|(?:\{[^{}]*\})*)")
_ROOT = re.compile(r"(?<![a-zA-Z])\\?sqrt\s*\(")
_SPACES = re.compile(r"\s+")


def plain_signs(text: str) -> str:
    """Replace Unicode characters by ASCII or LaTeX, one by one; nothing else changes.

    Args:
        text: Any text.

    Returns:
        Text with minus signs, spaces, fractions, superscripts and the like in one form.
    """
    text = re.sub(f"[{''.join(_RAISED)}]+", lambda found: "^{" + "".join(_RAISED[sign] for sign in found[0]) + "}", text)
    text = re.sub(f"[{''.join(_LOWERED)}]+", lambda found: "_{" + "".join(_LOWERED[sign] for sign in found[0]) + "}", text)
    return "".join(_character(sign) for sign in text)


def _character(sign: str) -> str:
    if sign in _CHARACTERS:
        return _CHARACTERS[sign]
    if sign < "\u0080" or sign == CURRENCY:
        return sign
    if unicodedata.decomposition(sign).startswith("<fraction>"):  # ½, ¾, …: the space makes 3½ a mixed number
        over, under = unicodedata.normalize("NFKC", sign).split("\u2044")
        return f" {over}/{under}"
    digit = unicodedata.digit(sign, None)
    return sign if digit is None else str(digit)


def formula_spans(text: str) -> list[tuple[int, int, str]]:
    r"""Find formulas in ``$…$``, ``$$…$$``, ``\(…\)`` and ``\[…\]``.

    A dollar sign means money if a space follows it (unless both ends have one), or if a digit follows the closing one.

    Args:
        text: Any text.

    Returns:
        Start, end and content of each formula, in order.
    """
    return [(found.start(), found.end(), next(part for part in found.groups() if part)) for found in _FORMULA.finditer(text)]


def last_box(text: str) -> tuple[int, int, str] | None:
    r"""Find the last ``\boxed{…}`` or ``\fbox{…}``, or ``\boxed 18`` without braces.

    Args:
        text: Any text.

    Returns:
        Start, end and content of the box; None if there is none, or the last one is not closed.
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
    """Position of the brace that closes the one at ``start``; None if it is not closed."""
    depth = 0
    for place in range(start, len(text)):
        if text[place] in "{}" and (place == 0 or text[place - 1] != "\\"):
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return place
    return None


def normal(text: str) -> str:
    """Normalise an expression.

    Args:
        text: Expression of at most one sentence, with or without formula delimiters.

    Returns:
        The expression in normalised notation, without final punctuation.
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
    r"""Replace ``sqrt(2)`` by ``\sqrt{2}``."""
    while (root := _ROOT.search(text)) is not None:
        depth, place = 1, root.end()
        while place < len(text) and depth:
            depth += (text[place] == "(") - (text[place] == ")")
            place += 1
        inner = text[root.end() : place - 1] if depth == 0 else text[root.end() :]
        text = f"{text[: root.start()]}\\sqrt{{{inner}}}{text[place:]}"
    return text


def _unwrapped(text: str) -> str:
    """Remove braces around the whole expression."""
    while text.startswith("{") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text
