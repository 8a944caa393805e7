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
    source = JsonlSource(general=good, target=good, evaluation=None, needs_response=True)
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
        (
            {"text": "a"},
            r"bad\.jsonl:2: the row has no known format \(fields: 'text'\)\. Plain texts are only for.*messages",
        ),
        ([1], r"bad\.jsonl:2: a JSON object was expected, not a list"),
        ({"messages": []}, r"bad\.jsonl:2: field 'messages' must be a list of at least one turn, not an empty list"),
        ({"messages": ["hello"]}, r"bad\.jsonl:2: field 'messages\[0\]' must be .*, not a string"),
        (
            {"messages": [{"role": "human", "content": "a"}]},
            r"bad\.jsonl:2: field 'messages\[0\]\.role' is 'human'; it must be one of system, developer, user, assistant, tool",
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
        JsonlSource(general=good, target=bad, evaluation=None, needs_response=True)
    assert str(error.value).startswith(f"data.source.target={bad}: 1 malformed line:")


def test_all_bad_lines_are_listed_at_once(tmp_path, good):
    bad = write(tmp_path / "bad.jsonl", *["no"] * 13)
    with pytest.raises(ValueError, match=r"13 malformed lines:[\s\S]*bad\.jsonl:10:[\s\S]*and 3 more"):
        JsonlSource(general=bad, target=good, evaluation=None, needs_response=True)


def test_text_that_is_not_utf8_is_named(tmp_path, good):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"prompt": "caf\xe9", "response": "b"}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:1: byte 16: not UTF-8"):
        JsonlSource(general=str(bad), target=good, evaluation=None, needs_response=True)


def test_missing_and_empty_files_are_named(tmp_path, good):
    with pytest.raises(ValueError, match=r"data\.source\.general=.*nowhere\.jsonl: no such file"):
        JsonlSource(general=str(tmp_path / "nowhere.jsonl"), target=good, evaluation=None, needs_response=True)
    with pytest.raises(ValueError, match=r"data\.source\.evaluation=.*: the file contains no example"):
        JsonlSource(general=good, target=good, evaluation=write(tmp_path / "empty.jsonl", ""), needs_response=True)


QUESTION = {"role": "user", "content": "2 + 2 ="}


@pytest.fixture
def prompts(tmp_path):
    talk = [QUESTION, {"role": "assistant", "content": "4"}, {"role": "user", "content": "And 3 + 3?"}]
    lines = [{"prompt": "a"}, {"prompt": "b", "response": None}, PAIR, CHAT, {"messages": talk}, {"messages": [QUESTION]}]
    return write(tmp_path / "prompts.jsonl", *lines)


def test_prompts_alone_are_read_and_responses_that_are_there_kept(prompts):
    source = JsonlSource(general=prompts, target=prompts, evaluation=None, needs_response=False)
    examples = sorted(source.general(0), key=lambda example: example.source)
    assert [example.response for example in examples] == ["", "", "4", "4", "", ""]
    assert [example.prompt[-1].content for example in examples] == ["a", "b", "2 + 2 =", "2 + 2 =", "And 3 + 3?", "2 + 2 ="]
    assert [len(example.messages) for example in examples] == [2, 2, 2, 3, 4, 2]
    assert not source.has_responses


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"response": "b"}, r"bad\.jsonl:2: field 'prompt' is missing"),
        ({"prompt": "a", "response": 4}, r"bad\.jsonl:2: field 'response' must be a string, not the number 4"),
        ({"prompt": None}, r"bad\.jsonl:2: field 'prompt' must be a string, not null"),
        ({"messages": [QUESTION | {"role": "system"}]}, r"bad\.jsonl:2: .*must be the user's or the assistant's"),
    ],
)
def test_malformed_prompt_is_named(tmp_path, good, line, message):
    bad = write(tmp_path / "bad.jsonl", PAIR, line)
    with pytest.raises(ValueError, match=message):
        JsonlSource(general=good, target=bad, evaluation=None, needs_response=False)


def test_a_file_with_responses_says_so(good):
    assert JsonlSource(general=good, target=good, evaluation=None, needs_response=True).has_responses
