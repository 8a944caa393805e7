"""The hub source on local files of the same schema, through `datasets` itself."""

import json

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.data.build_source import build_source
from drpt.data.hub import HubSource
from drpt.rewards.build import build_reward
from drpt.rewards.reward import Answer


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
    source = HubSource(general=alpaca, target=alpaca | {"filter": {"kind": 1}}, evaluation=None, needs_response=True)
    general = sorted(source.general(0), key=lambda example: example.source)
    assert (general[3].prompt[0].content, general[3].response) == ("Say 3\n", "3")
    assert sorted(example.response for example in source.target(0)) == ["1", "3", "5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colums": {}}, r"data\.source\.general\.colums is not known\. Did you mean 'columns'"),
        ({"columns": {"prompt": "instruction"}}, r"must map either messages, or both prompt and response"),
        ({"path": None}, r"data\.source\.general\.path is required"),
    ],
)
def test_bad_tables_are_refused_before_loading(alpaca, change, message):
    with pytest.raises(ValueError, match=message):
        HubSource(general=alpaca | change, target=alpaca, evaluation=None, needs_response=True)


def test_empty_cells_of_a_template_are_no_text(alpaca, tmp_path):
    path = tmp_path / "nulls.jsonl"
    path.write_text('{"instruction": "Say 1", "input": null, "output": "1"}\n')
    source = HubSource(general=alpaca | {"data_files": str(path)}, target=alpaca, evaluation=None, needs_response=True)
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
        list(HubSource(general=table, target=alpaca, evaluation=None, needs_response=True).general(0))


def test_value_of_the_wrong_kind_is_named_with_its_row(alpaca):
    table = alpaca | {"columns": {"prompt": "instruction", "response": "kind"}}
    with pytest.raises(ValueError, match=r"row 0: field 'response' must be a string, not the number 0"):
        list(HubSource(general=table, target=alpaca, evaluation=None, needs_response=True).general(0))


def test_data_that_cannot_be_loaded_is_named(alpaca):
    table = alpaca | {"data_files": "nowhere.jsonl"}
    with pytest.raises(ValueError, match=r"data\.source\.general: datasets\.load_dataset\('json'.*failed"):
        list(HubSource(general=table, target=alpaca, evaluation=None, needs_response=True).general(0))


@pytest.fixture
def scored(tmp_path):
    """The schema of real-toxicity-prompts."""
    path = tmp_path / "scored.jsonl"
    scores = [0.0, 0.25, 0.5, 0.75, 1.0, None]
    rows = [{"file": "x", "prompt": {"text": f"Text {i}", "toxicity": score}} for i, score in enumerate(scores)]
    rows.append({"file": "x", "prompt": None})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": "json", "data_files": str(path), "columns": {"prompt": "prompt.text"}}


def drawn(table, conditions):
    table = table | {"filter": conditions}
    source = HubSource(general=table, target=table, evaluation=None, needs_response=False)
    return sorted(example.prompt[0].content for example in source.general(0))


@pytest.mark.parametrize(
    ("conditions", "places"),
    [
        ({"prompt.toxicity": {"min": 0.5}}, [2, 3, 4]),
        ({"prompt.toxicity": {"max": 0.5}}, [0, 1]),
        ({"prompt.toxicity": {"min": 0.25, "max": 1}}, [1, 2, 3]),
        ({"prompt.toxicity": {"min": 0.5, "max": None}, "file": "x"}, [2, 3, 4]),
        ({"prompt.toxicity": 0.75}, [3]),
        ({"prompt.toxicity": None, "prompt.text": "Text 5"}, [5]),
    ],
)
def test_rows_are_filtered_by_scores_in_structs(scored, conditions, places):
    assert drawn(scored, conditions) == [f"Text {i}" for i in places]


def test_prompts_alone_have_an_empty_last_turn(scored):
    table = scored | {"filter": {"prompt.toxicity": {"min": 0.0}}, "columns": {"prompt": "Go on: {prompt.text!r}"}}
    source = HubSource(general=table, target=table, evaluation=None, needs_response=False)
    example = min(source.general(0), key=lambda example: example.source)
    assert [(message.role, message.content) for message in example.messages] == [
        ("user", "Go on: 'Text 0'"),
        ("assistant", ""),
    ]
    assert not source.has_responses


def test_responses_that_are_there_are_kept_and_others_left_empty(alpaca, tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text('{"q": "Say 0", "a": null}\n{"q": "Say 1", "a": "1"}\n')
    table = alpaca | {"data_files": str(path), "columns": {"prompt": "q", "response": "a"}}
    source = HubSource(general=table, target=table, evaluation=None, needs_response=False)
    assert sorted(example.response for example in source.general(0)) == ["", "1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"filter": {"prompt.toxicity": {"mim": 0.5}}},
            r"target\.filter: prompt\.toxicity: 'mim' is not known\. Did you mean 'min'",
        ),
        ({"filter": {"prompt.toxicity": {"min": "much"}}}, r"target\.filter: prompt\.toxicity: min='much' must be a number"),
        ({"filter": {"prompt.toxicity": {"min": 1, "max": 1}}}, r"target\.filter: prompt\.toxicity: .*is an empty range"),
        ({"filter": {"prompt.toxicity": {}}}, r"target\.filter: prompt\.toxicity: .*is an empty range"),
        ({"filter": "toxic"}, r"target\.filter='toxic' must map columns to values"),
        ({"columns": {"response": "prompt.text"}}, r"target\.columns maps \['response'\]; it must map"),
    ],
)
def test_bad_filters_and_columns_are_refused_before_loading(scored, change, message):
    with pytest.raises(ValueError, match=rf"data\.source\.{message}"):
        HubSource(general=scored, target=scored | change, evaluation=None, needs_response=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": {"prompt": "prompt.txt"}},
            r"general\.columns: json has no column 'prompt\.txt'\. Did you mean 'prompt\.text'\?",
        ),
        ({"columns": {"prompt": "Go on: {}"}}, r"general\.columns\.prompt='Go on: \{\}' names no column in braces"),
        ({"filter": {"prompt.toxic": {"min": 0}}}, r"general\.filter: json has no column 'prompt\.toxic'.*'prompt\.toxicity'"),
        ({"filter": {"prompt.text": {"min": 0}}}, r"row 0: column 'prompt\.text' contains a string, but its filter is a range"),
        ({"filter": {"prompt.toxicity": {"min": 2}}}, r"no row is left.*In the first, 'prompt\.toxicity' holds the number"),
        ({}, r"row 6: field 'prompt' must be a string, not null"),
    ],
)
def test_paths_and_cells_that_do_not_fit_are_named(scored, change, message):
    with pytest.raises(ValueError, match=message):
        list(HubSource(general=scored | change, target=scored, evaluation=None, needs_response=False).general(0))


def test_prompts_alone_need_a_key_and_the_message_says_which(scored):
    with pytest.raises(ValueError, match=r"both prompt and response.*data\.source\.needs_response=false"):
        HubSource(general=scored, target=scored, evaluation=None, needs_response=True)


def test_the_preset_of_prompts_reads_its_schema(scored):
    files = [
        f"data.source.{role}.{key}"
        for role in ("general", "target")
        for key in (f"data_files={scored['data_files']}", "path=json")
    ]
    node = check_config(compose_run(["data=hub_prompts", "sweep=x", *files])).data.source
    source = build_source(node)
    assert sorted(example.prompt[0].content for example in source.target(0)) == [
        f"Continue this text: Text {i}" for i in (2, 3, 4)
    ]
    assert len(list(source.general(0))) == 2
    word = "data.source.target.filter={prompt.toxicity: {min: 0.9}}"  # on the command line, too
    node = check_config(compose_run(["data=hub_prompts", "sweep=x", *files, word])).data.source
    assert [example.prompt[0].content for example in build_source(node).evaluation(0)] == ["Continue this text: Text 4"]


SOLVED = {
    "math": (
        {
            "problem": "What is $\\frac{1}{4}+\\frac{1}{4}$?",
            "level": "Level 1",
            "solution": "It is $\\boxed{\\frac{1}{2}}$.",
            "type": "Algebra",
        },
        "What is $\\frac{1}{4}+\\frac{1}{4}$?\nPut the final answer into \\boxed{}.",
        ("so \\boxed{0.5}", "it is 0.5"),
    ),
    "gsm8k": (
        {"question": "Ann has 3 bags of 400 nuts. How many?", "answer": "3 * 400 = <<3*400=1200>>1200\n#### 1,200"},
        "Ann has 3 bags of 400 nuts. How many?",
        ("That makes 1200 nuts.", "That makes 120 nuts."),
    ),
}


@pytest.mark.parametrize(("name", "reward"), [("math", "math_boxed"), ("gsm8k", "math")])
def test_presets_of_mathematics_read_their_schemas_and_the_reward_reads_their_solutions(tmp_path, name, reward):
    row, prompt, (right, wrong) = SOLVED[name]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    words = [f"data={name}", f"reward={reward}", "task=rlvr", "sweep=x", *table_words(path)]
    spec = check_config(compose_run(words))
    (example,) = build_source(spec.data.source).target(0)
    assert example.prompt[0].content == prompt
    judged = build_reward(spec.reward)(
        [Answer(example=example, text=text, num_tokens=9, is_finished=True) for text in (right, wrong)]
    )
    assert judged[0].value - judged[1].value == 1.0, "besides what a form is worth"


def table_words(path):
    """A local table in the place of the hub's."""
    values = {"path": "json", "name": "null", "split": "train", "data_files": path}
    return [
        f"data.source.{role}.{key}={value}" for role in ("general", "target", "evaluation") for key, value in values.items()
    ]


@pytest.fixture
def dialogues(tmp_path):
    path = tmp_path / "dialogues.jsonl"
    rows = [{"dialogue": f"Ann: {i}", "summary": f"Ann says {i}."} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("way", ["a file", "a builder"])
def test_with_local_files_the_hub_is_not_asked(dialogues, monkeypatch, way):
    """The preset's own evaluation table is of the hub, and must follow the target's path."""
    monkeypatch.setattr("drpt.data.hub_table._is_reachable", lambda endpoint: pytest.fail("the hub is asked"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    keys = {"path": dialogues} if way == "a file" else {"path": "json", "data_files": dialogues}
    words = [f"data.source.target.{key}={value}" for key, value in keys.items()]
    words += [f"data.source.general.{key}={value}" for key, value in keys.items()]
    words += ["data.source.general.columns={prompt: dialogue, response: summary}"]
    source = build_source(check_config(compose_run(["data=hub", "sweep=x", *words])).data.source)
    first = next(source.evaluation(0))
    assert first.prompt[0].content.startswith("Summarize this dialogue:\nAnn: ")
    assert sorted(row.response for row in source.evaluation(0)) == sorted(row.response for row in source.target(0))
    assert len(list(source.general(0))) == 6


def test_the_evaluation_follows_the_target_path_on_the_hub_too():
    words = ["data=hub", "sweep=x", "data.source.target.path=some/data", "data.source.target.name=en"]
    node = check_config(compose_run(words)).data.source
    assert (node["evaluation"]["path"], node["evaluation"]["name"], node["evaluation"]["split"]) == ("some/data", "en", "test")


def test_offline_it_says_so_once_and_what_to_do(monkeypatch, caplog):
    asked = []
    monkeypatch.setattr("drpt.data.hub_table._is_reachable", lambda endpoint: asked.append(endpoint) or False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    source = build_source(check_config(compose_run(["data=hub", "sweep=x"])).data.source)
    with pytest.raises(
        ValueError, match=r"data\.source\.general\.path=tatsu-lab/alpaca: the Hugging Face hub cannot be reached"
    ) as error:
        next(source.general(0))
    assert "path=FILE.jsonl" in str(error.value)
    assert "HF_HOME" in str(error.value)
    assert len(asked) == 1


def test_a_local_file_without_the_columns_of_the_preset_is_refused_once_with_the_way_out(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "a", "response": "b"}) + "\n")
    words = ["data=hub", "sweep=x", f"data.source.target.path={path}"]
    source = build_source(check_config(compose_run(words)).data.source)
    for stream in (source.target, source.evaluation):  # whose path follows the target's
        with pytest.raises(ValueError, match=r"^data\.source\.target\.columns: .* no column 'dialogue'.*columns=null") as error:
            next(stream(0))
        assert str(error.value).count("no column") == 1
    source = build_source(check_config(compose_run([*words, "data.source.target.columns=null"])).data.source)
    assert [next(stream(0)).response for stream in (source.target, source.evaluation)] == ["b", "b"]


def test_lists_and_structs_of_a_table_are_reached(tmp_path):
    path = tmp_path / "squad.jsonl"
    path.write_text(json.dumps({"question": "Who?", "answers": {"text": ["Austen"], "answer_start": [3]}}) + "\n")
    table = {"path": "json", "data_files": str(path), "columns": {"prompt": "question", "response": "{answers.text[0]}"}}
    source = HubSource(general=table, target=table, evaluation=None, needs_response=True)
    assert next(source.target(0)).response == "Austen"
    whole = table | {"columns": {"prompt": "question", "response": "{answers.text}"}}
    with pytest.raises(ValueError, match=r"row 0: column 'answers\.text' contains a list, which is not text"):
        next(HubSource(general=whole, target=table, evaluation=None, needs_response=True).general(0))
