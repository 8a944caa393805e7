"""What counts as the same example, and what does not."""

import pytest

from drpt.data.example import Example, Message
from drpt.data.sameness import Asked, normalised, prompt_key, row_key
from tests.data.lists import Lists, drawn, sentence, talk, text


@pytest.mark.parametrize(
    "other",
    [
        "Who wrote Emma? ",
        " who  wrote\tEmma?\n",
        "WHO WROTE EMMA?",
        "Ｗho wrote Emma?",
        "Who\u00a0wrote\u2003Emma?",
        "Who wr\u00adote \u200bEmma?\ufeff",
    ],
    ids=["a space at the end", "white space", "case", "full width", "spaces of Unicode", "characters that are not seen"],
)
def test_white_space_case_and_unicode_form_make_no_difference(other):
    assert prompt_key(talk(other, "Austen")) == prompt_key(talk("Who wrote Emma?", "Austen", system="Be brief."))


@pytest.mark.parametrize("words", ["é and e\u0301", "ß and SS", "ﬁne and fine", "İ and i̇"])
def test_forms_of_one_letter_are_the_same(words):
    first, second = words.split(" and ")
    assert normalised(first) == normalised(second)
    assert normalised(normalised(first)) == normalised(first)


def test_a_system_turn_makes_no_difference_and_an_answer_makes_a_row():
    first, second = talk("Why?", "So.", system="Be kind."), talk("Why?", "No idea.")
    assert prompt_key(first) == prompt_key(second)
    assert row_key(first) != row_key(second)
    assert row_key(first) == row_key(talk("why? ", "so."))


@pytest.mark.parametrize("thoughts", [("a", "b"), ("a", None), ("The answer is i.", "It is i.")])
def test_rows_with_other_thoughts_are_other_rows(thoughts):
    question = Message(role="user", content="Why?")
    answers = [Message(role="assistant", content="So.", reasoning_content=thought) for thought in thoughts]
    one, other = (Example(messages=(question, answer), source="a") for answer in answers)
    assert row_key(one) != row_key(other)
    assert prompt_key(one) == prompt_key(other)


def test_conversations_that_begin_alike_are_others_and_longer_versions_are_the_same():
    asked = Asked()
    asked.add(talk("Hi", "Hello!", "What is a fjord?", "An inlet."))
    assert not asked.has(talk("Hi", "Hello!", "What is a moor?", "A heath."))
    assert asked.has(talk("Hi", "Hello!", "what is a fjord? ", "A bay."))
    assert asked.has(talk("Hi", "Hello!", "What is a fjord?", "An inlet.", "Thanks", "Welcome"))
    longer = Asked()
    longer.add(talk("What is a fjord?", "An inlet.", "Thanks", "Welcome"))
    assert longer.has(talk("What is a fjord?", "A bay."))


def test_plain_texts_are_compared_as_a_whole():
    assert prompt_key(text("One story.")) != prompt_key(text("Another story."))
    assert prompt_key(text("One story.")) == prompt_key(text("one  story."))
    pools = drawn(Lists([text(f"{sentence(i)} end") for i in range(20)], [talk(sentence(50 + i), "a") for i in range(8)]))
    assert len(pools.general) == 20


def test_a_file_whose_conversations_all_begin_with_a_greeting_is_used():
    talks = [talk("Hi", "Hello!", sentence(i), str(i)) for i in range(24)]
    pools = drawn(Lists(talks, talks), num_target=8, num_eval=8)
    assert pools.sizes == {"general": 8, "target": 8, "stopping": 0, "evaluation": 8}


def test_a_trailing_space_lets_no_held_out_question_into_training():
    questions = [sentence(i) for i in range(13)]
    general = [talk(f"{question} ", "x") for question in questions] + [talk(sentence(100 + i), "y") for i in range(10)]
    target = [talk(sentence(50 + i), "t") for i in range(7)] + [talk(question.upper(), "t") for question in questions[:5]]
    pools = drawn(Lists(general, target, [talk(question, "e") for question in questions]), num_target=6, num_eval=13)
    assert pools.counts["general_held_out"] == 13
    assert pools.sizes["target"] == 6
    held_out = {prompt_key(example) for example in pools.evaluation}
    assert len(held_out) == 13
    assert not held_out & {prompt_key(example) for example in [*pools.general, *pools.target]}


def test_generated_arithmetic_is_the_same_whatever_words_are_around_it():
    asked, sum_ = Asked(), {"metadata": {"expression": "3 + 4"}}
    stated, calculated = talk("State the answer: 3 + 4 =", "7"), talk("Calculate 3 + 4.", "7")
    asked.add(type(stated)(messages=stated.messages, source="chain_sum", payload=sum_))
    assert asked.has(type(stated)(messages=calculated.messages, source="basic_arithmetic", payload=sum_))
    assert asked.has(calculated)
    inner = type(stated)(messages=calculated.messages, source="a", payload={"metadata": {"expression": "( -( 3 + 4 ) )"}})
    assert asked.has(inner)
    product = type(stated)(messages=calculated.messages, source="a", payload={"metadata": {"expression": "(3 + 4) * (1)"}})
    assert not asked.has(product)
