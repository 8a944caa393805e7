"""Sums are read from texts, in whatever order and words they are asked."""

import itertools
import time

import pytest

from drpt.data.expressions import asked_sums, canonical

ASKED = [
    ("Calculate 3 + 4.", "3+4"),
    ("what's three plus four", "3+4"),
    ("State the final answer to the following arithmetic problem: 3 + 4 =", "3+4"),
    ("Find the sum of 3, 5 and 4.", "3+4+5"),
    ("Subtract 3 from 10.", "10-3"),
    ("7) 12 + 5 = ?", "12+5"),
    ("Compute \\(3 \\times 4\\).", "3*4"),
    ("What is 3 x 4?", "3*4"),
    ("twenty-five minus one", "25-1"),
    ("Calculate 1,000 + 5.", "1000+5"),
    ("Multiply 3 by 4.", "3*4"),
    ("Divide 12 by 4.", "12/4"),
    ("Evaluate 2**3 - (4 + 1)", "2^3-(4+1)"),
]


@pytest.mark.parametrize(("text", "expression"), ASKED)
def test_sums_are_read_from_sentences_of_calculation(text, expression):
    found = asked_sums(text)
    assert found.asked == (canonical(expression),)
    assert found.is_all


@pytest.mark.parametrize(
    "text",
    [
        "I waited 5-10 minutes",
        "I have 5-10 years of experience, what is a good salary?",
        "Born on 2021-03-04",
        "Call 555-0134 now",
        "Ann buys 3 + 4 apples and eats them all",
        "",
        "What is 7?",
    ],
)
def test_other_texts_ask_no_sum(text):
    assert not asked_sums(text).asked


def test_all_sums_of_a_text_are_read_in_its_order():
    found = asked_sums("Q: What is 3 + 4?\nA: 7\n\nQ: What is 6 + 5?\nA:")
    assert found.asked == (canonical("3+4"), canonical("5+6"))
    assert not asked_sums("Our score was great.\nWhat is 3 + 4?").is_all


def test_orders_of_terms_and_factors_are_one_expression():
    terms = ["2*3", "-4", "5/2", "(1-7)"]
    forms = {canonical("+".join(order).replace("+-", "-")) for order in itertools.permutations(terms)}
    assert len(forms) == 1
    assert canonical("-(3 + 4)") == canonical("((4 + 3))")
    different = ["3-4", "4-3", "3*4", "3+4", "3/4", "4/3", "3+4+5", "3^4", "4^3", "(3+4)*2", "3+4*2", "3-(4-5)", "3-4-5"]
    assert len({canonical(one) for one in different}) == len(different)


@pytest.mark.parametrize("expression", ["", "3", "(3", "3 +", "3 + x", "+".join("1" * 99)])
def test_what_is_no_expression_has_no_form(expression):
    assert canonical(expression) is None


@pytest.mark.parametrize("text", ["1" * 50_000, "1" + " " * 50_000 + "1", "(" * 50_000 + "1 2", "-" * 50_000 + "1 2"])
def test_long_runs_take_no_long_time(text):
    start = time.perf_counter()
    asked_sums(text)
    assert time.perf_counter() - start < 5  # a quadratic search takes minutes
