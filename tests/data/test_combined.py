"""General and target data are chosen apart, and general data of several sources keep their shares."""

import json
from itertools import islice

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.data.build_source import build_source
from drpt.data.mixture import Mixture
from drpt.data.pools import draw_pools
from drpt.run_identity import identity_of
from tests.data.lists import sentence
from tests.data.people_files import ROW, line


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"question": sentence(i), "answer": str(i)}) + "\n" for i in range(40)))
    return path


def spec_of(*words):
    return check_config(compose_run(["sweep=x", *words])).data


def test_a_generated_pool_with_a_file_as_target(mine):
    data = spec_of("data/general=reasoning", "data/target=jsonl", f"data.target.source.path={mine}", "data.num_general=60")
    source = build_source(data.node)
    assert (source.is_endless, source.is_target_endless, source.has_responses) == (True, False, True)
    pools = draw_pools(source, data, seed=0, stopping_share=0.0)
    assert pools.sizes == {"general": 60, "target": 16, "stopping": 0, "evaluation": 24}
    assert {example.source for example in pools.general} >= {"gcd", "chain_sum"}
    assert all(example.source.startswith(str(mine)) for example in [*pools.target, *pools.evaluation])
    assert source.is_correct(pools.evaluation[0], pools.evaluation[0].response)
    assert data.label == "reasoning for jsonl"


def test_a_file_as_pool_with_a_generated_target(mine):
    words = ("data/general=jsonl", f"data.general.source.path={mine}", "data/target=reasoning", "data.num_eval=20")
    data = spec_of(*words, "evaluation.num_generate=8", "data.target.source.families=[gcd,lcm]")
    pools = draw_pools(build_source(data.node), data, seed=0, stopping_share=0.0)
    assert pools.sizes == {"general": 40, "target": 16, "stopping": 0, "evaluation": 20}
    assert {example.source for example in pools.evaluation} == {"gcd", "lcm"}
    assert any("only 40 general examples" in text for text in pools.chosen)


def test_one_kind_alone_is_chosen_apart(mine):
    data = spec_of("data/target=jsonl", f"data.target.source.path={mine}")
    source = build_source(data.node)
    assert next(source.general(0)).source == "basic_arithmetic"
    assert next(source.target(0)).source.startswith(str(mine))


def test_what_is_not_drawn_from_is_no_part_of_a_run(mine):
    apart = ["sweep=x", "data/general=reasoning", "data/target=jsonl", f"data.target.source.path={mine}"]
    first, second = (identity_of(compose_run([*apart, *more])) for more in ((), ("data=easy_reasoning",)))
    assert "source" not in first["data"]
    assert first["data"]["general"] == second["data"]["general"]
    other = identity_of(compose_run([*apart, "data.general.source.families=[gcd]"]))
    assert other != first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data/target=jsonl"], r"data\.target\.source\.path is needed"),
        (["data/target=jsnl"], r"data/target='jsnl' is not known\. Did you mean 'jsonl'"),
        (["data.target.source.path=a"], r"data\.target is null here; choose one of data/target=hub"),
        (["data/target=jsonl", "data.target.source.pth=a"], r"In data\.target\.source there is no 'pth'\. Did you mean 'path'"),
        (["data/target=mixture"], r"data/target='mixture' is not known"),
        (["data=general/jsonl"], r"data='general/jsonl' is not known"),
        (["+data/general=jsonl"], r"data/general is a group; write it without the plus"),
    ],
)
def test_bad_choices_are_explained(words, message):
    with pytest.raises(ValueError, match=message):
        spec_of(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.target.source.path=nowhere"], r"data\.target\.source\.path=nowhere: no such file"),
        (["data.target.source.format=x"], r"data\.target\.source\.format='x' is not known"),
        (["data.target.source.columns={prompt: q}"], r"data\.target\.source\.columns: in addition to prompt, map response"),
        (["data.target.source.columns={prompt: q, response: a}"], r"data\.target\.source\.path=[\s\S]*there is no column 'q'"),
        (["data.general.source.families=[gdc]"], r"data\.general\.source\.families='gdc' is not known.*'gcd'"),
        (["data.general.source.families=[]"], r"data\.general\.source\.families=\[\]: name at least one"),
        (["+data.general.source.options.gdc={a: 1}"], r"data\.general\.source\.options='gdc' is not known"),
        (["+data.general.source.options.gcd={a: 1}"], r"data\.general\.source\.options\.gcd=.*does not accept these"),
    ],
)
def test_bad_sources_are_explained_with_their_full_names(mine, words, message):
    apart = ["data/general=reasoning", "data/target=jsonl", f"data.target.source.path={mine}"]
    with pytest.raises(ValueError, match=message):
        build_source(spec_of(*apart, *words).node)


@pytest.mark.parametrize("stream", ["target", "evaluation"])
def test_a_table_that_cannot_be_read_is_named_as_it_was_typed(mine, monkeypatch, stream):
    monkeypatch.setattr("drpt.data.hub_table._is_reachable", lambda endpoint: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for path, message in (
        ("foo/baz", r"^data\.target\.source\.table\.path=foo/baz: the Hugging Face hub cannot be reached.*table\.path=FILE"),
        ("nowhere.jsonl", r"^data\.target\.source\.table\.path=nowhere\.jsonl: no such file"),
        (
            str(mine),
            r"^data\.target\.source\.table\.columns: .* has no column 'dialogue'.*source\.table\.columns=null|columns=null",
        ),
    ):
        source = build_source(spec_of("data/target=hub", f"data.target.source.table.path={path}").node)
        with pytest.raises(ValueError, match=message):
            next(getattr(source, stream)(0))


def test_a_preset_mapping_can_be_taken_away(mine):
    source = build_source(
        spec_of("data/target=hub", f"data.target.source.table.path={mine}", "data.target.source.table.columns=null").node
    )
    assert next(source.target(0)).response


def test_a_plain_text_is_no_target(tmp_path, mine):
    text = tmp_path / "text.jsonl"
    text.write_bytes(line({"text": "Once."}))
    data = spec_of(
        "data/general=jsonl", f"data.general.source.path={text}", "data/target=jsonl", f"data.target.source.path={mine}"
    )
    assert next(build_source(data.node).general(0)).is_plain_text
    data = spec_of("data/target=jsonl", f"data.target.source.path={text}")
    with pytest.raises(
        ValueError, match=r"data\.target\.source.*text\.jsonl:1: field 'text': plain texts are only for the general pool"
    ):
        build_source(data.node)


def test_shares_hold_in_every_beginning_of_the_pool(mine):
    parts = {"mine": {"weight": 1, "path": str(mine)}, "sums": {"weight": 3, "families": ["chain_sum", "gcd"]}}
    source = Mixture(parts=parts)
    assert (source.is_endless, source.has_responses) == (False, True)
    kinds = [example.source.startswith(str(mine)) for example in islice(source.general(0), 40)]
    for length in range(4, 41):
        assert abs(sum(kinds[:length]) - length / 4) <= 1


def test_shares_are_of_what_was_taken(mine):
    """Of the file, every second example is left out: the pool still has as many as its share."""
    parts = {"mine": {"weight": 1, "path": str(mine)}, "sums": {"weight": 1, "families": ["chain_sum"]}}
    stream, taken, verdict = Mixture(parts=parts).general(0), [], None
    while len(taken) < 30:
        example = stream.send(verdict)
        verdict = not (example.source.startswith(str(mine)) and int(example.response) % 2)
        taken += [example.source] if verdict else []
    assert sum(name.startswith(str(mine)) for name in taken) == 15


def test_a_mixture_ends_with_its_smallest_part_and_says_so(mine):
    word = f"+data.general.source.parts={{mine: {{weight: 1, path: {mine}}}, sums: {{weight: 1, families: [gcd]}}}}"
    data = spec_of(
        "data/general=mixture",
        word,
        "data/target=reasoning",
        "data.num_general=500",
        "data.num_eval=16",
        "evaluation.num_generate=8",
    )
    pools = draw_pools(build_source(data.node), data, seed=0, stopping_share=0.0)
    assert len(pools.general) in {80, 81}
    assert any("parts.mine has only 40 examples, and the mixture ends with it" in text for text in pools.chosen)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"parts: a mixture needs at least two parts, but 0 are given"),
        ({"a": {"weight": 1, "path": "x"}}, r"at least two parts, but 1 is given"),
        ({"a": {"path": "x"}, "b": {"weight": 1, "path": "y"}}, r"parts\.a\.weight is required"),
        ({"a": {"weight": 0, "path": "x"}, "b": {"weight": 1, "path": "y"}}, r"parts\.a\.weight=0 must"),
        ({"a": {"weight": 1}, "b": {"weight": 1, "path": "y"}}, r"parts\.a: give exactly one of path, families, table"),
        ({"a": {"weight": 1, "path": "nowhere"}, "b": {"weight": 1, "path": "y"}}, r"parts\.a\.path=nowhere: no such file"),
        ({"a": 3, "b": {"weight": 1, "path": "y"}}, r"parts\.a=3 must be a mapping"),
        ({"a": {"weight": 1, "families": ["gcd"], "x": 1}, "b": {}}, r"parts\.a\.x is not known"),
    ],
)
def test_bad_mixtures_are_explained(parts, message):
    with pytest.raises(ValueError, match=message):
        Mixture(parts=parts)


def test_single_sources_are_what_they_were():
    data = spec_of("data=easy_reasoning")
    assert data.node == data.source
    assert data.label == "reasoning"


def test_the_row_of_the_file_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(ROW)
    assert next(build_source({"_target_": "drpt.data.file_source.FileSource", "path": str(path)}).target(0)).response
