"""The overhead measurement: it counts as the design does, goes on where it stopped, and reports from its files alone."""

import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from drpt.app.presets import preset_names
from experiments.overhead.breakdown import Stopwatch
from experiments.overhead.goals import check
from experiments.overhead.live_memory import LiveMemory
from experiments.overhead.measure import main
from experiments.overhead.memory import measure_memory
from experiments.overhead.operations import count
from experiments.overhead.report import render
from experiments.overhead.settings import FIRST, FOUR_TARGETS, STEP_SETTINGS
from experiments.overhead.store import load_all
from experiments.overhead.timing import Ratio, interleave, ratio
from experiments.overhead.variants import (
    AUTO_STRENGTH,
    EVERYWHERE,
    GLOBAL_AGAIN,
    HULL_SKETCH,
    SAME_STEP,
    STANDARD,
    SUBSET_AUTO,
    SUBSET_SKETCH,
    WIDER,
    variants_of,
)


def layer(*, is_trained=True):
    return nn.Linear(96, 64, bias=False).requires_grad_(is_trained)


def test_limits_of_the_count_are_those_of_the_design():
    # Standard: 3 products over 8 rows. Here: 2 over 8 + m, and the update over half of 8.
    assert count(layer(), FIRST, SUBSET_SKETCH).limit == pytest.approx((2 * 9 + 4) / 24)
    assert round(count(layer(), FIRST, SUBSET_SKETCH).limit, 2) == 0.92
    assert round(count(layer(), FOUR_TARGETS, SUBSET_AUTO).limit, 2) == 1.17
    assert count(layer(), FIRST, HULL_SKETCH).limit == pytest.approx((2 * 9 + 8) / 24)
    assert count(layer(), FIRST, GLOBAL_AGAIN).limit == pytest.approx((3 * 9 + 4) / 24)
    assert count(layer(), FIRST, STANDARD).ratio == 1.0
    assert count(layer(), FIRST, WIDER).ratio == pytest.approx(9 / 8)


def test_rows_that_a_regularizer_does_not_look_at_are_not_counted():
    named = {variant.name: variant for variant in EVERYWHERE}
    assert count(layer(), FIRST, named["target_only"]).ratio == pytest.approx(1 / 8)
    assert count(layer(), FIRST, named["random_subset"]).ratio == 1.0
    assert count(layer(), FIRST, named["mix"]).ratio == pytest.approx(9 / 8)
    # v and corrections: the update is taken over all nine rows
    assert count(layer(), FIRST, named["global dual_cone, gaussian 64"]).limit == pytest.approx((2 * 9 + 9) / 24)


@pytest.mark.parametrize("setting", STEP_SETTINGS, ids=lambda setting: setting.key)
def test_every_preset_and_every_way_of_comparing_is_measured_at_every_setting(setting):
    variants = variants_of(setting)
    assert set(preset_names("regularizer")) <= {variant.preset for variant in variants} | SAME_STEP.keys()
    assert set(SAME_STEP.values()) <= {variant.preset for variant in variants}
    assert {"auto", "reduced", "pairwise", "direct", "sketch"} <= {variant.products for variant in variants}
    assert {"gaussian", "rademacher", "row_mask", "sparse"} <= {variant.sketch for variant in variants}
    assert len({variant.name for variant in variants}) == len(variants)
    assert (AUTO_STRENGTH in variants) == (setting.num_target > 1)


def test_frozen_matrices_count_two_products_on_both_variants():
    counted = count(layer(is_trained=False), FIRST, SUBSET_SKETCH)
    assert (counted.limit, counted.products) == (9 / 8, 0)


def test_a_tied_table_is_counted_once_with_its_dense_use():
    model = nn.ModuleList([nn.Embedding(64, 96), layer()])
    model[1].weight = model[0].weight
    assert count(model, FIRST, STANDARD) == count(layer(), FIRST, STANDARD)
    assert count(model, FIRST, SUBSET_AUTO).free == count(layer(), FIRST, SUBSET_AUTO).free


def test_exact_products_count_what_the_design_says():
    # reduced: one more product over all rows, (2 (n + m) + k + n + m) / 3 n
    variant = replace(SUBSET_AUTO, products="reduced")
    assert count(layer(), FIRST, variant).ratio == pytest.approx((2 * 9 + 4 + 9) / 24)


def test_ratio_is_the_median_of_ratios_within_rounds():
    assert ratio([2.0, 6.0, 30.0], [1.0, 2.0, 3.0]) == Ratio(3.0, 2.5, 6.5)
    assert ratio([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)
    assert ratio([], [1.0]) is None


def test_a_variant_that_fails_is_kept_with_its_reason_and_the_others_go_on():
    def fails():
        raise RuntimeError("no such product\nand more")

    timed = interleave({"a": lambda: None, "b": fails}, warm_ups=1, rounds=2)
    assert (len(timed["a"].warm_up), len(timed["a"].seconds), len(timed["a"].page_faults)) == (1, 2, 2)
    assert timed["b"].error == "RuntimeError: no such product"
    assert timed["b"].seconds == []


def test_live_memory_is_what_is_held_at_once_and_not_what_was_freed_before():
    with LiveMemory() as watch:
        for _ in range(3):
            held = torch.zeros(4_000_000)
            time.sleep(0.1)
            del held
    if watch.peak is None:
        pytest.skip("this C library does not tell")
    assert 16_000_000 <= watch.peak < 24_000_000


def test_rounds_to_warm_up_tell_the_memory_and_counted_ones_do_not():
    timed = interleave({"a": lambda: None}, warm_ups=1, rounds=1)
    assert timed["a"].live_peak is None or timed["a"].live_peak >= 0
    assert interleave({"a": lambda: None}, warm_ups=0, rounds=1)["a"].live_peak is None


def test_nested_parts_are_counted_once(monkeypatch):
    times = iter([0.0, 1.0, 4.0, 9.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    watch = Stopwatch()
    with watch("outer"), watch("inner"):
        pass
    assert watch.seconds == {"outer": 1.0 + 5.0, "inner": 3.0}


@pytest.mark.long
def test_measures_resumes_and_reports(tmp_path, capsys):
    words = ["--model", "tiny", "--rounds", "1", "--results", str(tmp_path), "--settings"]
    steps = "steps-n8-m1-T128-lora-bf16"
    patterns = [
        steps,
        f"breakdown-{FOUR_TARGETS.key}",
        "layers-*",
        "growth-n2-*",
    ]
    main([*words, *patterns])
    results = load_all(tmp_path)
    assert len(results) == 4
    record = results[steps]
    assert {"commit", "threads", "cpu", "packages", "load_before", "load_after"} <= record["environment"].keys()
    assert all(len(variant["seconds"]) == 1 and len(variant["warm_up"]) == 1 for variant in record["variants"].values())
    parts = results[f"breakdown-{FOUR_TARGETS.key}"]["variants"]
    for variant in parts.values():  # the clocks cover the step
        assert sum(variant["parts"][0].values()) == pytest.approx(variant["seconds"][0], rel=0.2)
    assert parts[SUBSET_AUTO.name]["parts"][0]["products"] > 0.0
    assert parts["nothing recorded, n rows"]["parts"][0].get("update") is None

    (tmp_path / f"{steps}.json").write_text(json.dumps(record | {"took_seconds": 1234.5}))
    growth = results["growth-n2-m1-T128-full-fp32"]  # of an earlier list of variants
    del growth["variants"][SUBSET_AUTO.name]
    (tmp_path / "growth-n2-m1-T128-full-fp32.json").write_text(json.dumps(growth))
    capsys.readouterr()
    main([*words, *patterns])
    assert "3 are there already" in capsys.readouterr().out
    assert load_all(tmp_path)[steps]["took_seconds"] == 1234.5
    assert SUBSET_AUTO.name in load_all(tmp_path)["growth-n2-m1-T128-full-fp32"]["variants"]

    main(["--report", "--results", str(tmp_path)])
    report = (tmp_path / "report.md").read_text()
    for text in ("### Goals", "layer subset, gaussian 64", "### Step time and memory: LoRA, bf16", "not measured"):
        assert text in report
    for name in ("steps.png", "breakdown.png", "growth.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_verdicts_follow_the_figures():
    seconds = {variant.name: [1.5, 3.0, 6.0] for variant in EVERYWHERE}
    seconds |= {STANDARD.name: [1.0, 2.0, 4.0], WIDER.name: [1.1, 2.2, 4.4], SUBSET_SKETCH.name: [0.9, 1.9, 4.4]}
    variants = {
        name: {"seconds": own, "page_faults": [0, 0, 0], "preemptions": [0, 0, 0], "live_peak": 100, "error": None}
        for name, own in seconds.items()
    }
    counts = {name: {"standard": 24, "free": 22, "products": 1} for name in seconds}
    record = {
        "part": "steps",
        "model": "tiny",
        "variants": variants,
        "operations": counts,
        "setting": {"num_general": 8, "num_target": 1, "num_tokens": 128, "finetune": "full", "precision": "fp32"},
        "warm_ups": 1,
        "rounds": 3,
        "took_seconds": 1.0,
        "environment": {"cpu": None, "cpus": 2, "threads": 2, "commit": "abc", "packages": {}, "load_before": 0.1},
    }
    goals = check({f"steps-{FIRST.key}": record})
    assert (goals[0].found.median, goals[0].verdict, round(goals[0].limit, 2)) == (0.95, "met", 0.92)
    assert [goal.verdict for goal in goals[1:6]] == ["not measured", "missed", "missed", "missed", "not measured"]
    variants[SUBSET_SKETCH.name]["seconds"] = [1.1, 2.2, 4.4]
    assert check({f"steps-{FIRST.key}": record})[0].verdict == "missed"
    assert "**missed**" in render({f"steps-{FIRST.key}": record})
    variants[SUBSET_AUTO.name]["live_peak"] = 106
    held = next(goal for goal in check({f"steps-{FIRST.key}": record}) if goal.text.startswith("memory held at once"))
    assert (held.found.median, held.verdict) == (1.06, "missed")
    assert SUBSET_AUTO.name in held.text


@pytest.mark.slow
def test_peak_memory_of_a_step_in_a_process_of_its_own():
    found = measure_memory("tiny", FIRST, SUBSET_SKETCH, num_threads=1)
    assert found["error"] is None
    assert found["peak"] > found["held_between"] > found["held"]


@pytest.mark.slow
def test_a_child_that_fails_says_why():
    found = measure_memory("tiny", FIRST, replace(SUBSET_SKETCH, sketch="none"), num_threads=1)
    assert "none" in found["error"]
