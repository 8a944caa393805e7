"""Padded and packed tensors hold the same examples."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.data.batch import pack_rows, pad_rows
from tests.texts import encoded

TEXTS = [
    encoded([11, 12, 13], [False, True, True]),
    encoded([21, 22, 23, 24, 25], [True, False, True, False, True]),
    encoded([31], [True]),
]


def test_padded_rows():
    tokens = pad_rows(TEXTS, pad_token_id=9)
    assert tokens.token_ids.tolist() == [[11, 12, 13, 9, 9], [21, 22, 23, 24, 25], [31, 9, 9, 9, 9]]
    assert tokens.example_of_token.tolist() == [[0, 0, 0, -1, -1], [1, 1, 1, 1, 1], [2, -1, -1, -1, -1]]
    assert torch.equal(tokens.attention_mask.bool(), tokens.example_of_token >= 0)
    assert tokens.num_tokens == 9
    assert tokens.model_inputs().keys() == {"input_ids", "attention_mask"}


def test_packed_rows():
    """3 and 1 tokens share a row, and one token of padding is left. Texts' first tokens are counted no more."""
    tokens = pack_rows(TEXTS, pad_token_id=9, max_length=6)
    assert tokens.token_ids.tolist() == [[11, 12, 13, 31, 9], [21, 22, 23, 24, 25]]
    assert tokens.example_of_token.tolist() == [[0, 0, 0, 2, -1], [1, 1, 1, 1, 1]]
    assert tokens.position_ids.tolist() == [[0, 1, 2, 0, 0], [0, 1, 2, 3, 4]]
    assert tokens.loss_mask.int().tolist() == [[0, 1, 1, 0, 0], [0, 0, 1, 0, 1]]
    assert tokens.num_tokens == 9
    assert tokens.model_inputs().keys() == {"input_ids", "position_ids"}


@st.composite
def texts(draw):
    """Tokens tell text and place, so that nothing can be mistaken for anything else."""
    lengths = draw(st.lists(st.integers(1, 20), min_size=1, max_size=10))
    return [
        encoded(
            [100 * i + place for place in range(length)],
            draw(st.lists(st.booleans(), min_size=length, max_size=length)),
        )
        for i, length in enumerate(lengths)
    ]


@given(texts(), st.integers(20, 60))
def test_every_token_is_kept_once_and_in_order(rows, max_length):
    tokens = pack_rows(rows, pad_token_id=7777, max_length=max_length)
    assert tokens.token_ids.shape[1] <= max_length
    for i, row in enumerate(rows):
        places = (tokens.example_of_token == i).nonzero()
        assert len(places[:, 0].unique()) == 1  # not split over rows
        assert places[:, 1].tolist() == list(range(places[0, 1], places[0, 1] + len(row.token_ids)))
        at = tuple(places.T)
        assert tokens.token_ids[at].tolist() == row.token_ids
        assert tokens.position_ids[at].tolist() == list(range(len(row.token_ids)))
        assert tokens.loss_mask[at].tolist() == [False, *row.loss_mask[1:]]
    padding = tokens.example_of_token == -1
    assert bool((tokens.token_ids[padding] == 7777).all())
    assert not tokens.loss_mask[padding].any()
    for row in range(len(padding)):
        assert tokens.position_ids[row][padding[row]].tolist() == list(range(int(padding[row].sum())))
    assert tokens.token_ids.numel() <= pad_rows(rows, pad_token_id=0).token_ids.numel()


@given(texts())
def test_counted_tokens_are_the_same_in_both_forms(rows):
    expected = [sum(row.loss_mask[1:]) for row in rows]
    for tokens in (pad_rows(rows, pad_token_id=0), pack_rows(rows, pad_token_id=0, max_length=40)):
        counted = tokens.example_of_token[:, 1:][tokens.loss_mask[:, 1:]]
        assert torch.bincount(counted, minlength=len(rows)).tolist() == expected
