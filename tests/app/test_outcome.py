"""`drpt outcome` on sweeps of the tiny model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from drpt.data.chat import encode_examples
from drpt.evaluation.answer_logits import answer_logits, answers_of, cut_into_chunks
from drpt.models.load import apply_finetune
from drpt.models.spec import FinetuneSpec
from drpt.models.tiny import byte_tokenizer, tiny_model
from drpt.modules.checkpoint_files import CheckpointError, load_trained
from tests.app.conftest import TINY
from tests.reference import outcome as reference

# A learning rate that makes a difference in six steps, and one at which the early-stopped runs stop early.
SWEEP = ("regularizer=full,target_only_stopped", "seed=0,1,2", "optimizer.lr=3e-2", "sweep=six")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sweep of three seeds of two regularizers, made once."""
    import sys

    from drpt.app.cli import main

    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["drpt"])
        with pytest.raises(SystemExit) as exit_:
            main(["train", "-m", *TINY, *SWEEP])
    assert not exit_.value.code
    return folder / "runs" / "six"


@pytest.fixture
def sweep(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs" / "six")
    return tmp_path / "runs" / "six"


def outcome(drpt, *words):
    status, text = drpt("outcome", *words)
    assert status == 0, text
    return text


def record_of(sweep):
    return json.loads((sweep / "outcome.json").read_text())


def summaries(sweep, name):
    return [json.loads((folder / "summary.json").read_text()) for folder in sorted(sweep.glob(f"{name}-seed*"))]


def test_expected_loss_is_the_mean_of_what_the_runs_recorded(drpt, sweep):
    text = outcome(drpt)
    assert "held-out loss" not in text, "a run's loss is not the one that it recorded"
    for word in ("full", "target_only_stopped", "zero-shot", "± over replicates ± over held-out examples", "outcome.png"):
        assert word in text
    assert (sweep / "outcome.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in sweep.glob(".*.part")] == []
    found = {entry["name"]: entry for entry in record_of(sweep)["regularizers"]}
    assert found.keys() == {"full", "target_only_stopped"}
    steps = [run["step"] for run in found["target_only_stopped"]["runs"]]
    assert any(step < 6 for step in steps), "no run was stopped early: this sweep does not test the choice of checkpoint"
    for name, entry in found.items():
        final = [summary["final"] for summary in summaries(sweep, name)]
        losses = [figures["target/loss/mean"] for figures in final]
        assert entry["losses"] == pytest.approx(losses, rel=1e-5)  # float32, other batches
        assert entry["expected"]["value"] == pytest.approx(sum(losses) / 3, rel=1e-5)
        assert entry["bias"]["value"] + entry["variance"]["value"] == pytest.approx(entry["expected"]["value"], rel=1e-12)
        assert 0 < entry["variance"]["raw"] < entry["variance"]["value"]
        assert 0 < entry["expected"]["stderr_examples"] < entry["expected"]["value"]
        assert entry["num_examples"] == 12
        assert [run["checkpoint"] for run in entry["runs"]] == [
            "last.ckpt" if run["step"] == 6 else "best.ckpt" for run in entry["runs"]
        ]
    assert found["full"]["bias"]["stderr_replicates"] > 0
    (zero_shot,) = record_of(sweep)["zero_shot"]
    assert zero_shot["value"] == summaries(sweep, "full")[0]["start"]["target/loss/mean"]
    assert zero_shot["stderr_replicates"] is None


def test_variance_is_that_of_the_trained_models(drpt, sweep):
    """Against the definition, from models put together here."""
    outcome(drpt)
    folders = sorted(sweep.glob("full-seed*"))
    config = yaml.safe_load((folders[0] / "config.yaml").read_text())
    examples = encode_examples(byte_tokenizer(), _held_out(folders[0]), max_length=config["data"]["max_length"]).examples
    (chunk,) = cut_into_chunks(examples, 10_000)
    probabilities = []
    for i, folder in enumerate(folders):
        # Adapters drawn by another seed than the run's: everything that matters is in the checkpoint.
        model = apply_finetune(tiny_model(), FinetuneSpec(**config["finetune"]), seed=100 + i).eval()
        assert load_trained(model, folder / "checkpoints" / "last.ckpt") == 6
        with torch.no_grad():
            blocks = answer_logits(model, examples, chunk, pad_token_id=256, batch_rows=12, device=torch.device("cpu"))
            probabilities.append(torch.cat(list(blocks)).double().softmax(dim=1))
    _, bias, variance = reference.parts(torch.stack(probabilities), answers_of(examples, chunk).tolist())
    (found,) = (entry for entry in record_of(sweep)["regularizers"] if entry["name"] == "full")
    assert found["variance"]["raw"] == pytest.approx(variance, rel=1e-4)
    assert found["bias"]["raw"] == pytest.approx(bias, rel=1e-5)


def _held_out(folder):
    from drpt.app.run_config import read_spec
    from drpt.data.build_source import build_source
    from drpt.data.pools import draw_pools

    spec = read_spec(folder)
    return draw_pools(build_source(spec.data.source), spec.data, seed=spec.seed, stopping_share=0.0).evaluation


def test_less_memory_changes_nothing(drpt, sweep, monkeypatch):
    outcome(drpt)
    roomy = record_of(sweep)
    monkeypatch.setattr("drpt.app.outcome._MIB", 2**13)  # two or three tokens a chunk: every answer is cut
    outcome(drpt, "--logits-mib", "1")
    for one, other in zip(roomy["regularizers"], record_of(sweep)["regularizers"], strict=True):
        for name in ("expected", "bias", "variance"):
            assert other[name] == pytest.approx(one[name], rel=1e-4)  # float32, other batches


def test_a_regularizer_with_one_run_is_named_and_left_out(drpt, sweep):
    for folder in sorted(sweep.glob("full-seed*"))[1:]:
        shutil.rmtree(folder)
    status, text = drpt("outcome", str(sweep))
    assert status == 1, "two jobs are missing"
    assert "left out, with one measurable run (seed 0): full" in text
    assert [entry["name"] for entry in record_of(sweep)["regularizers"]] == ["target_only_stopped"]


def test_a_loss_that_is_not_the_recorded_one_is_said(drpt, sweep):
    folder = sorted(sweep.glob("full-seed*"))[1]
    summary = json.loads((folder / "summary.json").read_text())
    summary["final"]["target/loss/mean"] += 0.1
    (folder / "summary.json").write_text(json.dumps(summary))
    assert f"{folder.name}: the held-out loss" in outcome(drpt)


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-true", marks=pytest.mark.long)])
def test_full_finetuning_with_tied_weights(drpt, precision):
    words = [
        "finetune=full",
        "regularizer=full",
        "seed=0,1",
        "sweep=whole",
        "optimizer.lr=1e-3",
        f"trainer.precision={precision}",
    ]
    status, text = drpt("train", "-m", *TINY, *words)
    assert status == 0, text
    text = outcome(drpt)
    assert "held-out loss" not in text
    (found,) = record_of(Path("runs/whole"))["regularizers"]
    losses = [summary["final"]["target/loss/mean"] for summary in summaries(Path("runs/whole"), "full")]
    assert found["losses"] == pytest.approx(losses, rel=1e-5 if precision == "32-true" else 1e-2)
    assert found["variance"]["value"] == pytest.approx(2 * found["variance"]["raw"])
    assert found["variance"]["stderr_replicates"] is None


def _forget_checksums(folder):
    """A run as of a version whose summaries had none: its other files can be changed."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    del summary["checksums"]
    path.write_text(json.dumps(summary))


def _break(sweep, how):
    first = sorted(sweep.glob("full-seed*"))[0]
    if how == "one seed":
        for folder in sweep.glob("*-seed[12]-*"):
            shutil.rmtree(folder)
    elif how == "nothing finished":
        for path in sweep.glob("*/summary.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted"}))
    elif how == "no checkpoint":
        (first / "checkpoints" / "last.ckpt").unlink()
    elif how == "half a checkpoint":
        path = first / "checkpoints" / "last.ckpt"
        path.write_bytes(path.read_bytes()[:2000])
    elif how == "a bit of a checkpoint":
        path = first / "checkpoints" / "last.ckpt"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "another model":
        path = first / "checkpoints" / "last.ckpt"
        torch.save(torch.load(path, weights_only=True) | {"state_dict": {"model.other": torch.zeros(2)}}, path)
    elif how == "numbers that are none":
        path = first / "checkpoints" / "last.ckpt"
        content = torch.load(path, weights_only=True)
        next(iter(content["state_dict"].values())).fill_(torch.nan)
        torch.save(content, path)
    elif how == "another step":
        path = first / "checkpoints" / "last.ckpt"
        torch.save(torch.load(path, weights_only=True) | {"global_step": 4}, path)
    elif how == "changed data":
        _forget_checksums(first)
        path = first / "data.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "0"}))
    elif how == "another version":
        for folder in sweep.glob("full-seed*"):
            _forget_checksums(folder)
        path = first / "config.yaml"
        path.write_text(path.read_text().replace("num_eval:", "num_held_out:"))
        for other in sweep.glob("full-seed[12]*"):
            (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("num_eval:", "num_held_out:"))


OF_THE_SWEEP = {
    "one seed": "every regularizer has only one finished run (seed 0). Bias and variance are over replicates, at least 2",
    "nothing finished": "none of its 6 runs is finished yet (interrupted)",
    "another version": "not a configuration of this version of drpt",
}


@pytest.mark.parametrize("how", OF_THE_SWEEP)
def test_what_is_missing_is_said(drpt, sweep, how):
    _break(sweep, how)
    if how == "another version":
        shutil.rmtree(next(sweep.glob("target_only_stopped-seed0*")))
        shutil.rmtree(next(sweep.glob("target_only_stopped-seed1*")))
    status, text = drpt("outcome", str(sweep))
    assert status == 2, text
    assert OF_THE_SWEEP[how] in text
    assert "Traceback" not in text
    assert not (sweep / "outcome.json").exists()


OF_ONE_RUN = {
    "no checkpoint": "last.ckpt is missing, and nothing can be measured without the trained parameters",
    "half a checkpoint": "last.ckpt is no checkpoint, or was cut off, but the run's figures are of step 6",
    "a bit of a checkpoint": "last.ckpt is damaged (the checksum of",
    "another step": "is of step 4, but the run's figures are of step 6",
    "another model": "belongs to another model",
    "numbers that are none": "have NaN or infinite entries",
    "changed data": "changed since this run was made: its examples differ (data.source)",
}


@pytest.mark.parametrize("how", OF_ONE_RUN)
def test_a_run_that_cannot_be_measured_is_named_and_left_out(drpt, sweep, how):
    _break(sweep, how)
    status, text = drpt("outcome", str(sweep))
    assert status == 1, text
    assert OF_ONE_RUN[how] in text
    assert "Traceback" not in text
    found = record_of(sweep)
    assert sorted((entry["name"], len(entry["losses"])) for entry in found["regularizers"]) == [
        ("full", 2),
        ("target_only_stopped", 3),
    ]
    assert len(found["faults"]) == 1


@pytest.mark.parametrize("how", ["half a checkpoint", "another model"])
def test_a_regularizer_that_is_left_with_one_run_is_left_out(drpt, sweep, how):
    shutil.rmtree(sorted(sweep.glob("full-seed*"))[1])
    _break(sweep, how)
    status, text = drpt("outcome", str(sweep))
    assert status == 1, text
    assert "left out, with one measurable run (seed 2): full" in text
    assert [entry["name"] for entry in record_of(sweep)["regularizers"]] == ["target_only_stopped"]


def test_runs_of_a_version_with_fewer_options_are_read(drpt, sweep):
    for path in sweep.glob("*/config.yaml"):
        _forget_checksums(path.parent)
        config = yaml.safe_load(path.read_text())
        del config["evaluation"]["batch_rows"], config["model"]["revision"], config["logger"]["entity"]
        path.write_text(yaml.safe_dump(config))
    assert "held-out loss" not in outcome(drpt)


def test_nowhere_and_nothing(drpt):
    status, text = drpt("outcome")
    assert status == 2
    assert "There is no sweep under runs/" in text
    status, text = drpt("outcome", "--logits-mib", "0")
    assert status == 2
    assert "must be a whole number of at least 1" in text


def test_a_checkpoint_of_other_parameters_is_refused(sweep):
    path = next(sweep.glob("full-seed0*")) / "checkpoints" / "last.ckpt"
    with pytest.raises(CheckpointError, match="another model"):
        load_trained(tiny_model(), path)
