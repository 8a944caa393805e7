"""Tables of reinforcement learning: their own columns, the highest reward marked, one table a task."""

import csv
import io
import json
import math

import pytest
import yaml
from rich.console import Console

from drpt.analysis.run import summarize
from drpt.analysis.sweep import read_sweep
from drpt.analysis.table import columns_of, tabulate
from drpt.analysis.table_formats import as_csv, as_latex, as_markdown, as_text, best_labels
from drpt.app.replicates import ReplicatesError, find_replicates
from drpt.tasks.policy.rlvr_metrics import RLVR
from tests.analysis.rlvr_runs import make_rlvr_run, make_rlvr_sweep
from tests.analysis.test_table import make_run


@pytest.fixture
def sweep(tmp_path):
    return make_rlvr_sweep(tmp_path / "rl")


@pytest.fixture
def mixed(sweep):
    make_run(sweep, "full", 0, 2.5)
    make_run(sweep, "mix", 0, 2.0, strength=0.5)
    return sweep


def printed(rows, width):
    text = io.StringIO()
    Console(file=text, width=width).print(as_text(rows, width))
    return text.getvalue()


def test_summary_by_hand():
    rewards = [(0, 0.25), (10, 0.75), (20, 0.75), (30, 0.5)]
    lines = [{"step": step, "name": "target/reward/mean", "value": value} for step, value in rewards]
    lines += [{"step": step, "name": "train/step_seconds/value", "value": 1.0} for step in range(1, 31)]
    lines += [{"step": step, "name": "train/kl/mean", "value": float(step)} for step in range(1, 31)]
    for step, seconds, speed in ((1, 30.0, 100.0), (11, 20.0, 300.0), (21, 20.0, 200.0)):
        lines.append({"step": step, "name": "rollout/seconds/value", "value": seconds})
        lines.append({"step": step, "name": "rollout/sync_seconds/value", "value": 5.0})
        lines.append({"step": step, "name": "rollout/tokens_per_second/value", "value": speed})
    found = summarize(lines, 30, RLVR)
    assert found["best"] == {"target/reward/mean": 0.75, "step": 10.0}
    assert found["start"] == {"target/reward/mean": 0.25}
    final = found["final"]
    assert final["target/reward/mean"] == 0.5
    assert final["rollout/seconds/share"] == pytest.approx(70 / 100)
    assert final["rollout/sync_seconds/share"] == pytest.approx(15 / 100)
    assert final["train/all_seconds/per_step"] == pytest.approx(100 / 30)
    assert (final["rollout/seconds/sum"], final["rollout/sync_seconds/median"]) == (70.0, 5.0)
    assert final["rollout/tokens_per_second/median"] == 200.0
    assert final["train/kl/late"] == 29.0  # steps 28, 29 and 30
    assert summarize(lines, 10, RLVR)["final"]["train/kl/late"] == 10.0


def test_summary_without_rollouts_has_no_shares():
    assert not any(name.endswith("share") for name in summarize([], 3, RLVR)["final"])


def test_columns_are_those_of_rewards(sweep):
    rows = tabulate(read_sweep(sweep))
    table = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert [line["regularizer"] for line in table] == ["zero-shot", "target_only", "full"]
    assert "loss_mean" not in table[0]
    full = table[-1]
    assert float(full["reward_mean"]) == pytest.approx(0.62)
    assert float(full["reward_stderr"]) == pytest.approx(0.02)
    assert float(full["rollout_share_mean"]) == pytest.approx(0.75)
    assert float(full["kl_mean"]) == pytest.approx(0.002 * 38.5)
    assert table[1]["kl_mean"] == ""
    assert "pass@4 %" in [column.title for column in columns_of(rows)]


def test_highest_reward_is_best(sweep):
    best = best_labels(tabulate(read_sweep(sweep)))
    assert best == {"reward": "full", "accuracy": "full", "pass_at_k": "full"}


def test_untrained_model_is_told_by_all_seeds(sweep):
    """Its sampled responses differ between seeds, its greedy ones do not; costs are of training alone."""
    zero_shot = tabulate(read_sweep(sweep))[0]
    reward, accuracy = zero_shot.values["reward"], zero_shot.values["accuracy"]
    assert (reward.count, reward.mean) == (2, pytest.approx(0.105))
    assert reward.stderr == pytest.approx(0.005)
    assert math.isnan(accuracy.stderr)
    assert zero_shot.values["all_step_seconds"].count == 0


def test_other_rewards_are_other_untrained_models(sweep):
    folder = make_rlvr_run(sweep, "mix", 0, 0.5, strength=0.5)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["reward"]["name"] = "lenient"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    labels = [row.label for row in tabulate(read_sweep(sweep))]
    assert {"zero-shot reward.name=reasoning", "zero-shot reward.name=lenient"} <= set(labels)


def test_where_the_engine_ran_changes_no_point(sweep):
    folder = sweep / "full-None-1"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["rollout"] |= {"threads": 2, "url": "http://127.0.0.1:8000"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert [row.label for row in tabulate(read_sweep(sweep))] == ["zero-shot", "target_only", "full"]


def test_accuracy_may_be_missing(sweep):
    """Rewards that know no right and wrong leave it out."""
    for folder in sweep.iterdir():
        summary = json.loads((folder / "summary.json").read_text())
        for section in ("start", "final"):
            summary[section] = {k: v for k, v in summary[section].items() if "accuracy" not in k and "pass" not in k}
        (folder / "summary.json").write_text(json.dumps(summary))
    rows = tabulate(read_sweep(sweep))
    assert best_labels(rows) == {"reward": "full"}
    assert "| full | 2 | 0.620 ± 0.020 | – | – |" in as_markdown(rows)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_table_fits_its_terminal_and_says_what_it_leaves_out(sweep, width):
    text = printed(tabulate(read_sweep(sweep)), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.split()[:2] == ["full", "2"] for line in lines), "a label was cut"
    assert "0.620 ± 0.020" in text
    assert ("no room here for" in text) == (width == 80)
    assert ("update" in text.split("full")[0]) == (width != 80)


def test_formats_of_mixed_tasks_have_a_table_each(mixed):
    rows = tabulate(read_sweep(mixed))
    assert [row.task for row in rows] == ["rlvr"] * 3 + ["sft"] * 3 or [row.task for row in rows] == ["sft"] * 3 + ["rlvr"] * 3
    assert not any("task" in row.label or "reward" in row.label for row in rows)
    text = printed(rows, 200)
    assert "task=rlvr" in text
    assert "task=sft" in text
    assert as_markdown(rows).count("| regularizer |") == 2
    assert as_latex(rows).count(r"\begin{tabular}") == 2
    table = {(line["task"], line["regularizer"]): line for line in csv.DictReader(io.StringIO(as_csv(rows)))}
    assert float(table["sft", "full"]["loss_mean"]) == 2.5
    assert table["sft", "full"]["reward_mean"] == ""
    assert float(table["rlvr", "full"]["reward_mean"]) == pytest.approx(0.62)


def test_columns_of_mixed_tasks_are_refused(mixed):
    with pytest.raises(ValueError, match=r"rlvr.*sft|sft.*rlvr"):
        columns_of(tabulate(read_sweep(mixed)))


def test_unknown_task_is_named(sweep):
    path = sweep / "full-None-1" / "config.yaml"
    path.write_text(path.read_text().replace("rlvr", "puzzles"))
    found = read_sweep(sweep)
    (job,) = found.unfinished
    assert "has task.name='puzzles': nothing is known of what counts in its runs; known are sft, rlvr" in job.reason
    assert [row.num_seeds for row in tabulate(found)] == [2, 2, 1]


def test_bias_and_variance_are_of_supervised_runs(sweep):
    with pytest.raises(ReplicatesError, match=r"task=rlvr.*task=sft"):
        find_replicates(tabulate(read_sweep(sweep)), sweep)
