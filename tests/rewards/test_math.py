"""Mathematical answers: worked values, what has no time limit of its own, and texts that are anything."""

import os
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.rewards.math import MathReward
from tests.rewards.answers import answer, outcomes
from tests.rewards.math_answers import RIGHT_AND_WRONG, UNPARSABLE, UNREADABLE


@pytest.fixture(scope="module")
def term():
    return MathReward(requires_box=False, timeout_seconds=20.0, unreadable="error")


@pytest.fixture(scope="module")
def hasty():
    return MathReward(requires_box=False, timeout_seconds=2.0, unreadable="error")


@pytest.mark.parametrize("kind", RIGHT_AND_WRONG)
def test_mathematics_is_compared_as_such(term, kind):
    for reference, right, wrong in RIGHT_AND_WRONG[kind]:
        for outcome, texts in (("correct", right), ("wrong", wrong)):
            for text in texts:
                (verdict,) = term([answer(text, reference)])
                expected = (float(outcome == "correct"), outcome, outcome == "correct")
                assert (verdict.value, verdict.outcome, verdict.is_correct) == expected, (reference, text)


def test_the_table_of_verdicts_is_long():
    assert sum(len(right) + len(wrong) for rows in RIGHT_AND_WRONG.values() for _, right, wrong in rows) >= 120


@pytest.mark.parametrize("text", UNPARSABLE)
def test_no_mathematics_is_unparsable(term, text):
    (verdict,) = term([answer(text)])
    assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "unparsable", False)


def test_answers_keep_their_order_and_may_be_none(term):
    assert outcomes(term, answer("7"), answer("8"), answer("no"), answer("8")) == ["wrong", "correct", "unparsable", "correct"]
    assert term([]) == []


def test_an_answer_outside_a_box_can_be_none():
    boxed = MathReward(requires_box=True, timeout_seconds=20.0, unreadable="error")
    texts = ["8", r"\boxed{8}", r"\boxed{8", r"\boxed{7}", r"\boxed{\frac{16}{2}} it is", r"\boxed{}"]
    found = outcomes(boxed, *(answer(text) for text in texts))
    assert found == ["unboxed", "correct", "unboxed", "wrong", "correct", "unparsable"]


@pytest.mark.parametrize("reference", UNREADABLE)
def test_a_reference_that_is_no_mathematics_is_named(term, reference):
    (fault,) = term.faults([answer("8", reference).example])
    assert fault == f"the reference {reference!r} cannot be read as mathematics."
    with pytest.raises(ValueError, match=r"^sums\.jsonl:3: the reference .* cannot be read as mathematics"):
        term([answer("8", reference)])


def test_every_reference_of_the_table_equals_itself_in_every_form(term):
    references = [reference for rows in RIGHT_AND_WRONG.values() for reference, _, _ in rows]
    boxed = MathReward(requires_box=True, timeout_seconds=20.0, unreadable="error")
    for judge in (term, boxed):
        faults = judge.faults([answer("", reference).example for reference in references])
        assert [fault for fault in faults if fault is not None] == []


def test_a_reference_that_only_a_part_of_its_forms_can_show_is_named(term):
    (fault,) = term.faults([answer("", r"$\\left(1,2\\right)$").example])  # backslashes doubled on the way to a file
    assert "is not judged equal to itself in the form" in fault


def test_what_becomes_of_unreadable_references_is_a_choice():
    with pytest.raises(ValueError, match=r"unreadable='skip' is not known\..*Choices: error, drop"):
        MathReward(requires_box=False, timeout_seconds=1.0, unreadable="skip")


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_time_limit_is_positive(seconds):
    with pytest.raises(ValueError, match=r"timeout_seconds=.* must be (more than 0|finite)"):
        MathReward(requires_box=False, timeout_seconds=seconds, unreadable="error")


ENDLESS = [r"$\sqrt{2}^{9^{9^9}}$", r"\boxed{x^{9^{9^9}}}"]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_takes_too_long_is_counted_apart_and_the_next_is_judged():
    brief = MathReward(requires_box=False, timeout_seconds=0.5, unreadable="error")
    brief([answer("8")])  # the judge is up
    pids = []
    for text in ENDLESS:
        pids.append(brief._judge.worker.process_id)
        start = time.monotonic()
        (verdict,) = brief([answer(text)])
        assert time.monotonic() - start < 10
        assert (verdict.value, verdict.outcome, verdict.is_correct) == (0.0, "timed_out", False)
        assert not is_alive(pids[-1])
        assert outcomes(brief, answer("8"), answer("7")) == ["correct", "wrong"]
    assert len({*pids, brief._judge.worker.process_id}) == 3


def test_a_killed_judge_is_started_anew(term):
    term([answer("8")])
    for wait in (True, False):  # known to be gone, or found out by asking
        process = term._judge.worker._process
        os.kill(process.pid, signal.SIGKILL)
        if wait:
            process.wait()
        assert outcomes(term, answer("8"), answer("7")) == ["correct", "wrong"]
        assert term._judge.worker.process_id != process.pid


def test_judging_works_off_the_main_thread():
    brief = MathReward(requires_box=False, timeout_seconds=0.5, unreadable="error")
    found = []
    thread = threading.Thread(target=lambda: found.extend(outcomes(brief, answer("8"), answer(ENDLESS[0]), answer("8"))))
    thread.start()
    thread.join(timeout=120)
    assert found == ["correct", "timed_out", "correct"]


SIGNS = st.text(alphabet="0123456789+-*/^=().,{}[]\\$#%! \nabxyz\u00e9\U0001f600\ud800\0", max_size=12)  # no towers of powers
PIECES = st.sampled_from(
    [r"\boxed{", r"\frac", "####", "The answer is ", r"\text{", "$$", "<think>", "infinity", "1e5", "(1, 2)"]
)


@settings(max_examples=50)
@given(st.lists(st.one_of(SIGNS, PIECES, st.text(max_size=12)), max_size=4).map("".join))
def test_any_text_gets_a_verdict(hasty, text):
    (verdict,) = hasty([answer(text)])
    assert verdict.value in {0.0, 1.0}
    assert verdict.is_correct == (verdict.value == 1.0)
    assert verdict.outcome in {"correct", "wrong", "unparsable", "timed_out", "unboxed"}
