"""`drpt probe` on the tiny model, fresh and trained."""

import json
from pathlib import Path

from tests.app.conftest import TINY

SMALL = ("--pool", "8", "--draws", "20", "--partitions", "global", "layer", "--out", "out")


def test_probe_of_a_fresh_model(drpt):
    status, text = drpt("probe", *TINY, *SMALL)
    assert status == 0, text
    assert "mix" in text
    assert Path("out/probe.png").read_bytes().startswith(b"\x89PNG")
    points = json.loads(Path("out/probe.json").read_text())["points"]
    found = {(p["rule"]["name"], p["rule"]["partition"], p["rule"]["strength"]): p["direction"] for p in points}
    assert len(found) == len(points)
    full = found["full", "global", None]
    assert full["mse"] > 0
    for same in (("hull", "layer", 1.0), ("subset", "global", 1.0), ("random_subset", "layer", 1.0), ("filter", "layer", 1.0)):
        assert abs(found[same]["mse"] - full["mse"]) < 1e-6 * full["mse"], same
    assert all(p["direction"]["num_failures"] == 0 for p in points)


def test_probe_of_a_trained_run(drpt):
    status, text = drpt("train", *TINY, "sweep=trained")
    assert status == 0, text
    (folder,) = (path.parent for path in Path("runs/trained").glob("*/summary.json"))
    directions = {}
    for checkpoint in ("first", "last"):
        status, text = drpt("probe", "--run", str(folder), "--checkpoint", checkpoint, *SMALL, "data.target_rows=1")
        assert status == 0, text
        record = json.loads(Path("out/probe.json").read_text())
        assert f"{checkpoint} of {folder.name}" in record["title"]
        directions[checkpoint] = record["points"][0]["direction"]
    assert directions["first"] != directions["last"]
    status, text = drpt("probe", "--run", str(folder), "--checkpoint", "best", *SMALL)
    assert status == 2
    assert "--checkpoint best: " in text


def test_bad_probes_are_explained(drpt):
    status, text = drpt("probe", "--draws", "15")
    assert status == 2
    assert "15 must be a multiple of 10" in text
    status, text = drpt("probe", "data.num_targt=3")
    assert status == 2
    assert "Did you mean 'num_target'" in text
    status, text = drpt("probe", "--run", "nowhere")
    assert status == 2
    assert "give the folder of one run" in text
