r"""Rational numbers: worked values, bounds, and what is none."""

import math
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpt.rewards.mathematics.numbers import NotANumberError, TooLargeError, number_of

WORKED = {
    "3 1/2": Fraction(7, 2),
    r"3\frac{1}{2}": Fraction(7, 2),
    r"\frac12": Fraction(1, 2),
    r"\frac1{20}": Fraction(1, 20),
    r"2\frac{3}{2}": Fraction(3),  # improper: a product
    "-2^2": Fraction(-4),
    "2^3^2": Fraction(512),
    "2^{-2}": Fraction(1, 4),
    "(1/2)^2": Fraction(1, 4),
    "2(3)(4)": Fraction(24),
    "1 - 2 - 3": Fraction(-4),
    "8/2/2": Fraction(2),
    "1e3": Fraction(1000),
    "2.5e-3": Fraction(1, 400),
    ".5": Fraction(1, 2),
    "5.": Fraction(5),
    r"0.\overline{3}": Fraction(1, 3),
    r"0.1\overline{6}": Fraction(1, 6),
    r"1.\overline{09}": Fraction(12, 11),
    "5!": Fraction(120),
    "5!!": Fraction(15),
    "-3!": Fraction(-6),
    r"\binom{5}{2}": Fraction(10),
    r"\binom52": Fraction(10),
    "1/2^99": Fraction(1, 2**99),
    "1/2004!": Fraction(1, math.factorial(2004)),
    "0^1": Fraction(0),
}


@pytest.mark.parametrize("text", WORKED)
def test_worked_values(text):
    assert number_of(text) == WORKED[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1 2",
        "3 3/2",
        "1/0",
        "0^0",
        "0^{-1}",
        "2^{1/2}",
        "(-1)!",
        "(1/2)!",
        "1+",
        "(1",
        "1)",
        "()",
        r"\frac{1}",
        "1,2",
        "1..2",
        "!",
        "*2",
    ],
)
def test_what_is_no_number(text):
    with pytest.raises(NotANumberError):
        number_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9^9",
        "10^{100000}",
        "20000!",
        "1e999999",
        "1" * 5000,
        "(" * 100 + "1" + ")" * 100,
        r"\binom{30000}{5}",
        "9999!!!!!!",
    ],
)
def test_what_is_too_large_is_said_at_once(text):
    start = time.monotonic()
    with pytest.raises(TooLargeError):
        number_of(text)
    assert time.monotonic() - start < 1


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000), st.sampled_from("+-*/"))
def test_arithmetic_is_that_of_fractions(first, second, sign):
    text = f"({first}) {sign} ({second})"
    if sign == "/" and second == 0:
        with pytest.raises(NotANumberError):
            number_of(text)
        return
    expected = {"+": first + second, "-": first - second, "*": first * second}
    assert number_of(text) == (expected[sign] if sign in expected else first / second)
