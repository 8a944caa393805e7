"""What was said in a phase: rows, batches, and where a row's numbers go."""

import json
import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.errors import NonFiniteError
from drpt.modules.experience import Experience, aligned, joined, minibatches


def experience(**changes):
    values = {
        "prompts": [[1, 2], [3], [1, 2]],
        "responses": [[5, 6, 7], [8], [9, 9]],
        "groups": [0, 1, 0],
        "rewards": [1.0, 0.0, 0.5],
        "advantages": [0.5, 0.0, -0.5],
        "engine_logprobs": [[-1.0, -2.0, -3.0], [-4.0], [-5.0, -6.0]],
        "old_logprobs": [[-1.5, -2.5, -3.5], [-4.5], [-5.5, -6.5]],
    }
    return Experience(**(values | changes))


def test_counts():
    assert (len(experience()), experience().num_tokens) == (3, [3, 1, 2])
    assert (len(Experience()), Experience().num_tokens) == (0, [])


def test_a_checkpoint_s_plain_values_give_it_back():
    kept = json.loads(json.dumps(experience().state_dict()))
    assert Experience(**kept) == experience()
    assert Experience(**Experience().state_dict()) == Experience()


def test_rows_are_picked_in_the_order_given():
    picked = experience().pick([2, 0])
    assert picked.responses == [[9, 9], [5, 6, 7]]
    assert picked.rewards == [0.5, 1.0]
    assert picked.engine_logprobs == [[-5.0, -6.0], [-1.0, -2.0, -3.0]]
    assert picked.reference_logprobs == []  # none before, none after
    assert len(experience().pick([])) == 0


def test_several_are_joined_row_after_row():
    first, second = experience().pick([0]), experience().pick([1, 2])
    assert joined([first, second]) == experience()
    assert joined([Experience(), experience(), Experience()]) == experience()
    assert joined([]) == Experience()


def test_padded_rows_mark_the_response():
    batch = experience().tokens([0, 1], pad_token_id=99)
    assert batch.token_ids.tolist() == [[1, 2, 5, 6, 7], [3, 8, 99, 99, 99]]
    assert batch.loss_mask.int().tolist() == [[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch.examples == [0, 1]
    assert experience().tokens([0, 2], pad_token_id=99, places=[4, 7]).examples == [4, 7]


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1]])
def test_numbers_stand_where_their_tokens_stand(rows):
    given_, batch = experience(), experience().tokens(rows, pad_token_id=0)
    values = aligned(given_.old_logprobs, rows, batch.loss_mask)
    assert values.dtype == torch.float32
    for i, row in enumerate(rows):
        start, end = len(given_.prompts[row]), len(given_.prompts[row]) + len(given_.responses[row])
        assert values[i, start:end].tolist() == given_.old_logprobs[row]
        assert batch.token_ids[i, start:end].tolist() == given_.responses[row]
    assert (values[~batch.loss_mask] == 0).all()


@pytest.mark.parametrize("lengths", [[1, 1], [3, 0], [4, 1], [2, 2]])
def test_numbers_that_do_not_fit_the_tokens_are_an_error(lengths):
    mask = experience().tokens([0, 1], pad_token_id=0).loss_mask
    with pytest.raises(ValueError, match=re.escape(f"rows of [3, 1] response tokens have {lengths} numbers")):
        aligned([[-1.0] * length for length in lengths], [0, 1], mask)


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


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("engine_logprobs", "the engine"),
        ("old_logprobs", "the policy"),
        ("reference_logprobs", "the reference"),
        ("values", "the value head"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_numbers_of_responses_are_finite(name, who, value):
    Experience(responses=[[1], [2]], **{name: [[-1.0], [-2.0]]}).require_finite()
    odd = Experience(responses=[[1], [2]], **{name: [[-1.0], [value]]})
    with pytest.raises(NonFiniteError, match=rf"^{who} gives 1 of 2 responses {name} that are NaN or infinite \(response 1"):
        odd.require_finite()
