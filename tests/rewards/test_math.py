"""Mathematical answers: worked values, what has no time limit of its own, and texts that are anything."""

import gc
import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpt.rewards.math import MathReward
from tests.rewards.answers import answer, outcomes


@pytest.fixture(scope="module")
def term():
    return MathReward(requires_box=False, timeout_seconds=20.0)


@pytest.fixture(scope="module")
def hasty():
    return MathReward(requires_box=False, timeout_seconds=2.0)


RIGHT = {  # reference -> answers
    "8": [
        "8",
        "3 + 5 = 8",
        "The answer is 8.",
        "x = 8",
        "8 = x",
        r"\boxed{8}",
        "8.0",
        "$8$",
        "16/2",
        r"first \boxed{3}, no: \boxed{8}",
    ],
    "-7": ["-7", "The answer is -7.", r"\boxed{-7}", "3 - 10 = -7"],
    "1/2": ["0.5", r"\boxed{\frac{1}{2}}", r"\boxed{\dfrac12}", "1/2", "2/4"],
    "-1/2": ["-0.5", r"\boxed{-\frac12}"],
    "1000": ["1,000", "1000", r"\boxed{10^3}", "$1000"],
    "50%": ["50%", "0.5"],
    # MATH: a solution that ends in a box, or the box's content alone.
    r"Since $x=2$, we get $x^2=4$, so the answer is $\boxed{\frac{3}{4}}$.": ["3/4", "0.75", r"\boxed{\frac{6}{8}}"],
    r"\frac{3}{4}": ["0.75", r"\boxed{\frac34}"],
    r"\sqrt{2}": [r"\boxed{\sqrt2}", r"$\sqrt{2}$", r"\boxed{2^{1/2}}"],
    r"\boxed{(3, \frac{\pi}{2})}": [r"\boxed{(3,\pi/2)}", r"$(3, \frac{\pi}{2})$"],
    "(1,2)": ["(1, 2)", r"\boxed{(1,2)}", "$(1,2)$"],
    r"\boxed{[0,1)}": ["[0, 1)", r"\boxed{[0,1)}"],
    r"\{1,2\}": [r"\{2, 1\}", r"\boxed{\{2,1\}}"],
    "2x+1": [r"\boxed{1+2x}", "$2x+1$"],
    r"\boxed{x^2+2x+1}": [r"\boxed{(x+1)^2}"],
    r"\boxed{\text{Evelyn}}": [r"\boxed{\text{Evelyn}}", r"\boxed{Evelyn}"],
    r"\text{Evelyn}": [r"\boxed{Evelyn}"],
    # GSM8K: worked steps, and the answer after its mark.
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72": ["72", "She sold 72 clips.", r"\boxed{72}"],
    "He pays 1200 dollars.\n#### 1,200": ["1200", "$1,200", "1,200"],
    "#### -3": ["-3"],
}
WRONG = {
    "8": ["7", "-8", "first 8, then 9", "8 eggs and 3 more", "0.8", r"8, so \boxed{7}"],
    "-7": ["7"],
    "1/2": ["2", "1", "0.3333"],
    "(1,2)": ["(2, 1)", "(1, 2), (3, 4)"],
    "2x+1": ["2", "1"],
    "#### 2x": ["2"],
    "x=7": ["2"],
    r"\boxed{\text{Evelyn}}": [r"\boxed{\text{Carla}}"],
    "6 * 7 = 42\n#### 42": ["6", "7"],
}


@pytest.mark.parametrize("reference", RIGHT)
def test_mathematics_is_compared_as_such(term, reference):
    for text in RIGHT[reference]:
        (verdict,) = term([answer(text, reference)])
        assert (verdict.value, verdict.outcome, verdict.is_correct) == (1.0, "correct", True), text


@pytest.mark.parametrize("reference", WRONG)
def test_what_is_not_equal_is_wrong(term, reference):
    for text in WRONG[reference]:
        (verdict,) = term([answer(text, reference)])
        assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "wrong", False), text


@pytest.mark.parametrize("text", ["", "no idea", r"\boxed{}", r"\boxed{8", "\n", "\\", "}{"])
def test_no_mathematics_is_unparsable(term, text):
    (verdict,) = term([answer(text)])
    assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "unparsable", False)


def test_answers_keep_their_order_and_may_be_none(term):
    assert outcomes(term, answer("7"), answer("8"), answer("no"), answer("8")) == ["wrong", "correct", "unparsable", "correct"]
    assert term([]) == []


def test_an_answer_outside_a_box_can_be_none():
    boxed = MathReward(requires_box=True, timeout_seconds=20.0)
    texts = ["8", r"\boxed{8}", r"\boxed{8", r"\boxed{7}", r"\boxed{\frac{16}{2}} it is", r"\boxed{}"]
    found = outcomes(boxed, *(answer(text) for text in texts))
    assert found == ["unboxed", "correct", "unboxed", "wrong", "correct", "unparsable"]


@pytest.mark.parametrize("reference", ["eight apples", "yes", "", r"\boxed{}", "}"])
def test_a_reference_that_is_no_mathematics_is_named(term, reference):
    with pytest.raises(
        ValueError, match=r"sums\.jsonl:3: the reference .* cannot be read as mathematics.*Take reward=exact"
    ) as error:
        term([answer("8", reference)])
    assert repr(reference) in str(error.value)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_time_limit_is_positive(seconds):
    with pytest.raises(ValueError, match=r"timeout_seconds=.* must be (more than 0|finite)"):
        MathReward(requires_box=False, timeout_seconds=seconds)


ENDLESS = ["9**9**9**9", "$9^{9^{9^9}}$"]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_takes_too_long_is_counted_apart_and_the_next_is_judged():
    brief = MathReward(requires_box=False, timeout_seconds=0.5)
    brief([answer("8")])  # the judge is up
    pids = []
    for text in ENDLESS:
        pids.append(brief._judge._process.pid)
        start = time.monotonic()
        (verdict,) = brief([answer(text)])
        assert time.monotonic() - start < 10
        assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "timed_out", False)
        assert not is_alive(pids[-1])
        assert outcomes(brief, answer("8"), answer("7")) == ["correct", "wrong"]
    assert len({*pids, brief._judge._process.pid}) == 3


def test_no_process_is_left_behind():
    brief = MathReward(requires_box=False, timeout_seconds=0.5)
    outcomes(brief, answer("8"), answer(ENDLESS[0]), answer("8"))
    pid = brief._judge._process.pid
    assert is_alive(pid)
    del brief
    gc.collect()
    assert not is_alive(pid)


def test_a_killed_judge_is_started_anew(term):
    term([answer("8")])
    for wait in (True, False):  # known to be gone, or found out by asking
        process = term._judge._process
        os.kill(process.pid, signal.SIGKILL)
        if wait:
            process.wait()
        assert outcomes(term, answer("8"), answer("7")) == ["correct", "wrong"]
        assert term._judge._process.pid != process.pid


def test_judging_works_off_the_main_thread():
    brief = MathReward(requires_box=False, timeout_seconds=0.5)
    found = []
    thread = threading.Thread(target=lambda: found.extend(outcomes(brief, answer("8"), answer(ENDLESS[0]), answer("8"))))
    thread.start()
    thread.join(timeout=120)
    assert found == ["correct", "timed_out", "correct"]


SIGNS = st.text(alphabet="0123456789+-*/^=().,{}[]\\$#%! \nabxyz\u00e9\U0001f600\ud800\0", max_size=12)  # no towers of powers
PIECES = st.sampled_from(
    [r"\boxed{", r"\frac", "####", "The answer is ", r"\text{", "$$", "<think>", "infinity", "1e5", "(1, 2)"]
)


@given(st.lists(st.one_of(SIGNS, PIECES, st.text(max_size=12)), max_size=4).map("".join))
def test_any_text_gets_a_verdict(hasty, text):
    (verdict,) = hasty([answer(text)])
    assert verdict.value in {0.0, 1.0}
    assert verdict.is_correct == (verdict.value == 1.0)
    assert verdict.outcome in {"correct", "wrong", "unparsable", "timed_out"}
