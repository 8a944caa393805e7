"""Task families: options of each, and which of them can be verified."""

import inspect
import re
from itertools import islice

import pytest
from reasoning_gym.factory import DATASETS

from drpt.data.reasoning import ReasoningSource, families
from drpt.data.reasoning_rules import REFUSED, RUNS_ANSWERS, STORES_NO_ANSWERS

SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def source(**changes):
    defaults = {
        "target": "chain_sum",
        "target_options": {},
        "general": ["products", "gcd"],
        "general_options": {},
        "system": None,
    }
    return ReasoningSource(**(defaults | changes))


def test_general_options_go_to_the_families_they_name():
    small = source(general_options={"products": SMALL})
    examples = list(islice(small.general(0), 40))
    products = [example for example in examples if example.source == "products"]
    assert len(products) == 20
    assert all(len(re.findall(r"\b\d\b", example.prompt[-1].content)) == 2 for example in products)
    others = [example for example in examples if example.source == "gcd"]
    assert others == [example for example in islice(source().general(0), 40) if example.source == "gcd"]
    assert products != [example for example in islice(source().general(0), 40) if example.source == "products"]


def test_the_target_has_options_of_its_own():
    small = source(target_options=SMALL, general_options={"products": {"max_digits": 3}})
    assert all(re.search(r"\b\d [+-] \d\b", example.prompt[-1].content) for example in islice(small.target(0), 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"product": SMALL},
            r"data\.source\.general_options='product' is not known.*Did you mean",
        ),
        (
            {"products": {"min_term": 2}},
            r"data\.source\.general_options\.products=.*'products' does not accept these.*min_term",
        ),
        ({"gcd": {"min_numbers": 5, "max_numbers": 2}}, r"data\.source\.general_options\.gcd=.*'gcd' does not accept these"),
    ],
)
def test_options_that_no_family_takes_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        source(general_options=options)


def test_a_system_turn_comes_first():
    example = next(source(system="Be brief.").target(0))
    assert [message.role for message in example.messages] == ["system", "user", "assistant"]
    assert [message.role for message in next(source().target(0)).messages] == ["user", "assistant"]


def test_families_whose_scorers_run_answers_are_known():
    def runs_answers(family):
        text = inspect.getsource(DATASETS[family][0].score_answer)
        return re.search(r"\b(eval|exec|parse_expr|sympify)\(answer\b", text) is not None

    assert {family for family in families() if runs_answers(family)} == RUNS_ANSWERS


@pytest.mark.parametrize("family", sorted(RUNS_ANSWERS))
def test_a_target_whose_scorer_runs_answers_is_refused(family):
    with pytest.raises(ValueError, match=rf"data\.source\.target='{family}': .*runs answers as Python code.*another family"):
        source(target=family)
    assert source(general=[family, "gcd"])  # is learned from, and never asked for


@pytest.mark.parametrize("family", sorted(STORES_NO_ANSWERS))
def test_a_family_that_stores_no_answers_is_refused_by_name(family):
    with pytest.raises(ValueError, match=rf"data\.source\.target='{family}': its items store no answers.*another family"):
        source(target=family)
    with pytest.raises(ValueError, match=rf"data\.source\.general: '{family}': its items store no answers.*from the list"):
        source(general=[family, "gcd"])


def test_refused_families_exist():
    assert set(REFUSED) <= set(families())


def test_correctness_is_found_out_in_time():
    small = source(target="coin_flip")
    example = next(small.target(0))
    assert small.is_correct(example, example.response)
    assert not small.is_correct(example, "1e3000000")
    assert not small.is_correct(example, "0")


def test_options_of_families_that_are_not_asked_have_no_effect():
    """A preset has them for its own list, which the command line may exchange."""
    plain, with_others = source(), source(general_options={"chain_sum": SMALL, "lcm": {}})
    for stream, other in ((plain.general(0), with_others.general(0)), (plain.target(0), with_others.target(0))):
        assert [next(stream).prompt for _ in range(6)] == [next(other).prompt for _ in range(6)]
