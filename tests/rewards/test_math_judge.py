"""The process that compares: its verdicts, the forms of a reference, and the published cases of math-verify."""

import json
from pathlib import Path

import pytest

from drpt.rewards import math_judge
from drpt.rewards.math_judge import Judge, forms_of

PUBLISHED = json.loads((Path(__file__).parent / "math_verify_cases.json").read_text(encoding="utf-8"))["cases"]


@pytest.fixture(scope="module")
def judge():
    return Judge(30.0)


def test_outcomes(judge):
    pairs = [("8", "8"), ("8", "7"), ("8", "eight"), ("8", "\ud800"), (r"\boxed{\frac12}", "0.5")]
    assert [judge.compare(*pair) for pair in pairs] == ["correct", "wrong", "unparsable", "unparsable", "correct"]


def test_forms_are_those_that_an_answer_takes():
    forms = list(forms_of("so we have\n#### 3, 5", requires_box=False))
    assert forms == [
        r"\boxed{3, 5}",
        r"Therefore it is $\boxed{3, 5}$.",
        "so we have\n#### 3, 5",
        "3, 5",
        "$3, 5$",
        "The answer is 3, 5.",
        "The answer is $3, 5$.",
        "We get there in steps.\n#### 3, 5",
    ]
    assert list(forms_of(r"\boxed{Friday}", requires_box=True)) == [
        r"\boxed{\text{Friday}}",
        r"Therefore it is $\boxed{\text{Friday}}$.",
    ]


def check_published(judge, cases):
    for case in cases:
        found = judge.compare(case["reference"], case["answer"])
        assert found == case["ours"], case
        # Where we differ from the published verdict, the reason is written down.
        assert ((found == "correct") == (case["expected"] == "correct")) == ("why" not in case), case


def test_a_part_of_math_verify_s_published_cases(judge):
    check_published(judge, PUBLISHED[::6])


@pytest.mark.long
def test_math_verify_s_published_cases(judge):
    check_published(judge, PUBLISHED)


def test_most_published_verdicts_are_ours():
    differing = [case for case in PUBLISHED if "why" in case]
    assert len(PUBLISHED) == 256
    assert len(differing) == 18
    assert all(len(case["why"]) > 20 for case in differing)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(math_judge, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"math-verify, which reads mathematical answers, is not installed.*make install"):
        Judge(1.0)
