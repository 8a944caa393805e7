"""Columns that say something of a conversation beside those of its format: read, or refused with the way out, never dropped."""

import logging

import pyarrow
import pyarrow.parquet
import pytest

from drpt.data.file_source import FileSource
from drpt.data.jsonl import JsonlSource
from drpt.data.preferences import PreferencePairs
from tests.data.people_files import ASK, ASSISTANT, GPT, HUMAN, PAIR, SAY, USER, line

FLAT = {"prompt": ASK, "response": SAY}
SYSTEM = ("system", "Be brief.")
FUNCTION = {"name": "find", "parameters": {"type": "object", "properties": {"title": {"type": "string"}}}}
TOOL = {"type": "function", "function": FUNCTION}


def read(tmp_path, row, *, name="a.jsonl", **keys):
    path = tmp_path / name
    path.write_bytes(row if isinstance(row, bytes) else line(row))
    (example,) = FileSource(path=str(path), **keys).general(0)
    return example


def turns(example):
    return tuple((message.role, message.content) for message in example.messages)


ROWS = {
    "prompt and response": FLAT,
    "prompt and completion": {"prompt": [USER], "completion": [ASSISTANT]},
    "messages": {"messages": [USER, ASSISTANT]},
    "ShareGPT": {"conversations": [HUMAN, GPT]},
    "question": {"question": ASK, "answer": SAY},
    "instruction": {"instruction": ASK, "output": SAY},
}


@pytest.mark.parametrize("name", ["system", "system_prompt"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_system_prompt_beside_any_format_is_its_first_turn(tmp_path, row, name):
    assert turns(read(tmp_path, row | {name: "Be brief."})) == (SYSTEM, *PAIR)
    assert turns(read(tmp_path, row | {name: None})) == PAIR
    assert turns(read(tmp_path, row | {name: ""})) == PAIR


def test_a_system_prompt_that_is_mapped_is_read(tmp_path):
    row = {"s": "Be brief.", "q": ASK, "a": SAY}
    for columns in ({"prompt": "{q}", "response": "{a}", "system": "{s}"}, {"prompt": "q", "completion": "a", "system": "s"}):
        assert turns(read(tmp_path, row, columns=columns)) == (SYSTEM, *PAIR)
    row = {"s": "Be brief.", "m": [USER, ASSISTANT]}
    assert turns(read(tmp_path, row, columns={"messages": "m", "system": "s"})) == (SYSTEM, *PAIR)
    assert turns(
        read(tmp_path, b"s,q,a\nBe brief.,q,a\n", name="a.csv", columns={"prompt": "q", "response": "a", "system": "s"})
    )[0] == (SYSTEM)


def test_two_system_prompts_must_agree(tmp_path):
    own = {"messages": [{"role": "system", "content": "Be brief. "}, USER, ASSISTANT]}
    assert len(read(tmp_path, own | {"system": "Be brief."}).messages) == 3
    with pytest.raises(ValueError, match=r"field 'system' differs from the system turn.*messages: messages"):
        read(tmp_path, own | {"system": "Be long."})
    with pytest.raises(ValueError, match=r"'system' and 'system_prompt' are both filled"):
        read(tmp_path, FLAT | {"system": "a", "system_prompt": "b"})


def test_a_system_prompt_stands_before_both_sides_of_a_preference(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(line({"prompt": ASK, "chosen": SAY, "rejected": "No.", "system": "Be brief."}))
    (example,) = PreferencePairs(general=str(path), target=str(path), evaluation=None).target(0)
    assert turns(example) == (SYSTEM, *PAIR)


@pytest.mark.parametrize("functions", [[FUNCTION], [TOOL], '[{"name": "find", "parameters": {}}]'])
def test_functions_are_tools(tmp_path, functions):
    row = {"messages": [USER, {"role": "assistant", "function_call": {"name": "find", "arguments": "{}"}}]}
    (tool,) = read(tmp_path, row | {"functions": functions}).tools
    assert (tool["type"], tool["function"]["name"]) == ("function", "find")
    assert read(tmp_path, row | {"functions": [FUNCTION], "tools": [TOOL]}).tools == (TOOL,)
    with pytest.raises(ValueError, match="'tools' and 'functions' are both filled and differ"):
        read(tmp_path, row | {"functions": [FUNCTION], "tools": [{"type": "function", "function": {"name": "other"}}]})


@pytest.mark.parametrize(
    "history",
    [[["Hi", "Hello."]], '[["Hi", "Hello."]]', [{"role": "user", "content": "Hi"}, ASSISTANT | {"content": "Hello."}]],
)
@pytest.mark.parametrize("row", [FLAT, ROWS["instruction"], ROWS["question"]])
def test_a_history_stands_before_the_question(tmp_path, row, history):
    example = read(tmp_path, row | {"history": history, "system": "Be brief."})
    assert turns(example) == (SYSTEM, ("user", "Hi"), ("assistant", "Hello."), *PAIR)
    assert turns(read(tmp_path, row | {"history": []})) == PAIR


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"question": ASK, "context": "Emma is a novel.", "answer": SAY}, f"Emma is a novel.\n\n{ASK}"),
        ({"question": ASK, "context": None, "answer": SAY}, ASK),
        ({"instruction": ASK, "context": "Emma is a novel.", "response": SAY, "category": "qa"}, f"{ASK}\nEmma is a novel."),
        ({"instruction": ASK, "context": "", "response": SAY}, ASK),
        ({"system_prompt": "", "question": ASK, "response": SAY}, ASK),
    ],
)
def test_what_a_question_is_about_is_in_its_prompt(tmp_path, row, asked):
    assert turns(read(tmp_path, row)) == (("user", asked), PAIR[1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            FLAT | {"context": "c"},
            r'field \'context\' would be lost: .*columns=\{prompt: "\{context\} \{prompt\}", response: "\{re',
        ),
        (FLAT | {"input": "c"}, r'map only the others: columns=\{prompt: "\{prompt\}", response: "\{response\}"\}\.$'),
        (ROWS["question"] | {"choices": ["a", "b"]}, r"field 'choices' would be lost: .*\"\{choices\} \{question\}\""),
        (ROWS["question"] | {"context": {"text": "c"}}, r"field 'context' must be a string, not an object"),
        (
            ROWS["instruction"] | {"input": "a", "context": "b"},
            r"fields 'input' and 'context' are both filled: map where they go",
        ),
        (
            ROWS["messages"] | {"documents": [{"text": "d"}]},
            r"field 'documents' would be lost: .*columns=\{messages: messages\}",
        ),
        (ROWS["ShareGPT"] | {"image": "a.png"}, r"field 'image' would be lost: only texts can be trained on"),
        (ROWS["messages"] | {"history": [["a", "b"]]}, r"field 'history' would be lost"),
        (FLAT | {"history": ["a"]}, r"field 'history' must be a list of pairs"),
        (FLAT | {"system": ["a"]}, r"field 'system' must be a string, not a list"),
    ],
)
def test_what_has_no_place_is_refused_with_the_way_out(tmp_path, row, message):
    with pytest.raises(ValueError, match=rf"a\.jsonl:1: {message}|a\.jsonl:1: .*{message}"):
        read(tmp_path, row)


def test_the_way_out_is_one(tmp_path):
    columns = {"prompt": "{context} {prompt}", "response": "{response}"}
    assert turns(read(tmp_path, FLAT | {"context": "c"}, columns=columns))[0] == ("user", f"c {ASK}")
    assert turns(read(tmp_path, ROWS["messages"] | {"documents": ["d"]}, columns={"messages": "messages"})) == PAIR


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        *((False, "true"), (0, "1"), (0.0, "1"), (-1, "1"), ("false", '"true"'), ("False", '"True"'), ("0", '"1"')),
        *(("undesirable", '"desirable"'), ("NO", '"YES"')),
    ],
)
@pytest.mark.parametrize("row", [ROWS["prompt and completion"], FLAT, ROWS["messages"]])
def test_an_unwanted_answer_is_not_imitated(tmp_path, row, label, wanted):
    with pytest.raises(ValueError, match=rf"field 'label' is .*filter=\{{label: {wanted}\}}"):
        read(tmp_path, row | {"label": label})


@pytest.mark.parametrize("label", [True, 1, "true", "True", "desirable", None])
def test_a_wanted_answer_is_read(tmp_path, label):
    assert turns(read(tmp_path, FLAT | {"label": label})) == PAIR


def test_the_filter_that_is_recommended_leaves_unwanted_answers_out(tmp_path):
    content = f"prompt,completion,label\nq,bad,False\n{ASK},{SAY},True\n".encode()
    with pytest.raises(ValueError, match=r'filter=\{label: "True"\}'):
        read(tmp_path, content, name="a.csv")
    assert turns(read(tmp_path, content, name="a.csv", filter={"label": "True"})) == PAIR


def test_where_the_recommended_keys_are_is_said_for_the_short_form(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(FLAT | {"label": 0}))
    with pytest.raises(
        ValueError, match=r"keys of data/target=jsonl: data/target=jsonl data\.target\.source\.path=.*a\.jsonl 'data"
    ):
        JsonlSource(general=str(_good(tmp_path)), target=str(path), evaluation=None, needs_response=True)
    with pytest.raises(ValueError, match=r"keys of data/general=jsonl"):
        JsonlSource(general=str(path), target=str(path), evaluation=None, needs_response=True)
    with pytest.raises(ValueError, match=r"field 'label' is 0") as error:
        FileSource(path=str(path))
    assert "keys of" not in str(error.value)


def _good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_bytes(line(FLAT))
    return path


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": "t", "system": "s"}, r"has no field system: remove system"),
        ({"text": "t", "tools": "s"}, r"has no field tools"),
        ({"messages": "m", "prompt": "p"}, r"columns: messages, prompt: .* has no field prompt"),
        ({"prompt": "p", "response": "r", "text": "t"}, r"has no field text"),
        ({"prompt": "p"}, r"columns: in addition to prompt, map response"),
        ({"system": "s"}, r"columns: system: the row has no known format"),
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, r"Preferences are for task=reward"),
        (
            {"prompt": "{q", "response": "a"},
            r"columns\.prompt='\{q': its braces cannot be read .*Write the name of each column",
        ),
        ({"prompt": "q", "response": "{a:{}"}, r"columns\.response='\{a:\{\}': its braces cannot be read"),
        ({"prompt": "{}", "response": "a"}, r"columns\.prompt='\{\}' names no column in braces"),
        ({"prompt": "q}{", "response": "a"}, r"columns\.prompt='q\}\{': its braces cannot be read"),
    ],
)
def test_a_mapping_that_cannot_hold_is_refused_before_rows_are_read(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, FLAT, columns=columns)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": ASK, "chosen": SAY, "rejected": "No."}, r"no known format .*Preferences are for task=reward"),
        (
            {"question": ASK, "answers": {"text": [SAY]}},
            r"field 'answer' is missing\. Did you mean 'answers'\?.*\"\{question\}\"",
        ),
        (
            {"instruction": ASK, "completion": SAY},
            r"field 'output' is missing.*columns=\{prompt: \"\{instruction\}\", response",
        ),
        (
            {"response": SAY, "query": ASK},
            r"field 'prompt' is missing\. Fields: 'response', 'query'.*response: \"\{response\}\"",
        ),
    ],
)
def test_half_a_format_is_refused_with_the_columns_and_a_mapping(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, row)


def test_columns_that_are_not_used_are_said_once(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(FLAT | {"id": 1, "source": "x"}) + line(FLAT | {"id": 2, "topic": "y", "system": "S"}))
    with caplog.at_level(logging.INFO, logger="drpt"):
        for _ in range(2):
            FileSource(path=str(path))
        FileSource(path=str(path), columns={"prompt": "prompt", "response": "response"})
    assert [record.getMessage().partition(":")[2] for record in caplog.records] == [
        " the columns 'id', 'source', 'topic' are not read; columns={…} maps other columns."
    ]


def test_of_formats_with_empty_columns_the_filled_one_is_read(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [{"messages": [USER, ASSISTANT], "prompt": None, "response": None}, FLAT | {"messages": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [turns(example) for example in FileSource(path=str(path)).general(0)] == [PAIR, PAIR]
