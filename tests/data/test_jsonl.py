"""Bad lines are named with file, line, field and fix."""

import json

import pytest

from drpt.data.jsonl import JsonlSource


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


PAIR = {"prompt": "2 + 2 =", "response": "4"}
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2 ="},
        {"role": "assistant", "content": "4"},
    ]
}


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "good.jsonl", PAIR, CHAT)


def test_both_formats_are_read(good):
    source = JsonlSource(general=good, target=good, evaluation=None)
    examples = sorted(source.general(0), key=lambda example: example.source)
    assert [len(example.messages) for example in examples] == [2, 3]
    assert [example.source for example in examples] == [f"{good}:1", f"{good}:2"]
    assert source.is_correct(examples[0], " 4\n")
    assert not source.is_correct(examples[0], "5")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", ', r"bad\.jsonl:2: column \d+: not JSON"),
        ({"prompt": "a"}, r"bad\.jsonl:2: field 'response' is missing"),
        ({"prompt": "a", "response": 4}, r"bad\.jsonl:2: field 'response' must be a string, not the number 4"),
        ({"prompt": None, "response": "b"}, r"bad\.jsonl:2: field 'prompt' must be a string, not null"),
        ({"text": "a"}, r"bad\.jsonl:2: neither field 'messages' nor .* \(fields: 'text'\)"),
        ([1], r"bad\.jsonl:2: a JSON object was expected, not a list"),
        ({"messages": []}, r"bad\.jsonl:2: field 'messages' must be a list of at least one turn, not an empty list"),
        ({"messages": ["hello"]}, r"bad\.jsonl:2: field 'messages\[0\]' must be .*, not a string"),
        (
            {"messages": [{"role": "human", "content": "a"}]},
            r"bad\.jsonl:2: field 'messages\[0\]\.role' is 'human'; it must be one of system, user, assistant",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]},
            r"bad\.jsonl:2: field 'messages\[1\]\.content' is missing",
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, r"bad\.jsonl:2: .*last turn must be the assistant's"),
    ],
)
def test_malformed_line_is_named(tmp_path, good, line, message):
    bad = write(tmp_path / "bad.jsonl", PAIR, line)
    with pytest.raises(ValueError, match=message) as error:
        JsonlSource(general=good, target=bad, evaluation=None)
    assert str(error.value).startswith(f"data.source.target={bad}: 1 malformed line:")


def test_all_bad_lines_are_listed_at_once(tmp_path, good):
    bad = write(tmp_path / "bad.jsonl", *["no"] * 13)
    with pytest.raises(ValueError, match=r"13 malformed lines:[\s\S]*bad\.jsonl:10:[\s\S]*and 3 more"):
        JsonlSource(general=bad, target=good, evaluation=None)


def test_text_that_is_not_utf8_is_named(tmp_path, good):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"prompt": "caf\xe9", "response": "b"}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:1: byte 16: not UTF-8"):
        JsonlSource(general=str(bad), target=good, evaluation=None)


def test_missing_and_empty_files_are_named(tmp_path, good):
    with pytest.raises(ValueError, match=r"data\.source\.general=.*nowhere\.jsonl: no such file"):
        JsonlSource(general=str(tmp_path / "nowhere.jsonl"), target=good, evaluation=None)
    with pytest.raises(ValueError, match=r"data\.source\.evaluation=.*: the file holds no example"):
        JsonlSource(general=good, target=good, evaluation=write(tmp_path / "empty.jsonl", ""))
