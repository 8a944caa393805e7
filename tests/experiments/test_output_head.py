"""What leaving out logits saves: the measurement runs, and its table comes from its record alone."""

import json

from experiments.output_head import measure


def test_ratios_below_one_are_for_leaving_out():
    shape = {"name": "short", "rows": 2, "prompt": 3, "response": 4}
    seconds = {"tokens that count": [1.0, 3.0], "all tokens": [2.0, 4.0]}
    described = {"cpu": "a processor", "threads": 1, "load_before": 0.25, "commit": "abc"}
    record = {"model": "m", "rounds": 2, "environment": described, "shapes": [{"shape": shape, "seconds": seconds}]}
    assert "| short | 2 × (3 + 4) | 3.00 | 2.00 | 0.62 [0.56, 0.69] |" in measure.render(record)


def test_quick_measures_both_variants_of_every_shape(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "_QUICK_FOLDER", tmp_path)
    measure.main(["--quick"])
    record = json.loads((tmp_path / "results.json").read_text())
    assert all(len(seconds) == 1 for found in record["shapes"] for seconds in found["seconds"].values())
    assert "| every token counts |" in capsys.readouterr().out
