"""`drpt probe` on the tiny model, fresh and trained."""

import json
from pathlib import Path

import pytest
import torch

from drpt.analysis.probe_grid import FAMILIES
from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.probe_subject import collect_gradients, prepare
from drpt.data.batch import pad_rows
from drpt.objectives.language_modeling import sample_losses
from tests.app.conftest import TINY
from tests.reference import per_sample

SMALL = ("--pool", "16", "--draws", "20", "--partitions", "global", "layer", "--out", "out")


def points():
    return json.loads(Path("out/probe.json").read_text())["points"]


def test_probe_of_a_fresh_model(drpt):
    status, text = drpt("probe", *TINY, *SMALL, "--families", "all")
    assert status == 0, text
    assert "mix" in text
    assert Path("out/probe.png").read_bytes().startswith(b"\x89PNG")
    rules = [p["rule"] for p in points()]
    assert len({(r["name"], r["partition"], r["strength"], r["relaxation"]) for r in rules}) == len(rules)
    found = {(p["rule"]["name"], p["rule"]["partition"], p["rule"]["strength"]): p["direction"] for p in points()}
    assert {name for name, _, _ in found} == FAMILIES.keys()
    full, target_only = found["full", "global", None], found["target_only", "global", None]
    assert full["mse"] > 0
    for same in (("hull", "layer", 1.0), ("subset", "global", 1.0), ("random_subset", "layer", 1.0), ("filter", "layer", 1.0)):
        assert abs(found[same]["mse"] - full["mse"]) < 1e-6 * full["mse"], same
    # All of n examples are one subset, whoever chooses them.
    assert found["exact_subset", "layer", 1.0]["mse"] == pytest.approx(full["mse"], rel=1e-6)
    assert found["mix", "global", 0.125]["variance"] < target_only["variance"]
    assert all(p["direction"]["num_failures"] == 0 for p in points())


@pytest.mark.long
def test_several_batch_sizes(drpt):
    status, text = drpt("probe", *TINY, *SMALL, "--rows", "4x1", "4x3", "--families", "target_only", "full", "mix")
    assert status == 0, text
    assert Path("out/probe-n4-m3.png").exists()
    variances = {p["m"]: p["direction"]["variance"] for p in points() if p["rule"]["name"] == "target_only"}
    assert variances[3] < variances[1]
    automatic = {(p["m"], p["rule"]["partition"]) for p in points() if p["rule"]["strength"] == "auto"}
    assert automatic == {(3, "global"), (3, "layer")}


@pytest.mark.long
def test_probe_of_a_trained_run(drpt):
    status, text = drpt("train", *TINY, "sweep=trained", "trainer.keep_steps=[2,5]")
    assert status == 0, text
    (folder,) = (path.parent for path in Path("runs/trained").glob("*/summary.json"))
    directions = {}
    for checkpoint in ("first", "2", "5", "last"):
        words = (f"run={folder}", f"checkpoint={checkpoint}", *SMALL, "--families", "full", "target_only", "data.target_rows=1")
        status, text = drpt("probe", *words)
        assert status == 0, text
        record = json.loads(Path("out/probe.json").read_text())
        assert f"{checkpoint} of {folder.name}" in record["title"]
        apart = [p for p in record["points"] if p["target"] == "used"]
        assert [p["rule"]["name"] for p in apart] == ["target_only", "full"]
        directions[checkpoint] = record["points"][0]["direction"]["mse"]
    assert len(set(directions.values())) == 4
    status, text = drpt("probe", f"run={folder}", "seed=3", *SMALL)
    assert status == 2
    assert "seed=3: run=" in " ".join(text.split())
    status, text = drpt("probe", f"run={folder}", "checkpoint=3", *SMALL)
    assert status == 2
    assert "this run has first, 2, 5, last" in text


def write_sums(path, operator, count):
    lines = [json.dumps({"prompt": f"{i} {operator} {i} =", "response": str(2 * i)}) for i in range(count)]
    Path(path).write_text("\n".join(lines))


def test_probe_of_a_run_on_other_data_than_the_default(drpt):
    write_sums("pool.jsonl", "minus", 60)
    write_sums("target.jsonl", "+", 90)
    words = [word for word in TINY if "data.source" not in word and "num_general" not in word]
    words += ["data=jsonl", "data.source.general=pool.jsonl", "sweep=jsonl"]
    status, text = drpt("train", *words, "data.source.target=target.jsonl")
    assert status == 0, text
    (folder,) = (path.parent for path in Path("runs/jsonl").glob("*/summary.json"))
    status, text = drpt("probe", f"run={folder}", *SMALL, "--families", "full")
    assert status == 0, text
    config = json.loads(Path("out/probe.json").read_text())["config"]
    assert config["data"]["source"]["_target_"] == "drpt.data.jsonl.JsonlSource"


def test_what_training_saw_is_no_unseen_target(drpt):
    write_sums("both.jsonl", "+", 150)
    words = [word for word in TINY if "data.source" not in word and "num_general" not in word]
    words += ["data=jsonl", "data.source.general=both.jsonl", "data.source.target=both.jsonl", "sweep=both"]
    status, text = drpt("train", *words)
    assert status == 0, text
    (folder,) = (path.parent for path in Path("runs/both").glob("*/summary.json"))
    status, text = drpt("probe", f"run={folder}", *SMALL)
    assert status == 2
    assert "and differ from all examples of other roles and of training" in " ".join(text.split())
    status, text = drpt("probe", *words[:-1], *SMALL, "--families", "full")  # kinds that share a file share no example
    assert status == 0, text


def test_a_regularizer_of_ones_own_is_measured_too(drpt):
    words = ("regularizer=layerwise_subset", "regularizer.strength=0.3", "regularizer.relaxation=0.5")
    status, text = drpt(
        "probe",
        *TINY,
        *words,
        "--pool",
        "16",
        "--draws",
        "20",
        "--partitions",
        "global",
        "--out",
        "out",
        "--families",
        "target_only",
        "full",
    )
    assert status == 0, text
    (own,) = (p["rule"] for p in points() if p["rule"]["name"] == "own.layerwise_subset")
    assert (own["partition"], own["strength"], own["relaxation"]) == ("layer", 0.3, 0.5)


@pytest.mark.long
def test_ends_are_there_whatever_the_partitions(drpt):
    status, text = drpt(
        "probe",
        *TINY,
        "--pool",
        "16",
        "--draws",
        "20",
        "--partitions",
        "layer",
        "--out",
        "out",
        "--families",
        "target_only",
        "full",
        "mix",
    )
    assert status == 0, text
    assert {p["rule"]["name"] for p in points()} == {"target_only", "full", "mix"}


def test_gradients_are_those_of_every_example_alone():
    """Model, chat template, padding, pool and all: gramians of the probe equal those of one backward pass an example."""
    spec = check_config(compose_run([*TINY, "sweep=x", "finetune=full"]))
    subject = prepare(spec, pool=4, run=None, checkpoint="first")
    (gradients,) = collect_gradients(subject, width=None, batch_tokens=150)
    total = sum(gradient.double() @ gradient.double().T for gradient in gradients.values())
    rows = []
    for encoded in subject.encoded:
        tokens = pad_rows([encoded], pad_token_id=subject.pad_token_id)
        output = subject.model(input_ids=tokens.token_ids, attention_mask=tokens.attention_mask, use_cache=False)
        losses = sample_losses(output.logits, tokens.token_ids, tokens.loss_mask)
        (row,) = per_sample.per_sample_grads(subject.model, losses)
        rows.append(torch.cat([gradient.flatten() for gradient in row.values()]).double())
    expected = torch.stack(rows) @ torch.stack(rows).T
    # Float32 gradients, padded to different lengths.
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-4 * float(expected.diagonal().mean()))


@pytest.mark.long
def test_exact_probe_is_near_the_sketched_one(drpt):
    errors = {}
    for width in ("exact", "16"):
        status, text = drpt("probe", *TINY, *SMALL, "--width", width, "--families", "target_only", "full", "mix", "hull")
        assert status == 0, text
        errors[width] = torch.tensor([p["direction"]["mse"] for p in points()])
    record = json.loads(Path("out/probe.json").read_text())
    error = record["sketch"]["relative_stderr_of_squares"]
    assert 0 < error < 0.3
    assert ((errors["16"] / errors["exact"]).log().abs() < 5 * error + 0.05).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--draws", "15"), "15 must be even"),
        (("data.num_targt=3",), "Did you mean 'num_target'"),
        (("run=nowhere",), "run=nowhere: there is no such folder; give the folder of one run"),
        (("checkpoint=last",), "needs a run: add run=FOLDER"),
        (("run=.", "checkpoint=lst"), "must be first, last, best or the number of a step"),
        (("run=",), "run=: give run= once, with a value"),
        (("run=.", "data.max_lenght=30"), "Did you mean 'max_length'"),
        (
            ("--rows", "8x40", "--pool", "64"),
            "--rows 8x40: a step takes its examples from one half of the pool, 32 of each kind",
        ),
        (("--rows", "20x2", "--families", "exact_subset"), "'exact_subset' takes at most 16 general examples"),
        (("--draws", "many"), "many must be even"),
        (("--families", "hul"), "Did you mean 'hull'"),
        (("--rows", "8"), "such as 8x2"),
        (("--pool", "3"), "must be even and at least 4"),
    ],
)
def test_bad_probes_are_explained(drpt, words, message):
    status, text = drpt("probe", *words)
    assert status == 2
    assert message in " ".join(text.split())
