"""Prompts with several responses are shared out so that pools get what they asked for, and are never split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpt.data.sameness import groups_of_same, prompt_key
from drpt.data.sharing import shared_out
from tests.data.lists import Lists, drawn, sentence, talk

GENERAL = [talk(sentence(1000 + i), "g") for i in range(8)]


def rows(num_prompts, num_responses):
    return [talk(sentence(i), f"answer {j}") for i in range(num_prompts) for j in range(num_responses)]


@given(st.lists(st.integers(1, 6), max_size=8), st.integers(1, 20), st.integers(-2, 30))
def test_the_least_sum_that_reaches_what_is_wanted_or_else_the_largest(sizes, wanted, most):
    chosen = shared_out(sizes, wanted=wanted, most=most)
    assert chosen == sorted(set(chosen))
    ways = [way for count in range(1, len(sizes) + 1) for way in itertools.combinations(sizes, count)]
    sums = {sum(way) for way in ways if sum(way) <= most}
    best = min((total for total in sums if total >= wanted), default=max(sums, default=0))
    assert sum(sizes[place] for place in chosen) == best


def test_single_rows_are_taken_in_their_order():
    assert shared_out([1] * 10, wanted=8, most=4) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "num_target", "num_eval", "share", "expected"),
    [
        ((30, 4), 64, 32, 0.0, (64, 0, 32)),
        ((30, 4), 64, 32, 0.25, (48, 16, 32)),
        ((8, 3), 16, 16, 0.0, (16, 0, 6)),
        ((8, 3), 16, 16, 0.25, (12, 4, 6)),
        ((2, 30), 16, 16, 0.0, (16, 0, 16)),
        ((10, 7), 33, 20, 0.0, (33, 0, 20)),
        ((24, 4), 32, 16, 0.5, (16, 16, 16)),
        ((8, 3), 21, 16, 0.0, (21, 0, 3)),
    ],
)
def test_pools_get_what_they_asked_for_and_split_no_prompt(shape, num_target, num_eval, share, expected):
    source = Lists(GENERAL, rows(*shape))
    found = [drawn(source, num_target=num_target, num_eval=num_eval, seed=seed, stopping_share=share) for seed in range(2)]
    for pools in found:
        assert (len(pools.target), len(pools.stopping), len(pools.evaluation)) == expected
        asked = [{prompt_key(row) for row in pool} for pool in (pools.target, pools.stopping, pools.evaluation)]
        assert sum(map(len, asked)) == len(set.union(*asked)), "a prompt is in two pools"
        assert bool(pools.chosen) == (expected[2] < num_eval)
    assert found[0].evaluation == found[1].evaluation
    assert found[0].target != found[1].target


def test_what_is_said_of_fewer_is_true():
    (line,) = drawn(Lists(GENERAL, rows(8, 3)), num_target=16, num_eval=16).chosen
    assert line == (
        "data.num_eval=16: 24 distinct examples of 8 prompts give 6 evaluation examples besides the 16 for training "
        "(data.num_target=16). Pools must not share questions, so 2 examples are in neither pool (other responses to prompts "
        "of one of the two pools, or nearly the same as an evaluation example)."
    )
    (line,) = drawn(Lists(GENERAL, rows(8, 3)), num_target=21, num_eval=16).chosen
    assert "only 3 evaluation examples remain besides the 21 for training" in line


@pytest.mark.parametrize(
    ("shape", "num_target", "message"),
    [
        (
            (8, 3),
            22,
            r"only 24 usable, distinct target examples of 8 prompts, .* the 3 of one prompt must be held out .*at most 21\.$",
        ),
        ((1, 30), 16, r"only 30 usable, distinct target examples of 1 prompt, .* Add examples of other prompts\.$"),
    ],
)
def test_too_few_prompts_are_explained(shape, num_target, message):
    with pytest.raises(ValueError, match=rf"^data\.num_target={num_target}: the source has {message}"):
        drawn(Lists(GENERAL, rows(*shape)), num_target=num_target, num_eval=16)


def test_near_duplicates_between_the_two_make_the_evaluation_smaller():
    story = "The ferry {} left the harbour before dawn, carrying two crates of oranges and a letter that nobody had asked for."
    near = [talk(story.format(word), "a") for word in ("slowly", "quietly")]
    pools = drawn(Lists(GENERAL, [*near, *rows(8, 1)]), num_target=6, num_eval=8)
    assert pools.sizes["target"] == 6
    assert pools.sizes["evaluation"] + 6 + pools.counts.get("target_near_duplicate", 0) in {9, 10}


def test_what_asks_the_same_is_one_group():
    examples = [
        talk("Who wrote Emma?", "Austen"),
        talk("What is 3 + 4?", "7"),
        talk("Who wrote Emma?", "Austen", "And Dune?", "Herbert"),
        talk("Calculate 4 + 3.", "7"),
        talk("Hi", "Hello!", "who wrote Emma? ", "Jane Austen"),
        talk("Hi", "Hello!"),
    ]
    assert groups_of_same(examples) == [[0, 2, 4], [1, 3], [5]]
