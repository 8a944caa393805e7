"""reasoning-gym's scorers as a reward."""

from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.data.example import Message
from drpt.data.reasoning import ReasoningSource
from drpt.data.reasoning_rules import RUNS_ANSWERS
from drpt.data.reasoning_scores import ReasoningScores
from drpt.rewards.reasoning import ReasoningReward
from drpt.rewards.reward import Answer
from tests.rewards.answers import answer, outcomes


@pytest.fixture(scope="module")
def term():
    return ReasoningReward(partial=True, extract="whole")


@lru_cache
def example_of(family):
    general = "gcd" if family != "gcd" else "lcm"
    source = ReasoningSource(target=family, target_options={}, general=[general], general_options={}, system=None)
    return next(source.target(0))


def of_family(text, family="chain_sum"):
    """An answer with ``{}`` standing for the right one."""
    example = example_of(family)
    return Answer(example=example, text=text.replace("{}", example.response), is_finished=True, num_tokens=1)


def test_partial_credit_is_the_family_s_own():
    right, near, wrong, empty = ReasoningReward(partial=True, extract="whole")(
        [of_family(text) for text in ("{}", "it is {} I think", "no", "")]
    )
    assert (right.value, right.outcome, right.is_correct) == (1.0, "correct", True)
    number = len(of_family("{}").text)
    assert near.value == pytest.approx(number / (number + len("it is  I think")))
    assert (near.outcome, near.is_correct) == ("partial", False)
    assert (wrong.value, wrong.outcome, wrong.is_correct) == (0.0, "wrong", False)
    assert (empty.value, empty.outcome) == (0.0, "wrong")


def test_partial_credit_can_be_left_out():
    right, near = ReasoningReward(partial=False, extract="whole")([of_family("{}"), of_family("it is {} I think")])
    assert (right.value, right.outcome) == (1.0, "correct")
    assert (near.value, near.outcome) == (0.0, "partial")


@pytest.mark.parametrize(
    ("extract", "text", "outcome"),
    [
        ("whole", " {}\n", "correct"),
        ("whole", "so\n{}", "partial"),
        ("last_line", "3 + 4 =\nso\n {} \n \n", "correct"),
        ("last_line", "{}\nI think", "wrong"),
        ("last_line", "\n \n", "no_answer"),
        ("answer_tag", "<think>hm</think>\n<answer>\n{}\n</answer> done", "correct"),
        ("answer_tag", "<answer>no</answer> or <answer>{}</answer>", "correct"),
        ("answer_tag", "<answer>{}</answer> or <answer>no</answer>", "wrong"),
        ("answer_tag", "{}", "no_answer"),
        ("answer_tag", "<answer>{}", "no_answer"),
    ],
)
def test_what_of_a_text_is_the_answer(extract, text, outcome):
    (verdict,) = ReasoningReward(partial=True, extract=extract)([of_family(text)])
    assert verdict.outcome == outcome
    assert verdict.is_correct == (outcome == "correct")


def test_a_scorer_that_gives_up_finds_nothing_to_parse():
    (verdict,) = ReasoningReward(partial=True, extract="whole")([of_family("two times three", "prime_factorization")])
    assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "unparsable", False)


def test_a_wrong_extraction_is_named():
    with pytest.raises(ValueError, match=r"extract='tag' is not known\..*Choices: whole, last_line, answer_tag"):
        ReasoningReward(partial=True, extract="tag")


@pytest.mark.parametrize("source", ["sums.jsonl:3", "chain_sum"])
def test_an_example_of_another_source_is_named(source):
    with pytest.raises(ValueError, match=rf"{source}: not a task family of reasoning-gym.*reward=math or reward=exact"):
        ReasoningReward(partial=True, extract="whole")([answer("8", source=source)])


@pytest.mark.parametrize("family", sorted(RUNS_ANSWERS))
def test_answers_are_not_run_as_code(family):
    with pytest.raises(ValueError, match=rf"{family}: .*runs answers as Python code"):
        ReasoningReward(partial=True, extract="whole")([answer("print(1)", source=family, payload={"answer": "1"})])


TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="0123456789+-*/().,[]{}'\"\\ \n\ud800x", max_size=16),
    st.sampled_from(["nan", "inf", "1e999", "None", "null", "true", "[[1]]", "{}", "1/0"]),
)


@pytest.mark.parametrize(
    "family", ["chain_sum", "prime_factorization", "coin_flip", "game_of_life", "word_sorting", "time_intervals"]
)
@settings(max_examples=40)
@given(text=TEXTS)
def test_any_text_gets_a_verdict(term, family, text):
    example = of_family("", family).example
    (verdict,) = term([Answer(example=example, text=text, is_finished=True, num_tokens=1)])
    assert 0.0 <= verdict.value <= 1.0
    assert verdict.is_correct == (verdict.value == 1.0)


@pytest.mark.parametrize(
    ("family", "text", "outcomes"),
    [
        ("game_of_life_halting", "nan", {"wrong"}),
        ("game_of_life_halting", "asdf", {"wrong"}),
        ("game_of_life_halting", "True False", {"wrong"}),
        ("complex_arithmetic", "nan", {"wrong"}),
        ("complex_arithmetic", "nan+nanj", {"wrong"}),
        ("complex_arithmetic", "inf", {"wrong"}),
        ("coin_flip", "0", {"wrong"}),
        ("coin_flip", "1e3000000", {"wrong"}),
        ("coin_flip", "1e-99999999", {"wrong"}),
        ("coin_flip", "1e999", {"wrong"}),
        ("coin_flip", "0.", {"wrong"}),
        ("power_function", "no number", {"wrong"}),  # the family gives 0.01 to anything
        ("sentence_reordering", "", {"wrong"}),
        ("acre", "None", {"wrong"}),
        ("syllogism", "North", {"wrong"}),
        ("gcd", "-{}", {"wrong"}),
        ("quantum_lock", "ABC can be a bad cab", {"unparsable", "wrong"}),
        ("time_intervals", "{} or 5", {"unparsable", "wrong"}),
        ("rectangle_count", "2", {"wrong"}),
    ],
)
def test_what_a_scorer_gives_to_nonsense_is_nothing(term, family, text, outcomes):
    right, verdict = term([of_family("{}", family), of_family(text, family)])
    assert (right.value, right.is_correct) == (1.0, True)
    assert (verdict.value, verdict.is_correct) == (0.0, False)
    assert verdict.outcome in outcomes


@pytest.mark.parametrize("family", ["rotate_matrix", "quantum_lock", "word_sorting", "knights_knaves"])
def test_a_question_a_little_changed_is_no_answer(term, family):
    question = example_of(family).prompt[-1].content
    changed = [question.replace(digit, "9") for digit in "0123"] + [question[:-1], question.replace("the", "teh", 1)]
    assert [verdict.value for verdict in term([of_family(text, family) for text in changed])] == [0.0] * len(changed)


def test_full_marks_are_for_right_answers_alone(term):
    """Each of these is given full marks by the family's own scorer."""
    for family, spoil in {
        "number_sorting": lambda text: text.replace(".0']", ".9']"),
        "game_of_life": lambda text: f"{text[:-1]},[1,1]]",
        "letter_jumble": lambda text: f"{text} xyz",
        "knights_knaves": lambda text: f"Not {text}",
        "kakurasu": lambda text: f"not {text}",
    }.items():
        right, spoilt = term([of_family("{}", family), of_family(spoil(example_of(family).response), family)])
        assert right.is_correct, family
        assert not spoilt.is_correct, family


@pytest.mark.long  # starts reasoning-gym three times
def test_a_scorer_that_takes_too_long_costs_one_answer(monkeypatch):
    term = ReasoningReward(partial=True, extract="whole")
    term._scores = ReasoningScores(0.5)
    ask = term._scores.worker.ask
    # A scorer that never returns: the process is told to wait.
    monkeypatch.setattr(term._scores.worker, "_module", "tests.slow_scores")
    found = term([of_family("{}"), of_family("sleep"), of_family("{}")])
    assert [verdict.outcome for verdict in found] == ["correct", "timed_out", "correct"]
    assert ask == term._scores.worker.ask


def test_references_are_judged_against_themselves(term):
    fine = [example_of(family) for family in ("gcd", "coin_flip", "game_of_life_halting", "word_sorting")]
    assert term.faults(fine) == [None] * 4
    spoilt = replace(fine[0], messages=(*fine[0].messages[:-1], Message(role="assistant", content="no number")))
    (fault,) = term.faults([spoilt])
    assert fault == "the stored answer 'no number' does not get full marks (0.0)."
    assert "not a task family" in term.faults([answer("8").example])[0]


def test_answers_keep_their_order_whatever_their_family():
    term = ReasoningReward(partial=False, extract="whole")
    assert outcomes(term, of_family("{}", "gcd"), of_family("no"), of_family("{}")) == ["correct", "wrong", "correct"]
    assert term([]) == []
