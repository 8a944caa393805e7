"""Batches of trajectories: where a row's numbers go, and which trajectories a step has."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.rl.batches import at_tokens, by_length, minibatches, token_batch
from drpt.rl.trajectory import Trajectory

PHASE = [
    Trajectory(prompt=[1, 2], response=[5, 6, 7], old_logprobs=[-1.5, -2.5, -3.5]),
    Trajectory(prompt=[3], response=[8], old_logprobs=[-4.5]),
    Trajectory(prompt=[1, 2], response=[9, 9], old_logprobs=[-5.5, -6.5]),
]


def test_padded_rows_mark_the_response():
    batch = token_batch(PHASE[:2], pad_token_id=99)
    assert batch.token_ids.tolist() == [[1, 2, 5, 6, 7], [3, 8, 99, 99, 99]]
    assert batch.loss_mask.int().tolist() == [[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch.examples == [0, 1]
    assert token_batch([PHASE[0], PHASE[2]], pad_token_id=99, examples=[4, 7]).examples == [4, 7]


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1]])
def test_numbers_stand_where_their_tokens_stand(rows):
    some = [PHASE[row] for row in rows]
    batch = token_batch(some, pad_token_id=0)
    values = at_tokens([one.old_logprobs for one in some], batch.loss_mask)
    assert values.dtype == torch.float32
    for i, one in enumerate(some):
        own = slice(len(one.prompt), len(one.prompt) + one.num_tokens)
        assert values[i, own].tolist() == one.old_logprobs
        assert batch.token_ids[i, own].tolist() == one.response
    assert (values[~batch.loss_mask] == 0).all()


@pytest.mark.parametrize("lengths", [[1, 1], [3, 0], [4, 1], [2, 2]])
def test_numbers_that_do_not_fit_the_tokens_are_an_error(lengths):
    mask = token_batch(PHASE[:2], pad_token_id=0).loss_mask
    with pytest.raises(ValueError, match=re.escape(f"rows of [3, 1] response tokens have {lengths} numbers")):
        at_tokens([[-1.0] * length for length in lengths], mask)


def test_the_longest_rows_come_first_and_each_once():
    lengths = [5, 5, 3, 8, 2]
    found = list(by_length([Trajectory(prompt=[1], response=[2] * (length - 1)) for length in lengths], 2))
    assert [sorted(lengths[row] for row in rows) for rows in found] == [[5, 8], [3, 5], [2]]
    assert sorted(row for rows in found for row in rows) == list(range(5))
    assert all(rows == sorted(rows) for rows in found)


def batches(num_rows=12, batch_rows=4, epochs=1, seed=0):
    return minibatches(range(num_rows), batch_rows=batch_rows, epochs=epochs, seed=seed)


def test_a_phase_is_shuffled_anew_every_epoch():
    found = batches(epochs=2)
    assert [len(batch) for batch in found] == [4] * 6
    first, second = ([row for batch in epoch for row in batch] for epoch in (found[:3], found[3:]))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second != list(range(12))


def test_the_last_batch_of_an_epoch_may_be_smaller():
    assert [len(batch) for batch in batches(num_rows=10, epochs=2)] == [4, 4, 2, 4, 4, 2]
    assert [len(batch) for batch in batches(num_rows=3)] == [3]
    assert batches(num_rows=0, epochs=3) == []


def test_batches_are_a_function_of_the_seed():
    assert batches(seed=3) == batches(seed=3)
    assert batches(seed=3) != batches(seed=4)
    assert batches(seed=3, epochs=2)[:3] == batches(seed=3)


@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 3), st.integers(0, 5))
def test_every_row_is_taken_once_an_epoch(num_rows, batch_rows, epochs, seed):
    found = minibatches(range(num_rows), batch_rows=batch_rows, epochs=epochs, seed=seed)
    assert Counter(row for batch in found for row in batch) == dict.fromkeys(range(num_rows), epochs)
    assert all(0 < len(batch) <= batch_rows for batch in found)
    assert len(found) == epochs * -(-num_rows // batch_rows)
