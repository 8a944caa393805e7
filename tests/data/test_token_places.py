"""Places of tokens in a text, and which tokens are learned at the borders of what is learned."""

import pytest

from drpt.data.token_places import check_decoding, mask_of, tokens_of
from tests.data.tokenizers_of_kinds import FAST, byt5, gpt2, slow_sentencepiece

TEXT = "<|im_start|>user\n What color?  [/INST] Hello! 😀é\n\n4<|im_end|>\nHello<|stop|>"


@pytest.mark.parametrize(
    ("learned", "mask"),
    [
        ([(2, 5)], "011000"),
        ([(3, 5)], "011000"),  # the token 2–4 lies across the beginning
        ([(2, 6)], "011100"),  # the token 5–7 lies across the end
        ([(0, 2), (7, 9)], "100010"),
        ([(3, 4)], "010000"),
        ([], "000000"),
        ([(0, 99)], "111111"),
    ],
)
def test_a_token_is_learned_with_one_of_its_characters(learned, mask):
    places = [(0, 2), (2, 4), (4, 5), (5, 7), (7, 9), (9, 9)]
    assert mask_of(places, learned) == [digit == "1" for digit in mask]


def test_a_token_without_a_character_goes_with_the_next():
    places = [(0, 2), (2, 2), (2, 4), (4, 4), (4, 6), (6, 6)]
    assert mask_of(places, [(2, 4)]) == [False, True, True, False, False, False]
    assert mask_of(places, [(2, 6)]) == [False, True, True, True, True, False]


def test_parts_of_one_character_are_learned_together():
    places = [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]
    assert mask_of(places, [(1, 2)]) == [False, True, True, True, False]


@pytest.mark.parametrize("kind", FAST)
def test_places_hold_what_their_tokens_say(kind):
    tokenizer = FAST[kind]()
    ids, places = tokens_of(tokenizer, TEXT)
    assert ids == tokenizer(TEXT, add_special_tokens=False).input_ids
    check_decoding(tokenizer, TEXT, ids, places, [True] * len(ids))
    for mark in ("<|im_start|>", "<|im_end|>", "<|stop|>"):
        assert places[ids.index(tokenizer.convert_tokens_to_ids(mark))] == (TEXT.index(mark), TEXT.index(mark) + len(mark))


def test_a_lone_space_has_its_place():
    tokenizer = gpt2()
    ids, places = tokens_of(tokenizer, "a: <|im_end|> b")
    assert [("a: <|im_end|> b")[start:stop] for start, stop in places][-4:] == [" ", "<|im_end|>", " ", "b"]
    assert mask_of(places, [(3, 13)])[-4:] == [False, True, False, False]  # the space belongs to what is before the border
    assert len(ids) == len(places)


@pytest.mark.parametrize("kind", ["byt5", "sentencepiece"])
def test_tokens_of_a_tokenizer_in_python_are_found_in_the_text(kind, tmp_path):
    tokenizer = byt5() if kind == "byt5" else slow_sentencepiece(tmp_path)
    ids, places = tokens_of(tokenizer, TEXT)
    assert ids == tokenizer(TEXT, add_special_tokens=False).input_ids
    answer = TEXT.index("Hello!"), TEXT.index("<|im_end|>") + len("<|im_end|>")
    mask = mask_of(places, [answer])
    check_decoding(tokenizer, TEXT, ids, places, mask)
    written = tokenizer.decode([token for token, counts in zip(ids, mask, strict=True) if counts])
    assert "".join(written.split()) == "".join(TEXT[slice(*answer)].split())
