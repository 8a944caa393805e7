"""Pairs from files: bad lines are named with file, line, field and fix."""

import pytest

from drpt.data.example import Example, Message
from drpt.data.pools import Pools
from drpt.data.preferences import NoPairsError, PreferencePairs, pair_example, prompt_text, require_pairs
from tests.data.test_jsonl import write

PAIR = {"prompt": "2 + 2 =", "chosen": "4", "rejected": "5", "rater": 3}


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "good.jsonl", PAIR, PAIR | {"prompt": "1 + 3 ="})


def test_pairs_are_read(good):
    source = PreferencePairs(general=good, target=good, evaluation=None)
    example = next(example for example in source.general(0) if example.source == f"{good}:1")
    assert (prompt_text(example), example.response, example.payload["rejected"]) == ("2 + 2 =", "4", "5")
    assert source.is_correct(example, "4")
    assert not source.is_correct(example, "5")
    assert len(list(source.evaluation(1))) == len(list(source.target(1))) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", ', r"bad\.jsonl:2: column \d+: not JSON"),
        ({"prompt": "a", "chosen": "b"}, r"bad\.jsonl:2: field 'rejected' is missing"),
        ({"chosen": "a", "rejected": "b"}, r"bad\.jsonl:2: field 'prompt' is missing"),
        ({"prompt": "a", "chosen": 4, "rejected": "b"}, r"bad\.jsonl:2: field 'chosen' must be a string, not the number 4"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, r"bad\.jsonl:2: fields 'chosen' and 'rejected' are the same"),
        ([1], r"bad\.jsonl:2: a JSON object was expected"),
    ],
)
@pytest.mark.parametrize("field", ["general", "target", "evaluation"])
def test_malformed_line_is_named(tmp_path, good, line, message, field):
    bad = write(tmp_path / "bad.jsonl", PAIR, line)
    with pytest.raises(ValueError, match=message) as error:
        PreferencePairs(**{"general": good, "target": good, "evaluation": None} | {field: bad})
    assert str(error.value).startswith(f"data.source.{field}={bad}: 1 malformed line:")


def test_a_rejected_response_is_part_of_the_checksum():
    def fingerprint(rejected):
        pair = pair_example(prompt="a", chosen="b", rejected=rejected, source="")
        return Pools(general=[pair], target=[], stopping=[], evaluation=[]).fingerprint

    assert fingerprint("c") != fingerprint("d")


def test_the_turn_that_is_answered_is_the_prompt():
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Who?"), ("assistant", "Me.")]
    example = Example(messages=tuple(Message(role=role, content=text) for role, text in turns), source="")
    assert prompt_text(example) == "Who?"


def test_other_examples_are_no_pairs():
    example = Example(messages=(Message(role="user", content="a"), Message(role="assistant", content="b")), source="file:3")
    with pytest.raises(NoPairsError, match=r"file:3 has no rejected response.*data=preferences"):
        require_pairs([example])
