"""Pools are drawn by seed and kept apart."""

import pytest

from drpt.data.example import Example, Message
from drpt.data.pools import draw_pools
from drpt.data.reasoning import ReasoningSource
from drpt.data.sameness import prompt_key
from drpt.data.spec import DataSpec
from tests.data.lists import Lists, drawn, sentence, talk

OPTIONS = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def spec(**changes):
    defaults = {
        "name": "test",
        "source": {"_target_": "none"},
        "num_target": 16,
        "num_general": 60,
        "num_eval": 40,
        "general_rows": 8,
        "target_rows": 2,
        "max_length": 128,
        "packing": False,
        "split_seed": 0,
    }
    return DataSpec(**(defaults | changes))


def source(**changes):
    defaults = {
        "target": "chain_sum",
        "target_options": OPTIONS,
        "general": ["gcd", "lcm", "syllogism"],
        "general_options": {},
        "system": None,
    }
    return ReasoningSource(**(defaults | changes))


def prompts(examples):
    return {example.prompt for example in examples}


def test_pools_are_disjoint_and_have_their_sizes():
    pools = draw_pools(source(), spec(), seed=0, stopping_share=0.25)
    sizes = [len(pools.general), len(pools.target), len(pools.stopping), len(pools.evaluation)]
    assert sizes == [60, 12, 4, 40]
    groups = [prompts(pool) for pool in (pools.general, pools.target, pools.stopping, pools.evaluation)]
    assert len(set.union(*groups)) == sum(sizes)


def test_target_is_redrawn_by_seed_and_the_rest_stays():
    first, second = (draw_pools(source(), spec(num_eval=20), seed=seed, stopping_share=0.0) for seed in (0, 1))
    assert first.evaluation == second.evaluation
    assert first.general == second.general
    assert len(prompts(first.target) & prompts(second.target)) < 8
    assert draw_pools(source(), spec(num_eval=20), seed=1, stopping_share=0.0).target == second.target


def test_neighbouring_seeds_share_no_stream():
    """A family's items are numbered from its seed on: seeds that follow each other would give shifted copies."""
    wide = source(target_options={"min_terms": 4, "max_terms": 6, "min_digits": 3, "max_digits": 4})
    first, second = (draw_pools(wide, spec(), seed=seed, stopping_share=0.0) for seed in (0, 1))
    assert not prompts(first.target) & prompts(second.target)


def test_general_families_have_equal_shares():
    pools = draw_pools(source(), spec(), seed=0, stopping_share=0.0)
    families = [example.source for example in pools.general]
    assert {family: families.count(family) for family in set(families)} == {"gcd": 20, "lcm": 20, "syllogism": 20}


def test_too_few_distinct_examples_are_refused():
    with pytest.raises(ValueError, match=r"data\.num_eval=400: the source has only \d+ distinct target examples"):
        draw_pools(source(), spec(num_eval=400), seed=0, stopping_share=0.0)


class Overlapping:
    """A source whose pools hold versions of the same conversations."""

    is_endless = False

    def _talks(self, turns):
        for i in range(8):
            question = Message(role="user", content=f"Question {i}")
            answer = Message(role="assistant", content="Yes")
            yield Example(messages=(question, answer) * turns, source="talk")

    def general(self, seed):
        return self._talks(2)

    def target(self, seed):
        return self._talks(1)

    evaluation = target


def test_versions_of_one_conversation_are_kept_apart():
    sizes = spec(num_target=4, num_eval=2, num_general=None, general_rows=1, target_rows=1)
    pools = draw_pools(Overlapping(), sizes, seed=0, stopping_share=0.5)
    assert (len(pools.evaluation), len(pools.target), len(pools.stopping), len(pools.general)) == (2, 2, 2, 2)
    asked = [{example.messages[0].content for example in pool} for pool in (pools.evaluation, pools.target, pools.general)]
    assert len(set.union(*asked, {example.messages[0].content for example in pools.stopping})) == 8
    assert pools.counts == {"target_held_out": 2, "general_held_out": 4, "general_in_target": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "chain_sums"}, r"data\.source\.target='chain_sums' is not known\. Did you mean 'chain_sum'"),
        ({"general": ["gdc"]}, r"data\.source\.general='gdc'.*'gcd'"),
        ({"general": []}, r"data\.source\.general=\[\]: name at least one family"),
        ({"general": ["chain_sum"]}, r"data\.source\.target='chain_sum' is also in data\.source\.general"),
        ({"target_options": {"min_term": 2}}, r"data\.source\.target_options=.*does not accept these.*min_term"),
        ({"target_options": {"min_terms": 5, "max_terms": 2}}, r"data\.source\.target_options=.*does not accept these"),
    ],
)
def test_bad_sources_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        source(**change)


def test_verifier_is_the_family_s_own():
    example = next(source().target(0))
    assert source().is_correct(example, f" {example.response}\n")
    assert not source().is_correct(example, "I do not know")
    assert not source().is_correct(example, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_target": 0}, r"data\.num_target=0 must be at least 1"),
        ({"target_rows": 17}, r"data\.target_rows=17 must be at most data\.num_target=16"),
        ({"max_length": 2}, r"data\.max_length=2 must be at least 8"),
    ],
)
def test_bad_sizes_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        spec(**change)


def test_endless_source_needs_a_size():
    with pytest.raises(ValueError, match=r"data\.num_general=null: this source never ends"):
        draw_pools(source(), spec(num_general=None), seed=0, stopping_share=0.0)


def test_several_responses_to_a_prompt_stay_together_and_are_counted():
    """Twenty-four rows of six prompts, four responses each."""
    rows = [talk(sentence(prompt), f"answer {i}") for prompt in range(6) for i in range(4)]
    own = [talk(sentence(100 + i), "a") for i in range(12)]
    pools = drawn(Lists(rows, own))
    assert len(pools.general) == 24
    assert pools.counts["general_same_prompt"] == 18
    rows = [talk(sentence(prompt), f"answer {i}") for prompt in range(24) for i in range(4)]
    for seed in range(6):
        pools = drawn(Lists(rows, rows), seed=seed, num_target=6, num_eval=4, stopping_share=0.5)
        asked = [{prompt_key(row) for row in pool} for pool in (pools.general, pools.target, pools.stopping, pools.evaluation)]
        assert sum(map(len, asked)) == len(set.union(*asked)), "a prompt is in two pools"
        assert (len(pools.target), len(pools.stopping)) == (3, 3)


def test_what_training_would_not_see_goes_before_drawing():
    """Eleven of sixteen would have vanished later."""
    target = [talk(sentence(i), "long" if i % 3 else "short") for i in range(60)]
    source = Lists([talk(sentence(100 + i), "short") for i in range(10)], target)
    pools = drawn(
        source, num_target=16, num_eval=4, exclusion_reason=lambda row: "too_long" if row.response == "long" else None
    )
    assert pools.sizes == {"general": 10, "target": 16, "stopping": 0, "evaluation": 4}
    assert {row.response for row in [*pools.target, *pools.evaluation]} == {"short"}
    assert pools.counts["target_too_long"] > 16
    assert any("left out" in line and "raise data.max_length to keep them" in line for line in pools.warnings)
    with pytest.raises(ValueError, match=r"data\.num_target=21: .*40 have no room for their answer within data\.max_length=64"):
        drawn(source, num_target=21, num_eval=4, exclusion_reason=lambda row: "too_long" if row.response == "long" else None)


@pytest.mark.parametrize(("lost", "is_warned"), [(1, False), (3, True)])
def test_a_tenth_lost_is_a_warning(lost, is_warned):
    general = [talk(sentence(i), "long" if i < lost else "short") for i in range(20)]
    source = Lists(general, [talk(sentence(100 + i), "short") for i in range(8)])
    pools = drawn(source, exclusion_reason=lambda row: "too_long" if row.response == "long" else None)
    assert bool(pools.warnings) == is_warned


def test_default_sizes_fit_small_files_and_say_what_they_chose():
    source = Lists([talk(sentence(100 + i), "a") for i in range(40)], [talk(sentence(i), "a") for i in range(40)])
    pools = drawn(source, num_target=16, num_eval=128, general_rows=8)
    assert pools.sizes == {"general": 40, "target": 16, "stopping": 0, "evaluation": 24}
    assert pools.chosen == (
        "data.num_eval=128: only 24 evaluation examples remain besides the 16 for training (data.num_target=16).",
    )
    assert drawn(source, num_target=16, num_eval=128, seed=1).evaluation == pools.evaluation
    pools = drawn(source, num_general=500)
    assert pools.chosen == ("data.num_general=500: the source has only 40 general examples.",)
    with pytest.raises(
        ValueError, match=r"data\.num_target=40: the source has only 40 .* at least one must be held out .*at most 39\."
    ):
        drawn(source, num_target=40, num_eval=128)


def test_a_file_of_its_own_to_measure_with_is_not_made_smaller():
    rows = [talk(sentence(i), "a") for i in range(12)]
    source = Lists([talk(sentence(100), "a")], rows, rows[:5])
    source.has_own_evaluation = True
    with pytest.raises(ValueError, match=r"data\.num_target=8: besides 5 held-out examples .* has only 7"):
        drawn(source, num_target=8, num_eval=13)
    assert drawn(source, num_target=7, num_eval=13).sizes["evaluation"] == 5


def test_all_of_a_large_source_is_a_number(monkeypatch):
    monkeypatch.setattr("drpt.data.pools.MOST_GENERAL", 12)
    source = Lists([talk(sentence(100 + i), "a") for i in range(40)], [talk(sentence(i), "a") for i in range(40)])
    pools = drawn(source)
    assert len(pools.general) == 12
    assert any(line.startswith("data.num_general=null: the source has more than 12 general examples") for line in pools.chosen)


def test_held_out_sums_are_not_in_the_general_pool():
    """Sums are asked in other words by another family."""
    options = {"basic_arithmetic": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}}
    sums = source(general=["basic_arithmetic", "gcd"], general_options=options)
    pools = draw_pools(sums, spec(num_general=150), seed=0, stopping_share=0.0)
    expressions = [
        {row.payload["metadata"].get("expression") for row in pool} - {None}
        for pool in (pools.general, [*pools.evaluation, *pools.target])
    ]
    assert not expressions[0] & expressions[1]
    assert pools.counts["general_held_out"] > 0
