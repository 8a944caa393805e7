"""The hub source on local files of the same schema, through `datasets` itself."""

import json

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.data.build_source import build_source
from drpt.data.hub import HubSource


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def alpaca(tmp_path):
    path = tmp_path / "alpaca.jsonl"
    rows = [{"instruction": f"Say {i}", "input": "", "output": str(i), "kind": i % 2} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "path": "json",
        "data_files": str(path),
        "columns": {"prompt": "{instruction}\n{input}", "response": "output"},
    }


def test_columns_and_templates_are_mapped(alpaca):
    source = HubSource(general=alpaca, target=alpaca | {"filter": {"kind": 1}}, evaluation=None)
    general = sorted(source.general(0), key=lambda example: example.source)
    assert (general[3].prompt[0].content, general[3].response) == ("Say 3\n", "3")
    assert sorted(example.response for example in source.target(0)) == ["1", "3", "5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colums": {}}, r"data\.source\.general\.colums is not known\. Did you mean 'columns'"),
        ({"columns": {"prompt": "instruction"}}, r"must map either messages, or both prompt and response"),
        ({"path": None}, r"data\.source\.general\.path is needed"),
    ],
)
def test_bad_tables_are_refused_before_loading(alpaca, change, message):
    with pytest.raises(ValueError, match=message):
        HubSource(general=alpaca | change, target=alpaca, evaluation=None)


def test_empty_cells_of_a_template_are_no_text(alpaca, tmp_path):
    path = tmp_path / "nulls.jsonl"
    path.write_text('{"instruction": "Say 1", "input": null, "output": "1"}\n')
    source = HubSource(general=alpaca | {"data_files": str(path)}, target=alpaca, evaluation=None)
    assert next(source.general(0)).prompt[0].content == "Say 1\n"


def test_preset_takes_messages_from_the_command_line():
    columns = [f"data.source.{role}.columns.{key}" for role in ("general", "target") for key in ("prompt", "response")]
    words = [f"{key}=null" for key in columns]
    words += [f"data.source.{role}.columns.messages=messages" for role in ("general", "target")]
    node = check_config(compose_run(["data=hub", "sweep=x", *words])).data.source
    assert build_source(node)._tables["general"].columns == {"messages": "messages"}


def test_missing_column_is_named(alpaca):
    table = alpaca | {"columns": {"prompt": "instructon", "response": "output"}}
    with pytest.raises(ValueError, match=r"no column 'instructon'\. Did you mean 'instruction'\? Columns: instruction,"):
        list(HubSource(general=table, target=alpaca, evaluation=None).general(0))


def test_value_of_the_wrong_kind_is_named_with_its_row(alpaca):
    table = alpaca | {"columns": {"prompt": "instruction", "response": "kind"}}
    with pytest.raises(ValueError, match=r"row 0: field 'response' must be a string, not the number 0"):
        list(HubSource(general=table, target=alpaca, evaluation=None).general(0))


def test_data_that_cannot_be_loaded_is_named(alpaca):
    table = alpaca | {"data_files": "nowhere.jsonl"}
    with pytest.raises(ValueError, match=r"data\.source\.general: datasets\.load_dataset\('json'.*failed"):
        list(HubSource(general=table, target=alpaca, evaluation=None).general(0))
