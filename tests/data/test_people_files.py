"""Each file that people have is read, or refused with file, line, field and fix."""

import datetime

import pyarrow
import pyarrow.parquet
import pytest

from drpt.data.file_source import FileSource
from drpt.data.hub_part import HubPart
from drpt.data.jsonl import JsonlSource
from drpt.data.preferences import PreferencePairs
from tests.data.bad_files import BAD
from tests.data.people_files import ASK, ASSISTANT, GOOD, GPT, HUMAN, PAIR, ROW, SAY, USER, line


def written(tmp_path, file):
    path = tmp_path / file.name
    path.write_bytes(file.content)
    return str(path)


def turns(example):
    return tuple((message.role, message.content) for message in example.messages)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.label)
def test_what_people_have_is_read(tmp_path, file):
    (example,) = FileSource(path=written(tmp_path, file)).general(0)
    assert turns(example) == file.turns


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.label)
def test_what_is_wrong_is_said_with_its_place_and_the_fix(tmp_path, file):
    path = written(tmp_path, file)
    with pytest.raises(ValueError, match=file.error) as error:
        FileSource(path=path)
    assert str(error.value).startswith(f"path={path}: ")


def test_tool_calls_tools_and_thoughts_are_kept(tmp_path):
    file = next(file for file in GOOD if file.label.startswith("tool calls"))
    (example,) = FileSource(path=written(tmp_path, file)).general(0)
    (call,) = example.messages[1].tool_calls
    assert (call.name, call.arguments, call.id) == ("find", '{"title": "Emma"}', "c1")
    assert example.messages[2].tool_call_id == "c1"
    assert example.tools[0]["function"]["name"] == "find"
    path = tmp_path / "thoughts.jsonl"
    path.write_bytes(line({"messages": [USER, ASSISTANT | {"reasoning_content": "Austen?", "weight": 0}, USER, ASSISTANT]}))
    (example,) = FileSource(path=str(path)).general(0)
    assert example.messages[1].reasoning_content == "Austen?"
    assert [message.is_learned for message in example.messages] == [True, False, True, True]


WEATHER = {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]}
SEARCH = {"role": "assistant", "tool_calls": [{"function": {"name": "search", "arguments": {"query": "Emma", "n": 3}}}]}
BARE = {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": {}}}]}


def tool(name, **properties):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


CALLING = [
    {"messages": [USER, WEATHER], "tools": [tool("weather", city={"type": "string", "enum": ["Paris", "Rome"]})]},
    {"messages": [USER, SEARCH], "tools": [tool("search", query={"type": "string"}, n={"type": "integer"})]},
    {"messages": [USER, BARE], "tools": [tool("now")]},
]


def calls_and_tools(examples):
    return sorted((example.messages[-1].tool_calls[0].arguments, example.tools) for example in examples)


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
def test_fields_that_arrow_adds_to_calls_and_tools_are_not_there(tmp_path, kind, monkeypatch):
    lines = tmp_path / "rows.jsonl"
    lines.write_bytes(b"".join(map(line, CALLING)))
    expected = calls_and_tools(FileSource(path=str(lines)).general(0))
    assert [arguments for arguments, _ in expected] == ['{"city": "Paris"}', '{"query": "Emma", "n": 3}', "{}"]
    if kind == "parquet":
        path = tmp_path / "rows.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(CALLING), path)
        found = FileSource(path=str(path)).general(0)
    else:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        found = HubPart(table={"path": "json", "data_files": str(lines)}).general(0)
    assert calls_and_tools(found) == expected


def test_a_field_that_arrow_adds_is_no_part_of_a_cell_in_json_and_no_text_by_itself(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [{"q": ASK, "args": {"city": "Paris"}}, {"q": ASK, "args": {"query": "Emma"}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    source = FileSource(path=str(path), columns={"prompt": "{q}", "response": "{args:json}{args.query}"})
    assert sorted(example.response for example in source.general(0)) == ['{"city": "Paris"}', '{"query": "Emma"}Emma']


def test_a_null_that_was_written_in_json_stays(tmp_path):
    path = tmp_path / "rows.jsonl"
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"limit": None}}}]}
    path.write_bytes(line({"messages": [USER, call]}))
    (example,) = FileSource(path=str(path)).general(0)
    assert example.messages[-1].tool_calls[0].arguments == '{"limit": null}'


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{id:json}", LONG),
        ("{id:d}", LONG),
        ("{id}", LONG),
        ("{all:json}", f'[-{LONG}, {{"é": {LONG}, "x": null}}]'),
        ("{all[0]}", f"-{LONG}"),
        ("{nothing:json} {nothing:>5}.", "null ."),
    ],
)
def test_a_number_of_thousands_of_digits_is_written_in_all_of_them(tmp_path, template, text):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"q": "{ASK}", "id": {LONG}, "all": [-{LONG}, {{"é": {LONG}, "x": null}}], "nothing": null}}\n')
    source = FileSource(path=str(path), columns={"prompt": "q", "response": f"{template} "})
    assert next(source.general(0)).response == f"{text} "
    with pytest.raises(ValueError, match=r"column 'id': a number with 5000 digits has no format ',d'"):
        FileSource(path=str(path), columns={"prompt": "q", "response": "{id:,d}"})
    with pytest.raises(ValueError, match=r"column 'id': !r writes Python's notation; write it as JSON, \{id:json\}"):
        FileSource(path=str(path), columns={"prompt": "q", "response": "{id!r}"})


def test_a_number_of_thousands_of_digits_is_in_the_ranges_that_hold_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": ' + LONG.encode() + b", " + ROW[1:] + b'{"id": -' + LONG.encode() + b", " + ROW[1:])
    for bounds, lines in (({"min": 1}, [1]), ({"max": 1}, [2]), ({"min": -1, "max": 1e300}, [])):
        if lines:
            found = FileSource(path=str(path), filter={"id": bounds}).general(0)
            assert [example.source for example in found] == [f"{path}:{number}" for number in lines]
        else:
            with pytest.raises(ValueError, match="the filter rejects all"):
                FileSource(path=str(path), filter={"id": bounds})


def test_the_arguments_of_a_call_keep_a_number_of_thousands_of_digits(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"messages": [USER, {"role": "assistant", "function_call": {"name": "f", "arguments": {"n": "N"}}}]}
    path.write_bytes(line(row).replace(b'"N"', LONG.encode()))
    (example,) = FileSource(path=str(path)).general(0)
    assert example.messages[-1].tool_calls[0].arguments == f'{{"n": {LONG}}}'


def test_what_trl_has_in_a_prompt_is_not_learned(tmp_path):
    path = tmp_path / "rows.jsonl"
    for key in ("completion", "response"):
        path.write_bytes(line({"prompt": [USER, ASSISTANT, USER], key: [ASSISTANT, USER, ASSISTANT]}))
        (example,) = FileSource(path=str(path)).general(0)
        said = [message.is_learned for message in example.messages if message.role == "assistant"]
        assert said == [False, True, True]


def test_turns_of_sharegpt_have_what_other_turns_have(tmp_path):
    path = tmp_path / "rows.jsonl"
    thoughtful = GPT | {"reasoning_content": "Austen?", "train": False}
    calling = {"from": "gpt", "value": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    answer = {"from": "tool", "value": "3", "tool_call_id": "1", "name": "f"}
    path.write_bytes(
        line({"conversations": [HUMAN | {"train": False}, thoughtful, HUMAN, calling, answer, GPT | {"loss": True}]})
    )
    (example,) = FileSource(path=str(path)).general(0)
    assert example.messages[1].reasoning_content == "Austen?"
    assert example.messages[3].tool_calls[0].name == "f"
    assert (example.messages[4].tool_call_id, example.messages[4].name) == ("1", "f")
    assert [example.messages[place].is_learned for place in (1, 3, 5)] == [False, True, True]


def test_a_plain_text_is_for_the_general_pool_alone(tmp_path):
    text, talk = tmp_path / "text.jsonl", tmp_path / "talk.jsonl"
    text.write_bytes(line({"text": SAY}))
    talk.write_bytes(ROW)
    (example,) = JsonlSource(general=str(text), target=str(talk), evaluation=None, needs_response=True).general(0)
    assert example.is_plain_text
    with pytest.raises(
        ValueError, match=r"^data\.source\.target=[\s\S]*text\.jsonl:1: the row has no known format.*general pool"
    ):
        JsonlSource(general=str(talk), target=str(text), evaluation=None, needs_response=True)


def test_a_folder_is_refused_with_a_file_in_it(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(ROW)
    with pytest.raises(ValueError, match=r"a folder\. Give a file in it, such as .*rows\.jsonl"):
        FileSource(path=str(tmp_path))


def test_parquet_is_read_with_its_structs_and_lists(tmp_path):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": [USER, ASSISTANT], "tools": None}]), path)
    (example,) = FileSource(path=str(path)).general(0)
    assert turns(example) == PAIR


CELLS = {
    "question": ASK,
    "answers": {"text": ["Austen", "b"], "start": [3]},
    "day": datetime.date(2024, 1, 2),
    "moment": datetime.datetime(2024, 1, 2),
    "count": 3,
    "share": 0.5,
    "is_true": True,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{answers.text[0]}", "Austen"),
        ("{answers.text[-1]}", "b"),
        ("answers.text[0]", "Austen"),
        ("On {day}: {count}", "On 2024-01-02: 3"),
        ("{moment}", "2024-01-02T00:00:00"),
        ("{share} {is_true} {nothing}.", "0.5 true ."),
        ("{answers.text:json}", '["Austen", "b"]'),
    ],
)
def test_a_value_that_is_no_text_is_written_by_a_rule(tmp_path, template, text):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([CELLS]), path)
    (example,) = FileSource(path=str(path), columns={"prompt": "question", "response": template}).general(0)
    assert example.response == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{answers.text}", r"column 'answers\.text' contains a list.*\{answers\.text\[0\]\}.*\{answers\.text:json\}"),
        ("It is {answers}", r"column 'answers' contains an object, which is not text"),
        ("day", r"field 'response' must be a string, not a value of type date\. Write the column in braces, '\{day\}'"),
        ("count", r"field 'response' must be a string, not the number 3\. Write the column in braces"),
        ("{day!r}", r"column 'day': !r writes Python's notation"),
        ("{answers.text[5]}", r"column 'answers\.text' has 2 items, so \[5\] does not exist"),
        ("{answers[0]}", r"column 'answers' contains an object, not a list"),
        (
            "{answers.text.x}",
            r"column 'answers\.text' contains a list, which has no field 'x'\. Name an item: answers\.text\[0\]\.x",
        ),
        ("{answrs.text}", r"there is no column 'answrs\.text'.*Columns: question, answers"),
    ],
)
def test_a_value_that_no_rule_writes_is_refused(tmp_path, template, message):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([CELLS]), path)
    with pytest.raises(ValueError, match=rf"rows\.parquet, row 0: {message}"):
        FileSource(path=str(path), columns={"prompt": "question", "response": template})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "chatml"}, r"^format='chatml' is not known\..*Choices: auto, messages, sharegpt"),
        ({"columns": {"prmpt": "a"}}, r"^columns\.prmpt is not known\. Did you mean 'prompt'"),
        ({"columns": {"prompt": None}}, r"^columns maps no field"),
        ({"filter": {"a": {"mim": 1}}}, r"^filter: a: 'mim' is not known"),
        ({"path": "nowhere.jsonl"}, r"^path=nowhere\.jsonl: no such file"),
    ],
)
def test_bad_keys_are_refused(tmp_path, keys, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(ROW)
    with pytest.raises(ValueError, match=message):
        FileSource(**({"path": str(path)} | keys))


REJECTED = {"role": "assistant", "content": "Charles Dickens."}
DIALOGUE = "\n\nHuman: Who wrote Emma?\n\nAssistant: "


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASK, "chosen": SAY, "rejected": "Charles Dickens."},
        {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [REJECTED]},
        {"chosen": [USER, ASSISTANT], "rejected": [USER, REJECTED]},
        {"prompt": ASK, "chosen": [USER, ASSISTANT], "rejected": [USER, REJECTED], "score_chosen": 3.0},
        {"chosen": DIALOGUE + SAY, "rejected": DIALOGUE + "Charles Dickens."},
    ],
    ids=["texts", "turns", "prompt inside", "prompt beside and inside", "dialogues"],
)
def test_preferences_are_read_in_each_form(tmp_path, row):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(line(row))
    (example,) = PreferencePairs(general=str(path), target=str(path), evaluation=None).target(0)
    assert turns(example) == PAIR
    assert example.payload["rejected"] == "Charles Dickens."


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": SAY, "rejected": "b"}, r"field 'prompt' is missing"),
        ({"chosen": [USER, ASSISTANT], "rejected": [ASSISTANT]}, r"field 'prompt' is missing"),
        (
            {"chosen": [USER, ASSISTANT], "rejected": [USER | {"content": "x"}, REJECTED]},
            r"field 'rejected' differs from the prompt before its last turn",
        ),
        ({"prompt": ASK, "chosen": [USER], "rejected": [REJECTED]}, r"field 'chosen' ends with the role 'user'"),
        ({"messages": [USER, ASSISTANT]}, r"the row has no known format .*Known formats: pair"),
    ],
)
def test_what_is_no_preference_is_named(tmp_path, row, message):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(line(row))
    with pytest.raises(ValueError, match=rf"pairs\.jsonl:1: {message}"):
        PreferencePairs(general=str(path), target=str(path), evaluation=None)


def test_sharegpt_can_be_forced(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(line({"messages": [USER, REJECTED], "conversations": [HUMAN, GPT]}))
    (example,) = FileSource(path=str(path), format="sharegpt").general(0)
    assert turns(example) == PAIR
