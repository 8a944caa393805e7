"""Pools are drawn by seed and kept apart."""

import pytest

from drpt.data.example import Example, Message
from drpt.data.pools import draw_pools
from drpt.data.reasoning import ReasoningSource
from drpt.data.spec import DataSpec

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
        ({"target_options": {"min_term": 2}}, r"data\.source\.target_options=.*does not take these.*min_term"),
        ({"target_options": {"min_terms": 5, "max_terms": 2}}, r"data\.source\.target_options=.*does not take these"),
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
