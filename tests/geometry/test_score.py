"""Random scores belong to example, step and block, whatever else is asked for with them."""

import torch

from drpt.geometry.products import GeneralRows
from drpt.geometry.score import RandomScore


def rows(ids, step_index=3):
    n = len(ids)
    return GeneralRows(base_weights=torch.full((n,), 1 / n), example_ids=torch.tensor(ids), step_index=step_index)


def test_numbers_belong_to_step_and_block():
    score = RandomScore(seed=5)
    all_blocks = score(rows(range(8)), None, range(300))
    for blocks in ([0], [299], [17, 4], range(100)):
        assert torch.equal(score(rows(range(8)), None, blocks), all_blocks[list(blocks)])
    assert len(all_blocks.unique()) == 8 * 300
    assert not torch.equal(score(rows(range(8), step_index=4), None, [0]), all_blocks[:1])
    assert not torch.equal(RandomScore(seed=6)(rows(range(8)), None, [0]), all_blocks[:1])


def test_numbers_belong_to_the_example_and_not_to_its_place():
    score = RandomScore(seed=5)
    there = score(rows([4, 9, 2]), None, [0, 1])
    assert torch.equal(score(rows([2, 4, 9]), None, [0, 1]), there[:, [2, 0, 1]])
