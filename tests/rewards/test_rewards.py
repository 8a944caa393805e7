"""What answers are worth: each term of a reward by worked values, and their weighted sum."""

import time

import pytest

from drpt.data.example import Example, Message
from drpt.data.reasoning import ReasoningSource
from drpt.rewards.build import build_reward
from drpt.rewards.exact import ExactReward
from drpt.rewards.format import FinishedReward, FormatReward
from drpt.rewards.math import MathReward
from drpt.rewards.reasoning import ReasoningReward
from drpt.rewards.reward import Answer
from drpt.rewards.spec import RewardSpec


def answer(text, reference="8", *, is_finished=True):
    messages = (Message(role="user", content="?"), Message(role="assistant", content=reference))
    return Answer(example=Example(messages=messages, source="sums.jsonl:3"), text=text, is_finished=is_finished, num_tokens=3)


def outcomes(term, *answers):
    return [verdict.outcome for verdict in term(list(answers))]


def test_mathematics_is_compared_as_such():
    term = MathReward(requires_box=False, timeout_seconds=20.0)
    right = [
        ("3 + 5 = 8", "8"),
        ("The answer is 8.", "8"),
        ("The answer is 0.5", r"so \boxed{\frac{1}{2}}"),
        (r"first \boxed{3}, no: \boxed{42}", "6 * 7 = 42\n#### 42"),
        ("1,000", "1000"),
        (r"\boxed{\text{Evelyn}}", r"\boxed{\text{Evelyn}}"),
    ]
    for text, reference in right:
        (verdict,) = term([answer(text, reference)])
        assert (verdict.value, verdict.outcome, verdict.is_correct) == (1.0, "correct", True), text
    assert outcomes(term, answer("-8"), answer("7"), answer("no"), answer("")) == ["wrong", "wrong", "unparsable", "unparsable"]


def test_an_answer_outside_a_box_can_be_none():
    term = MathReward(requires_box=True, timeout_seconds=20.0)
    assert outcomes(term, answer("8"), answer(r"\boxed{8}"), answer(r"\boxed{8")) == ["unboxed", "correct", "unboxed"]


def test_what_takes_too_long_is_counted_apart_and_the_next_is_judged():
    term = MathReward(requires_box=False, timeout_seconds=2.0)
    term([answer("8")])  # the judge is up
    start = time.monotonic()
    assert outcomes(term, answer("9**9**9**9"), answer("8")) == ["timed_out", "correct"]
    assert time.monotonic() - start < 60


def test_a_killed_judge_is_started_anew_and_none_is_left_behind():
    term = MathReward(requires_box=False, timeout_seconds=20.0)
    term([answer("8")])
    first = term._judge._process
    first.kill()
    first.wait()
    assert outcomes(term, answer("8")) == ["correct"]
    second = term._judge._process
    assert second.pid != first.pid
    del term
    assert second.poll() is not None


def test_a_reference_that_is_no_mathematics_is_named():
    term = MathReward(requires_box=False, timeout_seconds=20.0)
    with pytest.raises(ValueError, match=r"sums.jsonl:3: the reference 'eight apples' cannot be read as mathematics"):
        term([answer("8", "eight apples")])


def reasoning_answer(text):
    source = ReasoningSource(target="chain_sum", target_options={}, general=["gcd"], general_options={}, system=None)
    example = next(source.target(0))
    return Answer(example=example, text=text.format(example.response), is_finished=True, num_tokens=1)


def test_scorers_of_reasoning_gym():
    whole = ReasoningReward(partial=True, extract="whole")
    right, near, wrong = whole([reasoning_answer(text) for text in ("{}", "it is {} I think", "no")])
    assert (right.value, right.outcome, right.is_correct) == (1.0, "correct", True)
    assert 0 < near.value < 1
    assert (near.outcome, near.is_correct) == ("partial", False)
    assert (wrong.value, wrong.outcome) == (0.0, "wrong")
    (near,) = ReasoningReward(partial=False, extract="whole")([reasoning_answer("it is {} I think")])
    assert (near.value, near.outcome) == (0.0, "partial")
    tagged = ReasoningReward(partial=False, extract="answer_tag")
    assert outcomes(tagged, reasoning_answer("hm <answer>{}</answer>"), reasoning_answer("{}")) == ["correct", "no_answer"]
    assert outcomes(ReasoningReward(partial=False, extract="last_line"), reasoning_answer("so\n{}\n")) == ["correct"]
    with pytest.raises(ValueError, match=r"sums\.jsonl:3: not a task family of reasoning-gym"):
        whole([answer("8")])
    with pytest.raises(ValueError, match=r"extract='tag' is not known.*Choices: whole, last_line, answer_tag"):
        ReasoningReward(partial=True, extract="tag")


def test_texts_and_forms():
    assert outcomes(ExactReward(ignore_case=True), answer(" YES\n", "yes"), answer("no", "yes")) == ["correct", "wrong"]
    assert outcomes(ExactReward(ignore_case=False), answer("YES", "yes")) == ["wrong"]
    assert outcomes(FormatReward(pattern="a.*b"), answer("a\nb"), answer("xab")) == ["formatted", "unformatted"]
    assert outcomes(FinishedReward(), answer("8"), answer("8", is_finished=False)) == ["finished", "cut"]
    with pytest.raises(ValueError, match="is no regular expression"):
        FormatReward(pattern="(")


def spec(**changes):
    terms = {
        "correct": {"_target_": "drpt.rewards.exact.ExactReward", "weight": 1.0, "ignore_case": False},
        "finished": {"_target_": "drpt.rewards.format.FinishedReward", "weight": 0.25},
    }
    return RewardSpec(name="both", terms=terms | changes)


def test_weighted_sum_and_its_figures():
    reward = build_reward(spec())
    judged = reward([answer("8"), answer("8", is_finished=False), answer("7")])
    assert [one.value for one in judged] == [1.25, 1.0, 0.25]
    assert [one.is_correct for one in judged] == [True, True, False]
    figures = reward.metrics(judged)
    assert figures["reward/mean"] == pytest.approx(2.5 / 3)
    assert figures["reward_finished/mean"] == pytest.approx(2 / 3)
    assert figures["correct/share"] == pytest.approx(2 / 3)
    assert figures["finished_cut/share"] == pytest.approx(1 / 3)
    rows = reward.outcomes(judged)
    assert rows[0] == {"term": "correct", "outcome": "correct", "count": 2, "share": pytest.approx(2 / 3)}
    assert sum(row["count"] for row in rows) == 6


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ({"_target_": "drpt.rewards.nothing.Nothing", "weight": 1.0}, "cannot be imported"),
        ({"_target_": "drpt.rewards.math._reference", "weight": 1.0}, "not a class with the methods"),
        ({"_target_": "drpt.rewards.exact.ExactReward", "weight": 1.0, "ignore_cas": True}, "Did you mean 'ignore_case'"),
        ({"_target_": "drpt.rewards.exact.ExactReward", "weight": 1.0}, "ignore_case"),
        ({"_target_": "drpt.rewards.format.FinishedReward", "weight": 1.0, "x": 1}, "It takes none"),
    ],
)
def test_a_term_that_cannot_be_built_says_why(term, said):
    with pytest.raises(ValueError, match=said):
        build_reward(spec(other=term))


def test_a_reward_needs_terms_with_weights():
    with pytest.raises(ValueError, match="at least one term"):
        RewardSpec(name="none", terms={})
    with pytest.raises(ValueError, match=r"reward\.terms\.a\.weight is needed"):
        RewardSpec(name="a", terms={"a": {"_target_": "x.Y"}})
