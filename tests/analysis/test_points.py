"""Replicates are told by their seeds, and data that changed in between are never averaged."""

import json

import pytest
import yaml

from drpt.analysis.sweep import read_sweep
from drpt.analysis.table import ZERO_SHOT, row_notes, tabulate
from drpt.analysis.table_formats import as_csv
from tests.analysis.test_table import make_run


def put(folder, *, data=None, started=None, **settings):
    """Change settings (a double underscore for a dot) and what a run recorded of its data."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in settings.items():
        section, _, option = key.partition("__")
        config.setdefault(section, {})[option] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if data is not None:
        (folder / "data.json").write_text(json.dumps({"fingerprint": f"{data} by seed", "source": data, "model": "m"}))
    if started is not None:
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"started": started}))


def table(folder):
    return [row for row in tabulate(list(read_sweep(folder))) if row.name != ZERO_SHOT]


OF_NO_RESULT = [
    ("trainer__checkpoint_every_steps", (50, 7, 8)),
    ("trainer__keep_steps", ([], [1], [1, 2])),
    ("trainer__retain_mib", (4096.0, 1.0, 0.0)),
    ("trainer__score_check_steps", (50, None, 1)),
    ("rollout__kv_cache_mib", (512, 64, 128)),
]


@pytest.mark.parametrize(("key", "values"), OF_NO_RESULT, ids=[key for key, _ in OF_NO_RESULT])
def test_one_seed_thrice_is_one_seed(tmp_path, key, values):
    for i, value in enumerate(values):
        put(make_run(tmp_path / f"copy{i}", "full", 0, 1.0 + i).rename(tmp_path / f"full-{i}"), started=str(i), **{key: value})
        (tmp_path / f"copy{i}").rmdir()
    (row,) = table(tmp_path)
    assert row.num_seeds == 1
    assert row.primary.mean == 1.0, "the one that began first counts"
    (note,) = row_notes([row])
    assert "full-1, full-2" in note
    assert "Seed 0 is represented by the run that began first" in note


@pytest.mark.parametrize(("key", "values"), OF_NO_RESULT, ids=[key for key, _ in OF_NO_RESULT])
def test_seeds_that_differ_in_what_changes_nothing_are_of_one_point(tmp_path, key, values):
    for seed, value in enumerate(values):
        put(make_run(tmp_path, "full", seed, 1.0 + seed), **{key: value})
    (row,) = table(tmp_path)
    assert row.num_seeds == 3
    assert row.label == "full"
    assert row_notes([row]) == []


def test_data_that_changed_are_another_point_and_named(tmp_path):
    for seed, data in enumerate(("before", "before", "after")):
        put(make_run(tmp_path, "full", seed, 1.0 + seed), data=data)
        put(make_run(tmp_path, "mix", seed, 2.0 + seed, strength=0.5), data=data)
    rows = table(tmp_path)
    assert sorted(row.num_seeds for row in rows) == [1, 1, 2, 2]
    labels = [row.label for row in rows]
    assert len(set(labels)) == 4
    assert all(" data=" in label for label in labels)
    assert len({label.rpartition("=")[2] for label in labels}) == 2
    assert "data=" in as_csv(rows)
    (note,) = row_notes(rows)
    assert "not averaged" in note
    assert len([row for row in tabulate(list(read_sweep(tmp_path))) if row.name == ZERO_SHOT]) == 2


def test_data_of_seeds_that_redraw_are_the_same(tmp_path):
    for seed in range(3):
        folder = make_run(tmp_path, "full", seed, 1.0 + seed)
        (folder / "data.json").write_text(json.dumps({"fingerprint": f"of seed {seed}", "source": "same"}))
    (row,) = table(tmp_path)
    assert (row.label, row.num_seeds) == ("full", 3)


def test_runs_that_recorded_no_data_are_not_averaged_with_those_that_did(tmp_path):
    make_run(tmp_path, "full", 0, 1.0)
    put(make_run(tmp_path, "full", 1, 2.0), data="known")
    assert sorted(row.label.partition("=")[2] == "not recorded" for row in table(tmp_path)) == [False, True]
