"""The engines' speed: the measurement runs, and its tables come from its record alone."""

import json

import pytest

from experiments.rollout_speed import measure


def test_ratios_above_one_are_for_vllm():
    def variant(*seconds):
        return {"seconds": list(seconds), "cpu_seconds": [second / 2 for second in seconds], "preemptions": [0, 0]}

    variants = {"rollout=vllm": variant(1.0, 2.0), "generate": variant(3.0, 4.0), "rollout=transformers": variant(4.0, 8.0)}
    variants |= {"sync, rollout=vllm": variant(0.5, 0.5), "sync, rollout=transformers": variant(0.25, 0.25)}
    described = {"cpu": "a processor", "threads": 1, "load_before": 0.25, "commit": "abc"}
    record = {"model": "m", "rounds": 2, "sequences": 16, "tokens": 3, "environment": described}
    text = measure.render(record | {"dtypes": {"float32": {"build_seconds": 2.0, "variants": variants}}})
    assert "| float32 | rollout=vllm | 32 | 1 | 1 |" in text
    assert "| float32 | generate | 14 | 2.50 [2.25, 2.75] | 2.50 [2.25, 2.75] |" in text
    assert "| float32 | 2.0 | 0.500 | 0.250 |" in text


@pytest.mark.long
@pytest.mark.vllm
def test_quick_measures_all_variants(tmp_path, monkeypatch, capsys):
    pytest.importorskip("vllm", reason="vLLM is not installed", exc_type=ImportError)
    monkeypatch.setattr(measure, "_QUICK_FOLDER", tmp_path)
    measure.main(["--quick"])
    record = json.loads((tmp_path / "results.json").read_text())
    for found in record["dtypes"].values():
        assert all(len(variant["seconds"]) == len(variant["cpu_seconds"]) == 1 for variant in found["variants"].values())
    assert "| bfloat16 | rollout=transformers |" in capsys.readouterr().out
