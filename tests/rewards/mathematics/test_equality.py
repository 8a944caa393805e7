"""Equality of values: symmetric, reflexive, and never by rounding."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.rewards.mathematics.answer import find_answer
from drpt.rewards.mathematics.equality import equal
from drpt.rewards.mathematics.formulas import formula_of, rounded
from drpt.rewards.mathematics.reading import read
from tests.rewards.math_answers import RIGHT_AND_WRONG


@pytest.mark.parametrize("kind", RIGHT_AND_WRONG)
def test_who_is_compared_with_whom_does_not_matter(kind):
    for reference, right, wrong in RIGHT_AND_WRONG[kind]:
        value, _ = find_answer(reference, requires_box=False)
        assert equal(value, value)
        for texts, is_equal in ((right, True), (wrong, False)):
            for text in texts:
                other, _ = find_answer(text, requires_box=False)
                assert equal(other, value) == is_equal, (reference, text)


@settings(max_examples=60)
@given(st.fractions(max_denominator=10**6), st.integers(1, 400))
def test_numbers_that_differ_by_little_are_not_equal(value, digits):
    other = value + Fraction(1, 10**digits)
    first, second = (read(f"{one.numerator}/{one.denominator}", is_marked=False) for one in (value, other))
    assert equal(first, first)
    assert not equal(first, second)


def test_a_constant_is_rounded_exactly():
    assert rounded(formula_of(r"\sqrt{2}"), 6) == Fraction(1414214, 10**6)
    assert rounded(formula_of(r"1000\pi"), 3) == Fraction(3141593, 1000)
    assert rounded(formula_of("x"), 3) is None


@pytest.mark.parametrize("text", ["x" * 6000, "1," * 300 + "1", r"\{" + "1," * 250 + r"1\}"])
def test_what_is_too_long_is_not_read(text):
    assert read(text, is_marked=True) is None


@pytest.mark.parametrize("text", [r"1, 2, \ldots, 10", "3, what", r"\{1, ???\}", "(1, , )x", "Wait, 5"])
def test_a_list_with_an_item_that_is_no_value_is_none(text):
    assert read(text, is_marked=False) is None
