"""What a step takes, and what is kept of texts."""

import pytest
import torch
from torch.testing import assert_close

from drpt.data.encoded_pairs import EncodedPairs
from drpt.data.pools import Pools
from drpt.data.preferences import pair_example
from drpt.data.spec import DataSpec
from drpt.models.reward_model import RewardModel
from tests.models.encoders import CountingEncoder


def pair(i):
    return pair_example(prompt="ab" * i, chosen="abc" + "a" * i, rejected="de" + "e" * i, source=str(i))


def spec():
    return DataSpec(
        name="x",
        source={},
        num_target=4,
        num_general=None,
        num_eval=2,
        general_rows=3,
        target_rows=2,
        max_length=16,
        packing=False,
        split_seed=0,
    )


@pytest.fixture
def pools():
    return Pools(
        general=[pair(i) for i in range(7)],
        target=[pair(i) for i in range(7, 10)],
        stopping=[],
        evaluation=[pair(i) for i in range(10, 12)],
        counts={"general_repeated": 1},
    )


@pytest.fixture
def model():
    return RewardModel(CountingEncoder())


def test_differences_and_their_middle(pools, model):
    pairs = EncodedPairs(pools, model, spec(), seed=0, needs_general=True, needs_target=True)
    chosen = model.features(["ab" * 2], ["abcaa"], max_length=16)
    rejected = model.features(["ab" * 2], ["deee"], max_length=16)
    assert_close(pairs.differences["general"][2], (chosen - rejected)[0], rtol=0, atol=1e-6)
    assert {name: len(rows) for name, rows in pairs.differences.items()} == {
        "general": 7,
        "target": 3,
        "stopping": 0,
        "evaluation": 2,
    }
    seen = [pair(i) for i in range(10)]
    prompts = [example.prompt[0].content for example in seen]
    sides = [example.response for example in seen], [example.payload["rejected"] for example in seen]
    middle = sum(model.features(prompts, texts, max_length=16).mean(dim=0) for texts in sides) / 2
    assert_close(pairs.middle, middle, rtol=0, atol=1e-6)
    # Prompts of more than 16 letters, from ababab… of the ninth example on.
    assert pairs.counts == {
        "general_repeated": 1,
        "general_texts_cut": 0,
        "target_texts_cut": 1,
        "stopping_texts_cut": 0,
        "evaluation_texts_cut": 2,
    }


def test_a_step_is_a_function_of_seed_and_step(pools, model):
    pairs = EncodedPairs(pools, model, spec(), seed=0, needs_general=True, needs_target=True)
    batch = pairs.step_pairs(5)
    assert (batch.num_general, batch.num_target, batch.step) == (3, 2, 5)
    assert batch.differences.shape == (5, 10)
    assert torch.equal(batch.differences[:3], pairs.differences["general"][batch.example_ids])
    assert torch.equal(batch.differences, pairs.step_pairs(5).differences)
    other = EncodedPairs(pools, model, spec(), seed=1, needs_general=True, needs_target=True)
    assert any(not torch.equal(pairs.step_pairs(i).example_ids, other.step_pairs(i).example_ids) for i in range(4))


@pytest.mark.parametrize(("general", "target"), [(True, False), (False, True)])
def test_rows_without_use_are_left_out(pools, model, general, target):
    pairs = EncodedPairs(pools, model, spec(), seed=0, needs_general=general, needs_target=target)
    batch = pairs.step_pairs(0)
    assert (batch.num_general, batch.num_target) == (3 * general, 2 * target)
