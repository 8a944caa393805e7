r"""Units by all their names, letters that are none, and what was counted."""

import pytest

from drpt.rewards.mathematics.quantities import split
from drpt.rewards.mathematics.units import known_unit, may_touch
from drpt.rewards.mathematics.vocabulary import is_word, things_counted

SAME = [
    ("cm^2", ["square centimeters", "sq cm", "cm^{2}", "centimetres squared", "sq. cm"]),
    ("km/h", ["kilometers per hour", "km per hour", "kmh", "km/hr", "kilometres an hour"]),
    ("mi/h", ["mph", "miles per hour", "mile/hour", "mi/hr"]),
    ("m/s^2", ["meters per second per second", "m/s/s", "meters per square second", "m/s^{2}"]),
    ("pm", ["p.m.", "PM", "P.M"]),
    ("ft", ["feet", "foot", "ft."]),
]


@pytest.mark.parametrize(("unit", "words"), SAME)
def test_names_of_one_unit_are_one(unit, words):
    assert {known_unit(word, is_text=False) for word in words} == {unit}


@pytest.mark.parametrize(
    "words", ["R^2", "x", "xyz", "sin x", "s^2", "mv^2", "m^4", "million", "is", "of", "per", "/", "N", ""]
)
def test_other_letters_are_no_unit(words):
    assert known_unit(words, is_text=False) is None


def test_a_symbol_keeps_its_case_where_that_matters():
    assert [known_unit(word, is_text=True) for word in ("mW", "MW", "KG", "N")] == ["mW", "MW", "kg", "N"]


def test_what_could_be_a_product_does_not_touch_its_number():
    assert [may_touch(word) for word in ("cm", "km/h", "meters", "mg", "m", "in")] == [True, True, True, False, False, False]


def test_words_are_told_from_products():
    assert all(is_word(word) for word in ("Yes", "no", "Bob", "cat", "odd", "Friday"))
    assert not any(is_word(word) for word in ("AB", "ab", "abc", "xy", "kx", "mgh", "at"))
    assert is_word("at", is_prose=True)


def test_only_things_are_counted():
    assert things_counted("red marbles", is_text=False, is_one=False) == "red marble"
    assert things_counted("sheep", is_text=True, is_one=False) == "sheep"
    for words in ("is wrong", "less than", "more apples", "dozen", "abs", "marble", "million"):
        assert things_counted(words, is_text=False, is_one=False) is None


@pytest.mark.parametrize(
    ("text", "body", "size", "unit"),
    [
        ("1.5 million dollars", "1.5", 10**6, "dollar"),
        ("¤5 \\text{ billion}", "5", 10**9, ""),
        ("5 hundred thousand", "5", 10**5, ""),
        ("3 third graders", "3", 1, "third grader"),
        ("5 million x", "5 million x", 1, ""),
    ],
)
def test_sizes_and_units_are_parted_from_the_number(text, body, size, unit):
    parts = split(text, is_marked=True)
    assert (parts.body, parts.size) == (body, size)
    assert parts.unit == ("dollar" if "¤" in text else unit)
