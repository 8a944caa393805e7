"""`drpt train` end to end on the tiny model: one run, a sweep, resuming, failing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from drpt.metrics import read_metrics
from tests.app.conftest import TINY


def only_run(sweep):
    (folder,) = (path.parent for path in Path("runs", sweep).glob("*/summary.json"))
    return folder


def losses(folder):
    """Everything measured that does not depend on the clock or the machine's memory."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [
        (line["step"], line["name"], line["value"])
        for line in lines
        if "seconds" not in line["name"] and "memory" not in line["name"]
    ]


SECRETS = {"WANDB_API_KEY": "x" * 20 + "sentinel-one" + "x" * 8, "HF_TOKEN": "hf_sentinel_two"}


@pytest.fixture
def one(drpt, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    status, text = drpt("train", *TINY, "sweep=one")
    assert status == 0, text
    return only_run("one"), text


def test_a_run_leaves_everything_behind(one):
    folder, text = one
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert {"target/loss/mean", "target/perplexity/mean", "target/accuracy/mean"} <= summary["start"].keys()
    assert {"train/step_seconds/median", "train/peak_memory_bytes/max", "target/loss/mean"} <= summary["final"].keys()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["regularizer"]["set"] == "subset"
    assert config["optimizer"]["lr"] == 1e-4
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"]
    metrics = read_metrics(folder / "metrics.jsonl")
    measured = [line["step"] for line in metrics if line["name"] == "target/loss/mean"]
    assert measured == [0, 3, 6]
    assert {line["step"] for line in metrics if line["name"] == "train/update_cosine/mean"} == set(range(1, 7))
    assert len(json.loads((folder / "samples.json").read_text())) == 4
    assert "layerwise_subset λ=0.5" in text
    assert "report.html" in text
    assert {path.name for path in folder.parent.iterdir()} >= {
        "table.csv",
        "chart.png",
        "report.html",
        "commands.jsonl",
    }


def test_secrets_are_nowhere(one):
    folder, text = one
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert len(files) > 8
    for secret in SECRETS.values():
        assert secret not in text
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_finished_checkpoint_holds_the_trained_parameters_alone(one):
    folder, _ = one
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    assert all("lora_" in name for name in checkpoint["state_dict"])
    assert "optimizer_states" not in checkpoint


def test_a_second_call_trains_nothing(one, drpt):
    folder, _ = one
    before = (folder / "metrics.jsonl").stat().st_mtime_ns
    status, text = drpt("train", *TINY, "sweep=one")
    assert status == 0
    assert "already finished" in text
    assert (folder / "metrics.jsonl").stat().st_mtime_ns == before


def test_the_same_run_gives_the_same_figures(one, drpt):
    folder, _ = one
    drpt("train", *TINY, "sweep=again")
    assert losses(only_run("again")) == losses(folder)


def test_sweep_of_two(drpt):
    status, text = drpt("train", "-m", *TINY, "sweep=two", "regularizer=full,target_only_stopped")
    assert status == 0, text
    for word in ("zero-shot", "full", "target_only_stopped", "chart.png"):
        assert word in text
    folders = {path.parent.name.split("-seed")[0]: path.parent for path in Path("runs/two").glob("*/summary.json")}
    assert folders.keys() == {"full", "target_only_stopped"}
    stopped = json.loads((folders["target_only_stopped"] / "summary.json").read_text())
    assert stopped["selected_step"] in {0, 3, 6}
    assert (folders["target_only_stopped"] / "checkpoints" / "best.ckpt").exists()
    status, text = drpt("table", "runs/two", "--format", "csv")
    assert text.splitlines()[0].startswith("regularizer,name,strength,seeds")
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize("finetune", ["lora", "full"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_other_precisions_and_full_finetuning_run(drpt, finetune, precision):
    words = [f"finetune={finetune}", f"trainer.precision={precision}", "model.gradient_checkpointing=true"]
    status, text = drpt("train", *TINY, "trainer.max_steps=2", "optimizer.clip_norm=1.0", *words, "sweep=bf16")
    assert status == 0, text
    assert json.loads((only_run("bf16") / "summary.json").read_text())["final"]["target/loss/mean"] < 7


# An automatic strength remembers past steps.
AUTO = ("regularizer=layerwise_hull", "regularizer.strength=auto", "regularizer.relaxation=auto")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_scores_in_bfloat16_are_compared_with_float32(drpt, precision):
    words = ["trainer.score_check_steps=2", "trainer.max_steps=4", f"trainer.precision={precision}", "sweep=checked"]
    status, text = drpt("train", *TINY, *words)
    assert status == 0, text
    metrics = read_metrics(only_run("checked") / "metrics.jsonl")
    found = {(line["step"], line["name"]): line["value"] for line in metrics if "/score_" in line["name"]}
    assert {step for step, _ in found} == {1, 3}  # steps are counted from 1 in the metrics
    for step in (1, 3):
        assert 0.5 < found[step, "train/score_choice_agreement/mean"] <= 1
        assert -1 <= found[step, "train/score_rank_agreement/min"] <= found[step, "train/score_rank_agreement/mean"] <= 1
        assert 0 < found[step, "train/score_relative_error/mean"] < 1


def test_comparing_scores_changes_nothing(drpt):
    found = {}
    for every in ("1", "null"):
        words = [f"trainer.score_check_steps={every}", "trainer.precision=bf16-mixed", "data.general_rows=5", *AUTO]
        status, text = drpt("train", *TINY, *words, "trainer.max_steps=3", f"sweep=every-{every}")
        assert status == 0, text
        found[every] = [line for line in losses(only_run(f"every-{every}")) if "/score_" not in line[1]]
    assert found["1"] == found["null"]


@pytest.mark.parametrize("words", [("trainer.precision=32-true",), ("trainer.precision=bf16-true", "regularizer=full")])
def test_what_has_no_rounded_scores_is_not_compared(drpt, words):
    status, text = drpt("train", *TINY, *words, "trainer.score_check_steps=1", "trainer.max_steps=1", "sweep=unchecked")
    assert status == 0, text
    names = {line["name"] for line in read_metrics(only_run("unchecked") / "metrics.jsonl")}
    assert not [name for name in names if "/score_" in name]


LONG = ("trainer.max_steps=30", "evaluation.every_steps=10", "trainer.checkpoint_every_steps=4", "sweep=long")


def start(folder, words):
    command = [sys.executable, "-c", "from drpt.app.cli import main; main()", "train", *TINY, *LONG, *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        # A job in a shell's background inherits a deaf ear for interruptions; a user's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_step(process, folder, step):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        files = list(Path(folder, "runs", "long").glob("*/metrics.jsonl"))
        if files and any(f'"step": {step}, "name": "train' in line for line in files[0].read_text().splitlines()):
            return
        assert process.poll() is None, "ended before it could be interrupted"
        time.sleep(0.002)
    raise AssertionError("never got there")


@pytest.mark.long
@pytest.mark.parametrize(("signal_", "words"), [(signal.SIGKILL, AUTO), (signal.SIGINT, ())])
def test_an_interrupted_run_goes_on_as_if_it_had_never_stopped(tmp_path, drpt, signal_, words):
    """Killed after step 14, with checkpoints at 12 and before: steps 13 and 14 are done again, with dropout and all."""
    broken = tmp_path / "broken"
    broken.mkdir()
    process = start(broken, words)
    wait_for_step(process, broken, 14)
    os.kill(process.pid, signal_)
    process.wait()
    if signal_ is signal.SIGINT:
        assert process.returncode == 130
        assert json.loads(next(broken.glob("runs/long/*/summary.json")).read_text())["status"] == "interrupted"
    (folder,) = broken.glob("runs/long/*/")
    assert json.loads((folder / "summary.json").read_text())["status"] != "finished"
    status, text = drpt("resume", str(broken / "runs" / "long"))  # from elsewhere
    assert status == 0, text
    assert "resumes after step" in text
    assert not (tmp_path / "runs").exists()
    os.chdir(tmp_path)
    status, text = drpt("train", *TINY, *LONG, *words)
    assert status == 0, text
    assert losses(folder) == losses(only_run("long"))
    if words:
        relaxations = [value for _, name, value in losses(folder) if name == "train/relaxation/mean"]
        assert len(relaxations) == 30
        assert all(0.0 <= value <= 1.0 for value in relaxations)


def test_packed_rows_train_as_padded_ones_do(drpt):
    """The update is the general mean, weighted by tokens; dropout would fall on other places."""
    words = ["regularizer=full", "regularizer.base_weights=token", "finetune.dropout=0"]
    found = {}
    for packing in ("false", "true"):
        status, text = drpt("train", *TINY, *words, f"data.packing={packing}", f"sweep=packing-{packing}")
        assert status == 0, text
        found[packing] = {(step, name): value for step, name, value in losses(only_run(f"packing-{packing}"))}
    padded, packed = found["false"], found["true"]
    assert padded.keys() == packed.keys()
    for step in range(1, 7):
        assert packed[step, "train/tokens/sum"] == padded[step, "train/tokens/sum"]
        assert packed[step, "train/padding_share/value"] <= padded[step, "train/padding_share/value"]
        for name in ("train/general_loss/mean", "train/update_norm/mean"):
            # Rounding in float32, which Adam's first steps make larger: they divide small gradients by their own size.
            assert packed[step, name] == pytest.approx(padded[step, name], rel=1e-6 if step == 1 else 1e-4)
    assert packed[1, "train/padding_share/value"] < 0.5 * padded[1, "train/padding_share/value"]


@pytest.mark.parametrize(
    ("words", "change"),
    [
        pytest.param(["regularizer=layerwise_subset"], ["trainer.micro_batches=3"], marks=pytest.mark.long),
        (["regularizer=global_hull"], ["trainer.micro_batches=2", "data.packing=true"]),
        pytest.param(["regularizer=global_subset"], ["trainer.activation_budget_mib=0"], marks=pytest.mark.long),
        (["regularizer=global_subset"], ["trainer.micro_batches=3", "trainer.activation_budget_mib=0"]),
        (["regularizer=layerwise_hull", "regularizer.products=sketch", "sketch.left_width=8"], ["trainer.micro_batches=3"]),
        pytest.param(["regularizer=mix"], ["trainer.micro_batches=2"], marks=pytest.mark.long),
    ],
)
def test_how_a_step_is_split_does_not_matter(drpt, words, change):
    """One choice over the whole step: the same losses, clipped norms and updates whatever is kept, split or packed."""
    words = [*words, "finetune.dropout=0.0", "optimizer.clip_norm=0.5"]  # dropout's draws depend on the batches
    found = []
    for i, more in enumerate(([], change)):
        status, text = drpt("train", *TINY, *words, *more, f"sweep=split-{i}")
        assert status == 0, text
        found.append({(step, name): value for step, name, value in losses(only_run(f"split-{i}"))})
    whole, split = found
    for step in range(1, 7):
        for name in ("train/general_loss/mean", "train/target_loss/mean", "train/update_norm/mean"):
            # Rounding in float32, which Adam's first steps make larger: they divide small gradients by their own size.
            assert split[step, name] == pytest.approx(whole[step, name], rel=1e-5 if step == 1 else 1e-3)
    assert split[6, "target/loss/mean"] == pytest.approx(whole[6, "target/loss/mean"], rel=1e-4)


def test_each_micro_batch_may_choose_for_itself(drpt):
    words = ["trainer.micro_batches=2", "regularizer.choice_scope=micro", "sweep=micro"]
    status, text = drpt("train", *TINY, *words)
    assert status == 0, text
    names = {name for _, name, _ in losses(only_run("micro"))}
    assert "train/kept_share/mean" in names
    assert "train/update_cosine/mean" not in names, "the batches have target gradients of their own"


def test_packing_is_refused_for_a_model_that_mixes_examples(drpt, tmp_path):
    from transformers import BloomConfig, BloomForCausalLM

    from drpt.models.tiny import byte_tokenizer

    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path / "bloom")
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=16, n_layer=1, n_head=2)
    BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    words = [word for word in TINY if word != "model=tiny"]
    status, text = drpt("train", *words, "model=hub", f"model.name={tmp_path / 'bloom'}", "data.packing=true")
    assert status == 1
    assert "data.packing=true: bloom mixes the examples of a packed row" in text


def test_several_processes_are_refused(drpt, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, text = drpt("train", *TINY)
    assert status == 2
    assert "WORLD_SIZE=2: drpt train runs in one process" in text


def test_one_failing_job_does_not_stop_the_others(drpt):
    words = ["regularizer=full", "optimizer.lr=1e-3,1e9", "sweep=fails", "finetune=full"]
    status, text = drpt("train", "-m", *TINY, *words)
    assert status == 1
    assert "NaN or infinite" in text
    statuses = sorted(json.loads(path.read_text())["status"] for path in Path("runs/fails").glob("*/summary.json"))
    assert statuses == ["failed", "finished"]
    assert Path("runs/fails/report.html").exists()


def test_bad_data_stop_before_a_model_loads(drpt, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n')
    words = ["data=jsonl", "data.source.general=bad.jsonl", "data.source.target=bad.jsonl", "data.num_eval=4"]
    status, text = drpt("train", "model=hub", "model.name=no/such-model", "evaluation.num_generate=4", *words)
    assert status == 2
    assert "bad.jsonl:1: field 'response' is missing" in text
    assert "Traceback" not in text


def test_tracker_groups_by_regularizer(drpt):
    words = [word for word in TINY if word != "logger=off"]
    status, text = drpt("train", *words, "sweep=tracked", "seed=3", "regularizer=mix", "regularizer.strength=0.25")
    assert status == 0, text
    (file,) = Path("runs/tracked").glob("*/wandb/offline-run-*/*.wandb")
    binary = str(Path(sys.executable).with_name("wandb"))
    done = subprocess.run([binary, "leet", "inspect", "--json", str(file)], capture_output=True, text=True, check=True)
    for expected in ("mix λ=0.25 seed=3", "mix λ=0.25", "sweep:tracked", "set:ball", "final/target/loss/mean"):
        assert expected in done.stdout or json.dumps(expected).strip('"') in done.stdout, expected


def test_unreachable_tracker_does_not_stop_a_run(tmp_path):
    """Logged in, and no network: the run is kept offline. In a process of its own, since W&B reads its login once."""
    environment = os.environ | {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    del environment["WANDB_MODE"]
    code = "import drpt.app.tracking as t; t._INIT_SECONDS = 2.0\nfrom drpt.app.cli import main; main()"
    words = [word for word in TINY if word != "logger=off"]
    command = [sys.executable, "-c", code, "train", *words, "sweep=cut", "trainer.max_steps=1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept offline" in done.stdout + done.stderr
    assert list(tmp_path.glob("runs/cut/*/wandb/offline-run-*"))


def test_unknown_flags_are_refused(drpt):
    status, text = drpt("train", "--config-dir=elsewhere", "sweep=x")
    assert status == 2
    assert "--config-dir=elsewhere is not an option of drpt train" in text


def test_nothing_to_report_is_said(drpt):
    status, text = drpt("table")
    assert status == 2
    assert "There is no sweep under runs/" in text
    status, text = drpt("report", "nowhere")
    assert status == 2
    assert "nowhere: there is no such folder" in text


def test_doctor_looks_around(drpt):
    status, text = drpt("doctor")
    assert status == 0, text
    assert "embedded model" in text
    assert "ready" in text
