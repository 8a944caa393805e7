"""Data, tokenizer, model and adapter belong to a run: what changed since is refused, and never pooled."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from drpt.analysis.sweep import read_sweep
from drpt.analysis.table import ZERO_SHOT, tabulate
from drpt.app.cli import main
from drpt.app.run_data import _of_named_models
from tests.app.conftest import TINY
from tests.models.folders import llama, save

WORDS = (
    *(word for word in TINY if "data.source" not in word and "num_general" not in word and "model=" not in word),
    *("trainer.max_steps=2", "trainer.checkpoint_every_steps=1", "evaluation.num_generate=0", "evaluation.every_steps=2"),
    *("data=jsonl", "data.source.general=general.jsonl", "data.source.target=target.jsonl"),
    *(
        "data.max_length=64",
        "model=hub",
        "model.name=here",
        "finetune=lora",
        "finetune.rank=2",
        "regularizer=mix",
        "sweep=data",
    ),
)


def write(name, answer="", num=40):
    lines = [json.dumps({"prompt": f"{name} {i} + {i} =", "response": answer or str(2 * i)}) for i in range(num)]
    Path(f"{name}.jsonl").write_text("\n".join(lines))


def edit_tokenizer(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "b"}))


def edit_template(folder):
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")


def train_model_further(folder):
    path = folder / "model.safetensors"
    save_file({name: value + 0.01 for name, value in load_file(path).items()}, path, {"format": "pt"})


CHANGES = {
    "general data": (lambda: write("general", "no"), "examples differ"),
    "target data": (lambda: write("target", "no"), "examples differ"),
    "one example more": (
        lambda: write("target", num=41),
        "the data that examples are drawn from differ",
    ),
    "tokenizer": (lambda: edit_tokenizer(Path("here")), "the tokenizer or the chat template differs"),
    "chat template": (lambda: edit_template(Path("here")), "the tokenizer or the chat template differs"),
    "model": (lambda: train_model_further(Path("here")), "the model's weights or configuration differ"),
}


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """One finished run of a model in a folder, on files; made once."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write("general")
        write("target")
        save(Path("here"), llama())
        with pytest.raises(SystemExit) as exit_:
            main(["train", *WORDS])
        assert not exit_.value.code
    return folder


@pytest.fixture
def trained(one_run, drpt, tmp_path):
    """The command line in a copy of it."""
    shutil.copytree(one_run, tmp_path, dirs_exist_ok=True)
    return drpt


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json*")}


@pytest.mark.parametrize("what", CHANGES)
def test_a_finished_job_met_again_with_other_data_is_refused(trained, what):
    (folder,) = Path("runs/data").glob("mix-*")
    before = contents(folder)
    assert trained("train", *WORDS)[0] == 0, "unchanged"
    change, said = CHANGES[what]
    change()
    for more in ((), ("-m", "seed=1,0")):
        status, text = trained("train", *WORDS, *more)
        assert status == 2, text
        assert said in text
        assert str(folder.name) in text
        assert "Traceback" not in text
    assert contents(folder) == before
    assert list(Path("runs/data").glob("mix-*")) == [folder], "nothing is trained beside it"


def test_seeds_of_other_data_are_other_points(trained):
    assert trained("train", *WORDS, "seed=1")[0] == 0
    write("target", "no")
    status, text = trained("train", *WORDS, "seed=2")
    assert status == 0, text
    rows = [row for row in tabulate(list(read_sweep(Path("runs/data")))) if row.name != ZERO_SHOT]
    assert sorted(row.num_seeds for row in rows) == [1, 2]
    assert len({row.label for row in rows}) == 2
    assert text.count("data=") >= 2


@pytest.mark.parametrize("what", ["target data", "chat template", "model"])
def test_an_interrupted_job_does_not_go_on_with_other_data(trained, what):
    (folder,) = Path("runs/data").glob("mix-*")
    summary = folder / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"status": "running"}))
    change, said = CHANGES[what]
    change()
    status, text = trained("train", *WORDS)
    assert status == 1, text
    assert said in text
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


def test_an_adapter_belongs_to_a_run(trained):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained("adapter")
    words = [word for word in WORDS if "rank" not in word]
    words += ["finetune.adapter=adapter", "sweep=adapted"]
    assert trained("train", *words)[0] == 0
    train_weights = Path("adapter/adapter_model.safetensors")
    save_file({name: value + 1 for name, value in load_file(train_weights).items()}, train_weights, {"format": "pt"})
    status, text = trained("train", *words)
    assert status == 2, text
    assert "the adapter differs (finetune.adapter)" in text


def test_steps_to_keep_that_come_too_late_are_said(trained):
    status, text = trained("train", *WORDS, "trainer.keep_steps=[1]")
    assert status == 0, text
    assert "finished without trainer.keep_steps=[1]" in " ".join(text.split())


def test_a_probe_of_a_run_draws_what_it_was_trained_on(trained):
    write("target", "no")
    (folder,) = Path("runs/data").glob("mix-*")
    status, text = trained("probe", f"run={folder}", "--pool", "4", "--draws", "4")
    assert status == 2, text
    assert "its examples differ (data.source)" in text


@pytest.mark.parametrize("what", ["gone", "empty", "of another run"])
def test_a_finished_job_whose_record_of_data_is_damaged_is_refused(trained, what):
    run = next(Path("runs/data").glob("mix*"))
    path = run / "data.json"
    if what == "gone":
        path.unlink()
    else:
        path.write_text("" if what == "empty" else path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    before = contents(run)
    status, text = trained("train", *WORDS)
    assert status == 2, text
    assert "data.json is missing or damaged, so it is unknown which data this finished run was made from" in text
    assert contents(run) == before
    status, text = trained("table", "runs/data")
    assert status == 1
    assert f"unreadable {run.name}: data.json" in text


def test_models_of_rewards_are_known_by_their_folders_and_commits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clf").mkdir()
    Path("clf/config.json").write_text("{}")
    own = [{"x": {"model": "clf", "revision": None}}, {}]
    first = _of_named_models(own)
    assert first is not None
    assert first == _of_named_models(own)
    assert _of_named_models([{"x": {"label": "clf"}}, {}]) is None
    Path("clf/config.json").write_text('{"a": 1}')
    assert _of_named_models(own) != first


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(path.read_bytes()[:99]), lambda path: path.unlink()])
def test_a_checkpoint_that_was_damaged_since_is_named(trained, harm):
    (path,) = Path("runs").glob("*/*/checkpoints/last.ckpt")
    whole = path.read_bytes()
    harm(path)
    status, text = trained("train", *WORDS)
    path.write_bytes(whole)
    assert status == 0, text
    assert f"{path.name} is missing or damaged" in " ".join(text.split())
