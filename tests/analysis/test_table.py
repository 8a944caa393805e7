"""Tables group replicates, tell points apart and are honest about one seed."""

import csv
import io
import json
import math

import pytest
import yaml

from drpt.analysis.report import write_report
from drpt.analysis.run import ResultsError, summarize
from drpt.analysis.sweep import newest_sweep, read_sweep
from drpt.analysis.table import ZERO_SHOT, estimate, tabulate
from drpt.analysis.table_formats import as_csv, as_latex, as_markdown


def make_run(folder, name, seed, loss, *, strength=None, partition="layer", status="finished"):
    """A run's folder as training leaves it, with figures of our choice."""
    label = name if strength is None else f"{name} λ={strength:g}"
    folder = folder / f"{name}-{strength}-{partition}-{seed}"
    folder.mkdir(parents=True)
    regularizer = {"name": name, "strength": strength, "partition": partition, "set": "subset", "score": "alignment"}
    config = {
        "seed": seed,
        "sweep": "test",
        "task": {"name": "sft"},
        "model": {"name": None, "source": "tiny"},
        "finetune": {"method": "lora"},
        "data": {"source": {"target": "gcd"}, "num_target": 4, "num_eval": 8, "general_rows": 4, "target_rows": 1},
        "trainer": {"max_steps": 2, "precision": "32-true"},
        "optimizer": {"lr": 1e-4},
        "regularizer": regularizer,
    }
    lines = []
    for step, value in ((0, 4.0), (1, loss - 0.1), (2, loss)):
        lines.append({"step": step, "name": "target/loss/mean", "value": value})
        lines.append({"step": step, "name": "target/perplexity/mean", "value": math.exp(value)})
        lines.append({"step": step, "name": "target/accuracy/mean", "value": 0.25 * step})
    lines += [{"step": step, "name": "train/step_seconds/value", "value": float(step)} for step in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    summary = {"status": status, "label": label}
    if status == "finished":
        summary |= summarize(lines, selected_step=2)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "test"
    for seed, loss in enumerate((1.0, 2.0, 3.0)):
        make_run(folder, "layerwise_subset", seed, loss, strength=0.5)
    make_run(folder, "layerwise_subset", 0, 1.5, strength=0.25)
    make_run(folder, "full", 0, 2.5)
    make_run(folder, "target_only", 0, 3.5)
    make_run(folder, "mix", 0, 9.0, strength=0.5, status="failed")
    return folder


def test_summary_of_a_run_by_hand():
    lines = [
        {"step": 0, "name": "target/loss/mean", "value": 4.0},
        {"step": 2, "name": "target/loss/mean", "value": 1.0},
        {"step": 4, "name": "target/loss/mean", "value": 2.0},
        {"step": 1, "name": "train/step_seconds/value", "value": 1.0},
        {"step": 2, "name": "train/step_seconds/value", "value": 5.0},
        {"step": 3, "name": "train/step_seconds/value", "value": 3.0},
        {"step": 1, "name": "train/peak_memory_bytes/value", "value": 7.0},
    ]
    found = summarize(lines, selected_step=4)
    assert found["start"] == {"target/loss/mean": 4.0}
    assert found["final"] == {
        "target/loss/mean": 2.0,
        "train/step_seconds/median": 3.0,
        "train/peak_memory_bytes/max": 7.0,
    }
    assert found["best"] == {"target/loss/mean": 1.0, "step": 2.0}
    assert summarize(lines, selected_step=2)["final"]["target/loss/mean"] == 1.0


def test_replicates_are_averaged_and_points_ordered(sweep):
    rows = tabulate(read_sweep(sweep))
    assert [row.label for row in rows] == [
        ZERO_SHOT,
        "target_only",
        "full",
        "layerwise_subset λ=0.25",
        "layerwise_subset λ=0.5",
    ]
    loss = rows[-1].values["loss"]
    assert (loss.mean, loss.count) == (2.0, 3)
    assert loss.stderr == pytest.approx(1 / math.sqrt(3))
    assert rows[-1].values["lowest_loss"].mean == pytest.approx(1.9)
    assert math.isnan(rows[1].values["loss"].stderr)
    assert rows[0].values["loss"].mean == 4.0


def test_points_of_one_label_are_told_apart(sweep):
    make_run(sweep, "layerwise_subset", 0, 1.7, strength=0.5, partition="global")
    labels = [row.label for row in tabulate(read_sweep(sweep))]
    assert "layerwise_subset λ=0.5 partition=global" in labels
    assert "layerwise_subset λ=0.5 partition=layer" in labels


def test_settings_that_differ_are_never_hidden(sweep):
    """Two runs that were trained for different numbers of steps are not shown as if only their regularizers differed."""
    folder = make_run(sweep, "mix", 0, 1.0, strength=0.25)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trainer"]["max_steps"] = 99
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    labels = [row.label for row in tabulate(read_sweep(sweep))]
    assert "mix λ=0.25 trainer.max_steps=99" in labels
    assert "full trainer.max_steps=2" in labels
    assert labels[0] == ZERO_SHOT


def test_zero_shot_of_two_models_is_two_rows(sweep):
    folder = make_run(sweep, "mix", 0, 1.0, strength=0.25)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["source"] = "embedded"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = tabulate(read_sweep(sweep))
    assert [row.label for row in rows[:2]] == ["zero-shot model.source=tiny", "zero-shot model.source=embedded"] or [
        row.label for row in rows[:2]
    ] == ["zero-shot model.source=embedded", "zero-shot model.source=tiny"]
    assert all(row.values["loss"].count == 1 for row in rows[:2])


def test_formats_agree(sweep):
    rows = tabulate(read_sweep(sweep))
    table = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert float(table[-1]["loss_mean"]) == 2.0
    assert (table[-1]["seeds"], table[-1]["num_seeds"]) == ("0 1 2", "3")
    assert table[1]["loss_stderr"] == ""
    markdown = as_markdown(rows).splitlines()
    assert len(markdown) == 2 + len(rows)
    assert "2.0000 ± 0.5774" in markdown[-1]
    latex = as_latex(rows)
    assert r"layerwise\_subset $\lambda$=0.5 & 3 & 2.0000 $\pm$ 0.5774" in latex
    assert latex.count(r"\\") == 1 + len(rows)


def test_estimates_of_little():
    assert estimate([]).show(2) == "–"
    assert estimate([1.0]).show(2) == "1.00"
    assert estimate([1.0, 3.0]).show(2) == "2.00 ± 1.00"
    assert estimate([math.inf]).show(2) == "∞"


def test_report_names_runs_that_are_not_finished(sweep):
    report = write_report(sweep)
    page = report.page.read_text()
    assert "mix-0.5-layer-0" in page
    assert "test: 6 of 7 jobs finished; 1 failed" in page
    assert report.chart.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in sweep.glob(".*.part")] == []


def test_folders_without_results_are_explained(tmp_path):
    with pytest.raises(ResultsError, match="has no runs"):
        read_sweep(tmp_path)
    with pytest.raises(ResultsError, match="no sweep under"):
        newest_sweep(tmp_path)
    make_run(tmp_path / "new", "mix", 0, 1.0, strength=0.5, status="failed")
    with pytest.raises(ResultsError, match="none of its 1 runs is finished"):
        write_report(tmp_path / "new")


def test_newest_sweep_is_the_one_written_last(sweep, tmp_path):
    make_run(tmp_path / "later", "full", 0, 1.0)
    assert newest_sweep(tmp_path).name == "later"
