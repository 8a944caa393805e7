"""The solvers' study: the measurement runs, and its tables come from its record alone."""

import json

from experiments.solvers import measure
from experiments.solvers.hard_inputs import KINDS
from experiments.solvers.sets import SOLVING


def test_the_longest_and_the_unsolved_are_shown():
    def setting(name, n, seconds):
        kinds = {kind: {"cpu_seconds": seconds, "unsolved": 0, "largest_residual": 1e-9} for kind in ("gaussian", *KINDS)}
        return {"set": name, "n": n, "dtype": "float64", "kinds": kinds}

    settings = [setting(name, n, [0.001, 0.002, 0.003]) for name in SOLVING for n in (8, 64)]
    settings[1]["kinds"]["ties"] = {"cpu_seconds": [0.004, 0.006, 0.018], "unsolved": 2, "largest_residual": 2e-7}
    described = {"cpu": "a processor", "load_before": 0.25, "commit": "abc"}
    text = measure.render({"environment": described, "rounds": 3, "blocks": 30, "settings": settings})
    assert "| hull | 2.00 | 2.0 | 4.0 | ties, n = 64, float64 | 2 of 1140 | 2e-07 |" in text
    assert "| ties | 4.0 | 1.0 |" in text


def test_quick_measures_all_sets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "_QUICK_FOLDER", tmp_path)
    measure.main(["--quick"])
    record = json.loads((tmp_path / "results.json").read_text())
    assert len(record["settings"]) == 2 * len(SOLVING)
    assert "| mgda |" in capsys.readouterr().out
