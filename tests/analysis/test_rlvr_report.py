"""Charts and pages of reinforcement learning, from the numbers that they draw to the page in a browser."""

import json
import math

import pytest

from drpt.analysis.curves import (
    are_swept,
    axis_range,
    curves_of,
    not_drawn,
    reference_values,
    strength_families,
    window_of,
    windowed_curves,
    within_reach,
)
from drpt.analysis.page_figures import page_figures
from drpt.analysis.report import write_report
from drpt.analysis.sweep import read_sweep
from drpt.analysis.table import tabulate
from drpt.analysis.verdicts import verdict_table
from drpt.tasks.policy.rlvr_metrics import RLVR
from drpt.tasks.sft.metrics import SFT
from tests.analysis.rlvr_runs import PHASE, make_rlvr_run, make_rlvr_sweep
from tests.analysis.test_table import make_run
from tests.app.test_report_page import CHROMIUM, opened

SWEPT = [("target_only", None, 0.5), ("full", None, 0.6), ("mix", 0.25, 0.55), ("mix", 0.75, 0.65)]


@pytest.fixture
def sweep(tmp_path):
    return make_rlvr_sweep(tmp_path / "rl")


@pytest.fixture
def rows(sweep):
    return tabulate(read_sweep(sweep))


@pytest.fixture
def swept(tmp_path):
    return make_rlvr_sweep(tmp_path / "swept", SWEPT)


def names_of(rows, task_metrics=RLVR):
    return [figure.name for figure in page_figures(rows, task_metrics)]


def test_curves_begin_with_the_untrained_model(rows):
    target_only, full = curves_of(rows, RLVR.primary.metric)
    assert target_only.steps == full.steps == [0, 10, 20, 30, 40]
    assert full.values[0].mean == pytest.approx(0.105)
    assert (full.values[-1].mean, full.values[-1].stderr) == (pytest.approx(0.62), pytest.approx(0.02))
    assert axis_range([target_only, full], RLVR) is None


def test_training_curves_have_a_point_a_phase(rows):
    window = window_of(rows, "train/reward/mean")
    assert window == PHASE
    (curve, _) = windowed_curves(rows, "train/reward/mean", window)
    assert curve.steps == [2.5 + PHASE * i for i in range(10)]
    assert window_of(rows, "train/entropy/mean") == math.ceil(40 / 25)


def test_window_averages_each_seed_before_seeds_are_averaged(tmp_path):
    """Seed 0 has 1 and 3 in the second window, seed 1 has 4 there and nothing in the first."""
    for seed, values in ((0, {1: 9.0, 3: 1.0, 4: 3.0}), (1, {4: 4.0})):
        folder = make_rlvr_run(tmp_path, "full", seed, 0.5)
        lines = [{"step": step, "name": "train/reward/mean", "value": value} for step, value in values.items()]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (curve,) = windowed_curves(tabulate(read_sweep(tmp_path)), "train/reward/mean", 2)
    assert curve.steps == [3.5]
    assert curve.values[0].mean == 3.0


def test_far_away_start_is_named_and_not_drawn(rows):
    drawn, outside = within_reach(rows)
    assert [row.label for row in drawn] == ["target_only", "full"]
    assert [row.label for row in outside] == ["zero-shot"]
    assert not_drawn(rows) == "not drawn: zero-shot 0.105 ± 0.005"


def test_near_start_is_drawn(tmp_path):
    rows = tabulate(read_sweep(make_rlvr_sweep(tmp_path, [("target_only", None, 0.12), ("full", None, 0.2)])))
    assert [row.label for row in within_reach(rows)[0]] == ["zero-shot", "target_only", "full"]
    assert not_drawn(rows) == ""
    assert list(reference_values(rows)) == ["zero-shot", "target_only", "full"]


def test_start_is_all_that_a_single_point_is_compared_with(tmp_path):
    rows = tabulate(read_sweep(make_rlvr_sweep(tmp_path, [("full", None, 0.9)])))
    assert [row.label for row in within_reach(rows)[0]] == ["zero-shot", "full"]


def test_final_values_stand_side_by_side_unless_a_strength_was_swept(rows, swept):
    assert names_of(rows) == ["curves", "finals", "training", "second"]
    swept_rows = tabulate(read_sweep(swept))
    assert are_swept(strength_families(swept_rows))
    assert names_of(swept_rows) == ["curves", "strengths", "training", "second"]
    (family,) = strength_families(swept_rows)
    assert family.strengths == [0.25, 0.75]
    assert [value.mean for value in family.values] == pytest.approx([0.57, 0.67])


def test_dots_show_means_and_single_seeds(rows):
    figure = page_figures(rows, RLVR)[1].figure
    means = [trace.x[0] for trace in figure.data if len(trace.x) == 1]
    assert means == pytest.approx([0.52, 0.62])
    assert [list(trace.x) for trace in figure.data if len(trace.x) == 2] == [
        pytest.approx([0.5, 0.54]),
        pytest.approx([0.6, 0.64]),
    ]
    assert list(figure.layout.yaxis.ticktext) == ["target_only", "full"]


def test_supervised_runs_keep_their_two_figures(tmp_path):
    make_run(tmp_path, "full", 0, 2.5)
    rows = tabulate(read_sweep(tmp_path))
    assert names_of(rows, SFT) == ["curves", "strengths"]
    assert within_reach(rows)[1] == []
    assert list(reference_values(rows)) == ["full"]


def test_verifier_outcomes_are_compared_between_first_and_last(rows):
    table = verdict_table(rows)
    assert table.heads == [
        ("correct", "wrong"),
        ("correct", "unreadable"),
        ("correct", "right"),
        ("format", "kept"),
        ("format", "broken"),
    ]
    label, verdicts = table.lines[-1]
    assert label == "full"
    assert verdicts[2].early.mean == 0.0
    assert verdicts[2].late.mean == pytest.approx(0.31)
    assert verdicts[2].show() == "0.0 → 31.0 ± 1.0"


def test_runs_without_outcomes_have_no_table_of_them(tmp_path):
    make_rlvr_run(tmp_path, "full", 0, 0.5, has_outcomes=False)
    assert verdict_table(tabulate(read_sweep(tmp_path))) is None
    assert "Outcomes of the reward's terms" not in write_report(tmp_path).page.read_text()


@pytest.mark.parametrize("points", [None, SWEPT, [("full", None, 0.5)]], ids=["two", "swept", "one"])
def test_report_is_written(tmp_path, points):
    report = write_report(make_rlvr_sweep(tmp_path / "rl", points, seeds=(0,)))
    assert report.chart.read_bytes().startswith(b"\x89PNG")
    page = report.page.read_text()
    assert "held-out reward under" in page
    assert "held-out loss" not in page
    assert "<dd>grpo</dd>" in page


def test_chart_of_runs_that_measured_little(sweep):
    """Without accuracy and rewards of training the chart still shows what there is."""
    for folder in sweep.iterdir():
        lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
        (folder / "metrics.jsonl").write_text("".join(line for line in lines if "target/reward/mean" in line))
    report = write_report(sweep)
    assert report.chart.read_bytes().startswith(b"\x89PNG")
    assert names_of(report.rows) == ["curves", "finals"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; CI installs it")
def test_page_of_mixed_tasks_in_a_browser(sweep):
    make_run(sweep, "full", 0, 2.5)
    make_run(sweep, "mix", 0, 2.0, strength=0.5)
    report = write_report(sweep)
    suffixes = {report.rows[0].task: "", report.rows[-1].task: f"-{report.rows[-1].task}"}
    with opened(report.page) as page:
        page.wait_for_selector(f"#strengths{suffixes['sft']} .scatterlayer path.point")
        page.wait_for_selector(f"#training{suffixes['rlvr']} .scatterlayer path.js-line")
        assert page.locator(f"#curves{suffixes['rlvr']} .scatterlayer .trace").count() == 2
        assert page.locator(f"#finals{suffixes['rlvr']} .scatterlayer .trace").count() == 4
        best = page.locator(f"#results{suffixes['rlvr']} td.best").all_inner_texts()
        assert best == ["0.620 ± 0.020", "49.6 ± 1.6", "86.8 ± 2.8"]
        assert page.locator(f"#verdicts{suffixes['rlvr']} tbody tr").count() == 2
        answers = page.locator("table.answers").nth(0 if suffixes["rlvr"] == "" else 2)
        assert answers.locator("th").all_text_contents() == ["question", "expected", "answer", "reward"]
        assert answers.locator("tbody tr").nth(1).locator("td").all_text_contents() == ["0 + 1 =", "1", "2", "0.125"]
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
