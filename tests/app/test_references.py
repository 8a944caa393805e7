"""References that no answer can equal: found before a model is loaded, said with their line, or left out and counted."""

import json
from pathlib import Path

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.run_data import DrawnBefore, describe_data
from drpt.data.build_source import build_source
from drpt.rewards.references import UnreadableReferenceError

GOOD = ["3, 5, 7", "1,2", r"10\%", "3 1/2", r"\boxed{5.}", "#### 1,000", "-2,1", "1e3"]


def write(path, references):
    rows = [{"prompt": f"{path}: what is number {i}?", "response": reference} for i, reference in enumerate(references)]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def words(*more):
    return [
        *("task=rlvr", "model=tiny", "data=jsonl", "reward=math", "sweep=refs", "logger=off"),
        *("data.source.general=general.jsonl", "data.source.target=target.jsonl"),
        *("data.num_general=6", "data.num_target=3", "data.num_eval=3", "evaluation.num_generate=3"),
        *("data.general_rows=4", "data.target_rows=2", "rollout.num_prompts=2", "rollout.num_responses=4"),
        *more,
    ]


def describe(*more):
    spec = check_config(compose_run(words(*more)))
    return describe_data(spec, build_source(spec.data.source)), spec


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("general.jsonl", GOOD)
    write("target.jsonl", GOOD)


def test_readable_references_are_all_there():
    found, _ = describe()
    assert len(found.pools.general) == 6
    assert not any("unreadable" in reason for reason in found.record()["left_out"])


@pytest.mark.parametrize("reference", ["Friday", "", "eight", r"\boxed{}", "nan"])
@pytest.mark.parametrize("file", ["general.jsonl", "target.jsonl"])
def test_an_unreadable_reference_is_named_with_its_line(file, reference):
    write(file, [reference or " ", *GOOD[:5]])
    with pytest.raises(UnreadableReferenceError) as error:
        describe()
    message = str(error.value)
    assert f"{file}:1: the reference " in message
    assert "cannot be read as mathematics" in message
    assert "reward.terms.correct.unreadable=drop" in message


def test_unreadable_references_are_left_out_and_counted():
    write("general.jsonl", ["Friday", *GOOD[:6], "Monday"])
    found, spec = describe("reward.terms.correct.unreadable=drop")
    assert [example.response for example in found.pools.general if example.response in {"Friday", "Monday"}] == []
    assert len(found.pools.general) == 6
    assert found.record()["left_out"]["general_unreadable"] >= 1
    assert DrawnBefore().fingerprints(spec)["fingerprint"] == found.fingerprints["fingerprint"]


def test_a_finished_run_is_met_again_whatever_its_references():
    write("general.jsonl", ["Friday", *GOOD[:5]])
    spec = check_config(compose_run(words()))
    assert DrawnBefore().fingerprints(spec)["fingerprint"]


def test_a_pool_that_becomes_too_small_is_said():
    write("target.jsonl", ["Friday"] * 2 + GOOD[:3])
    with pytest.raises(ValueError, match=r"data\.num_(target|eval)=3: .*distinct target examples"):
        describe("reward.terms.correct.unreadable=drop")


def test_a_judge_reads_references_too():
    write("general.jsonl", ["Friday", *GOOD[:5]])
    judge = "{_target_: drpt.rewards.math.MathReward, requires_box: false, timeout_seconds: 3, unreadable: error}"
    with pytest.raises(UnreadableReferenceError, match=r"^reward\.judges\.math cannot judge answers to 1 of 12 examples"):
        describe("reward=exact", f"+reward.judges.math={judge}")


@pytest.mark.parametrize("model", ["tiny", "smollm2_135m"])
def test_a_run_from_local_files_never_asks_the_hub(model, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *where, **how: pytest.fail(f"asked for {where}"))
    found, _ = describe(f"model={model}")
    assert len(found.pools.general) == 6


def test_a_run_ends_before_a_model_is_loaded(drpt):
    write("general.jsonl", ["Friday", *GOOD[:5]])
    status, text = drpt("train", *words("model=hub", "model.name=there/is-none"))
    assert status == 1
    text = " ".join(text.split())
    assert "general.jsonl:1: the reference 'Friday' cannot be read as mathematics" in text
    assert "there/is-none" not in text.replace("model.name=there/is-none", "")
