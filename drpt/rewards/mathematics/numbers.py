r"""Evaluates expressions of rational numbers exactly, without floating point.

Supported are sums, products, quotients, powers, factorials, ``\frac``, ``\binom``, mixed numbers (``3 1/2``, ``3\frac{1}{2}``),
scientific notation (``1e3``) and repeating decimals (``0.\overline{3}``). The size of results is bounded, and so is the time.
"""

import math
import re
from collections.abc import Callable
from fractions import Fraction

_MAX_BITS = 200_000  # bits of a numerator or denominator, 60,000 digits; 2006! has 19,000 bits
_MAX_FACTORIAL = 10_000
_MAX_DIGITS = 4_000  # digits of a written number; Python itself refuses 4,300
_MAX_DEPTH = 60  # depth of nested brackets

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d*\.\d*\\overline\s*\{\d+\}|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,9}(?![\d.]))?)"
    r"|(?P<command>\\frac|\\binom)(?![a-zA-Z])|(?P<sign>!!|[-+*/^!(){}]))"
)
_REPEATED = re.compile(r"(\d*)\.(\d*)\\overline\s*\{(\d+)\}")


class NotANumberError(ValueError):
    """An expression is not a rational number."""


class TooLargeError(ValueError):
    """A rational number exceeds the bounds, so that sympy must not compute it either."""


def number_of(text: str) -> Fraction:
    """Compute an expression of rational numbers.

    Args:
        text: Expression in the form returned by `drpt.rewards.mathematics.signs.normal`.

    Returns:
        Exact value of the expression.

    Raises:
        NotANumberError: The text is something else, or divides by zero.
        TooLargeError: A number exceeds the bounds.
    """
    reader = _Reader(_tokens(text))
    value = reader.sum()
    reader.require_end()
    return value


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    text = text.strip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise NotANumberError(f"{text[place : place + 20]!r} is no part of a number")
        tokens.append(found[0].strip())
        place = found.end()
    if not tokens:
        raise NotANumberError("nothing")
    return tokens


def decimal(text: str) -> Fraction:
    r"""Value of a written number: ``1.50``, ``.5``, ``1e-3``, ``0.1\overline{6}``.

    Args:
        text: Digits, optionally with a decimal point, a repeating part and an exponent.

    Returns:
        Exact value of the number.

    Raises:
        TooLargeError: The number has too many digits, or its exponent is too large.
    """
    if len(text) > _MAX_DIGITS:
        raise TooLargeError(f"a number of {len(text)} characters")
    repeated = _REPEATED.fullmatch(text)
    if repeated:
        whole, fixed, cycle = repeated.groups()
        ones = Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(fixed))
        return Fraction(int(whole + fixed or "0"), 10 ** len(fixed)) + ones
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    return _bounded(value * _power(Fraction(10), int(exponent))) if exponent else value


class _Reader:
    """Recursive-descent parser over tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def require_end(self) -> None:
        if self._place < len(self._tokens):
            raise NotANumberError(f"{self._tokens[self._place]!r} is left over")

    def sum(self) -> Fraction:
        value = self._product()
        while self._next in {"+", "-"}:
            is_plus = self._take() == "+"
            other = self._product()
            value = _bounded(value + other if is_plus else value - other)
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while True:
            if self._next in {"*", "/"}:
                is_product = self._take() == "*"
                other = self._signed()
                value = _bounded(value * other) if is_product else _quotient(value, other)
            elif self._next in {"(", "{", "\\frac", "\\binom"}:  # 2(3)
                value = _bounded(value * self._power())
            else:
                return value

    def _signed(self) -> Fraction:
        if self._next in {"+", "-"}:
            with_minus = self._take() == "-"
            value = self._descended(self._signed)
            return -value if with_minus else value
        return self._power()

    def _power(self) -> Fraction:
        base = self._postfixed()
        if self._next == "^":
            self._take()
            exponent = self._descended(self._signed)  # to the right first: 2^3^2 = 2^9
            if exponent.denominator != 1:
                raise NotANumberError("a root")
            return _power(base, exponent.numerator)
        return base

    def _postfixed(self) -> Fraction:
        value = self._atom()
        while self._next in {"!", "!!"}:
            value = _factorial(value, step=len(self._take()))
        return value

    def _atom(self) -> Fraction:
        token = self._take()
        if token in {"(", "{"}:
            value = self._descended(self.sum)
            self._require(")" if token == "(" else "}")
            return value
        if token == "\\frac":
            over, under = self._argument(), self._argument()
            return _quotient(over, under)
        if token == "\\binom":
            return _binomial(self._argument(), self._argument())
        if not (token[0].isdigit() or token[0] == "."):
            raise NotANumberError(f"{token!r} where a number should be")
        value = decimal(token)
        return value + self._proper_fraction() if token.isdigit() else value

    def _proper_fraction(self) -> Fraction:
        """Fraction after the whole part of a mixed number; 0 if there is none."""
        rest = self._tokens[self._place : self._place + 3]
        if len(rest) == 3 and rest[0].isdigit() and rest[1] == "/" and rest[2].isdigit():
            self._place += 3
            over, under = int(rest[0]), int(rest[2])
        elif rest[:1] == ["\\frac"]:
            start = self._place
            self._take()
            first, second = self._argument(), self._argument()
            if first.denominator != 1 or second.denominator != 1 or not 0 <= first < second or self._next == "^":
                self._place = start  # a product, not a mixed number
                return Fraction(0)
            over, under = first.numerator, second.numerator
        else:
            return Fraction(0)
        if not 0 < over < under:
            raise NotANumberError("two numbers side by side")
        return Fraction(over, under)

    def _argument(self) -> Fraction:
        r"""Argument of ``\frac``: a group in braces, or one digit."""
        if self._next == "{":
            return self._atom()
        token = self._take()
        if not token.isdigit():
            raise NotANumberError(f"{token!r} is no argument")
        if len(token) > 1:  # \frac12: each digit is one argument
            self._tokens.insert(self._place, token[1:])
        return Fraction(int(token[0]))

    def _descended(self, read: Callable[[], Fraction]) -> Fraction:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TooLargeError("too many brackets")
        value = read()
        self._depth -= 1
        return value

    @property
    def _next(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _take(self) -> str:
        if self._place == len(self._tokens):
            raise NotANumberError("the end, where a number should be")
        self._place += 1
        return self._tokens[self._place - 1]

    def _require(self, token: str) -> None:
        if self._take() != token:
            raise NotANumberError(f"no {token}")


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise TooLargeError("a number beyond the bounds")
    return value


def _quotient(over: Fraction, under: Fraction) -> Fraction:
    if under == 0:
        raise NotANumberError("a division by zero")
    return _bounded(over / under)


def _power(base: Fraction, exponent: int) -> Fraction:
    if base == 0 and exponent <= 0:
        raise NotANumberError("a power of zero that is none")
    if base in {0, 1}:
        return base
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * size > _MAX_BITS:
        raise TooLargeError("a power beyond the bounds")
    return Fraction(base**exponent)


def _factorial(value: Fraction, *, step: int) -> Fraction:
    if value.denominator != 1 or value < 0:
        raise NotANumberError("a factorial of no whole number")
    if value > _MAX_FACTORIAL:
        raise TooLargeError("a factorial beyond the bounds")
    number = value.numerator
    return Fraction(math.factorial(number) if step == 1 else math.prod(range(number, 0, -step)))


def _binomial(over: Fraction, under: Fraction) -> Fraction:
    if over.denominator != 1 or under.denominator != 1 or not 0 <= under <= over:
        raise NotANumberError("a binomial coefficient of no whole numbers")
    if over > _MAX_FACTORIAL:
        raise TooLargeError("a binomial coefficient beyond the bounds")
    return Fraction(math.comb(over.numerator, under.numerator))
