"""Words, figures and borders of texts."""

import pytest

from drpt.data.small_talk import is_small_talk
from drpt.data.wording import folded, stand_in_a_row, without_labels, words_of


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("Ann has three apples, twenty-five pears and 1,000 plums.", ("3", "25", "1000")),
        ("Calculate 3 + 4 = ?", ("3+4",)),
        ("Calculate 3 + 4 + 5.", ("3+4+5",)),
        ("Add the numbers 3, 5, 7 and then 9", ("3,5,7", "9")),
        ("10km, x1 and 3.50 EUR", ("10", "1", "3.50")),
        ("- 3 apples", ("3",)),
        ("the second of twelve, half of it", ("2", "12,0.5")),
        ("no number", ()),
    ],
)
def test_figures_are_numbers_with_what_joins_them(text, figures):
    assert words_of(folded(text)).figures == figures


def test_operators_are_words_and_marks_of_emphasis_are_none():
    words = words_of(folded("In C++ or C#: a && b, x**y, **bold** word")).words
    assert words == ("in", "c", "++", "or", "c", "#", "a", "&&", "b", "x", "**", "y", "bold", "word")


@pytest.mark.parametrize(
    "label",
    [
        "Problem 7. ",
        "(2 points) ",
        "Q: ",
        "3) ",
        "# Question 12 - ",
        "a) ",
        "**Task 1:** ",
        "[5 marks] ",
        "Problem 3. (1 point) ",
    ],
)
def test_labels_are_left_out(label):
    assert without_labels(folded(f"{label}Who wrote Emma?\nAnswer:")) == "who wrote emma?"
    assert without_labels(folded(label)) == folded(label)


@pytest.mark.parametrize("text", ["Task forces are groups.", "3 apples", "A fjord is what?", "Question 0", "3.5 litres"])
def test_beginnings_that_are_no_labels_stay(text):
    assert without_labels(folded(text)) == folded(text)


def test_some_stand_in_a_row():
    assert stand_in_a_row(("3", "5"), ("7", "3", "5"))
    assert stand_in_a_row((), ("7",))
    assert not stand_in_a_row(("3", "5"), ("3", "7", "5"))


@pytest.mark.parametrize(
    "text", ["Hi", "How are you?", "Can you help me with something?", "Why?", "Thanks!", "こんにちは", "?"]
)
def test_small_talk_asks_nothing(text):
    assert is_small_talk(text)


@pytest.mark.parametrize(
    "text", ["Who wrote Emma?", "Define entropy", "Question 0", "Tell me a joke", "法国的首都是哪里", "Hi 5"]
)
def test_questions_are_no_small_talk(text):
    assert not is_small_talk(text)
