"""One step's choices: which examples, with which weights, for which share of the update."""

import pytest
import torch

from drpt.capture.options import BaseWeights, ChoiceScope
from drpt.data.batch import StepBatch, pad_rows
from drpt.data.split import StepSplit
from drpt.modules.choices import choices_of_step, step_weights
from tests.texts import encoded

COUNTS = (1, 3, 2, 2)  # loss tokens of the general examples


def step_batch(*, batches, is_mixed, num_target=2):
    texts = [encoded([1, 2, 3, 4], [False] * (4 - count) + [True] * count) for count in (*COUNTS, *[1] * num_target)]
    parts = StepSplit(num_micro_batches=batches, is_mixed=is_mixed).divide(num_general=4, num_target=num_target)
    return StepBatch(
        micro_batches=[pad_rows([texts[i] for i in part], pad_token_id=0, examples=part) for part in parts],
        example_ids=torch.tensor([7, 3, 9, 4]),
        loss_tokens=torch.tensor(COUNTS),
        num_target=num_target,
        step=5,
    )


def test_one_choice_over_all_batches():
    batch = step_batch(batches=3, is_mixed=False)
    (choice,) = choices_of_step(batch, ChoiceScope.STEP, step_weights(batch, BaseWeights.TOKEN))
    assert choice.scale == 1.0
    assert choice.rows.general.base_weights.tolist() == [0.125, 0.375, 0.25, 0.25]
    assert choice.rows.general.step_index == 5
    assert [part.examples for part in choice.micro_batches] == [[4, 5], [0, 1], [2, 3]]


@pytest.mark.parametrize("base_weights", list(BaseWeights))
def test_each_batch_chooses_among_its_own(base_weights):
    batch = step_batch(batches=2, is_mixed=True)
    first, second = choices_of_step(batch, ChoiceScope.MICRO, step_weights(batch, base_weights))
    assert first.rows.num_general == second.rows.num_general == 2
    assert first.rows.num_target == second.rows.num_target == 1
    assert first.rows.general.example_ids.tolist() == [7, 3]
    assert second.rows.general.example_ids.tolist() == [9, 4]
    assert [part.examples for part in second.micro_batches] == [[0, 1, 2]]
    assert second.micro_batches[0].example_of_token.tolist() == [[i] * 4 for i in range(3)]
    assert first.scale + second.scale == pytest.approx(1.0)
    if base_weights is BaseWeights.TOKEN:
        assert first.rows.general.base_weights.tolist() == [0.25, 0.75]
        assert first.scale == pytest.approx(4 / 8)


def test_shares_of_target_examples_where_there_are_no_others():
    texts = [encoded([1, 2], [False, True])] * 3
    batch = StepBatch(
        micro_batches=[pad_rows(texts[:2], pad_token_id=0, examples=[0, 1]), pad_rows(texts[2:], pad_token_id=0, examples=[2])],
        example_ids=torch.empty(0, dtype=torch.long),
        loss_tokens=torch.empty(0, dtype=torch.long),
        num_target=3,
        step=0,
    )
    assert [
        c.scale for c in choices_of_step(batch, ChoiceScope.MICRO, step_weights(batch, BaseWeights.TOKEN))
    ] == pytest.approx([2 / 3, 1 / 3])


def test_padding_stays_padding():
    texts = [encoded([1, 2, 3], [False, True, True]), encoded([1, 2], [False, True])]
    batch = StepBatch(
        micro_batches=[pad_rows([text], pad_token_id=0, examples=[i]) for i, text in enumerate(texts)]
        + [pad_rows(texts, pad_token_id=0, examples=[2, 3])],
        example_ids=torch.tensor([0, 1, 2]),
        loss_tokens=torch.tensor([2, 1, 2]),
        num_target=1,
        step=0,
    )
    last = choices_of_step(batch, ChoiceScope.MICRO, step_weights(batch, BaseWeights.EXAMPLE))[-1]
    assert last.micro_batches[0].example_of_token.tolist() == [[0, 0, 0], [1, 1, -1]]
