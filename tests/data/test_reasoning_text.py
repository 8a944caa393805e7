"""Forms of answers, and right answers within longer texts."""

import pytest

from drpt.data.reasoning_text import forms_of, is_same, repeats_question, share_of_answer

QUESTION = "State the final answer to the following arithmetic problem: 3 + 4 ="


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (" 7\n", "7"),
        ("**7**", "7"),
        (r"\boxed{7}", "7"),
        ("The answer is $7$.", "7"),
        ("Final answer: `7`", "7"),
        ("So, the answer is **7.**", "7"),
        ("```\n1 2\n3 4\n```", "1 2\n3 4"),
        ("1,000", "1000"),
        ("+07.0", "7"),
        ("TRUE", "True"),
        ("'yes'.", "Yes"),
    ],
)
def test_models_write_the_right_answer_in_many_forms(text, stored):
    assert any(is_same(form, stored) for form in forms_of(text))


@pytest.mark.parametrize(
    ("text", "stored"),
    [("-7", "7"), ("7.5", "7"), ("70", "7"), ("abc", "ABC"), ("7 8", "7"), ("The answer is 8.", "7"), ("", "7"), ("nan", "7")],
)
def test_other_answers_are_not_the_same(text, stored):
    assert not any(is_same(form, stored) for form in forms_of(text))


@pytest.mark.parametrize(
    ("text", "stored"),
    [("it is 7 I think", "7"), ("so\n7", "7"), ("well True", "True"), ("7 is what I get", "7"), ("7 (seven)", "7")],
)
def test_the_right_answer_in_a_longer_text_has_its_share(text, stored):
    assert share_of_answer(text, stored, QUESTION) == len(stored) / len(text)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        *(("None", "on"), ("North", "No"), ("-1", "1"), ("- 1", "1"), ("1/2", "2"), ("1.5", "1"), ("x7", "7"), ("17", "7")),
        *(("7%", "7"), ("[[0]]", "0"), ("7 8", "7"), ("5 + 2 = 7", "7"), ("Yes No", "Yes"), ("on off", "off")),
        *(("not 7", "7"), ("7 or so", "7"), ("aunt, uncle", "aunt"), ("7" + " well" * 30, "7"), ("7", "7"), ("7 7", "7")),
        ("State the final answer to the following: 7", "7"),
    ],
)
def test_what_only_contains_it_has_none(text, stored):
    assert share_of_answer(text, stored, QUESTION) == 0.0


def test_a_question_a_little_changed_is_a_repetition():
    for text in (QUESTION, QUESTION.replace("3", "5"), f"{QUESTION} 7", QUESTION.lower()):
        assert repeats_question(text, QUESTION, "7")
    assert not repeats_question("The answer to the problem is 7", QUESTION, "7")


def test_an_answer_that_is_most_of_the_question_is_none():
    words = "to hall, length, in of an Smith devoted passed into advertising. feet"
    question = f"Restore the order of: {words}"
    assert not repeats_question(words, question, words)
    assert not repeats_question("in of an Smith devoted passed into advertising. feet to hall, length,", question, words)
