import json

import pytest

from drpt.files import write_atomically
from drpt.metrics import read_metrics
from drpt.storage import StorageError


def test_a_line_cut_by_an_interruption_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    line = {"step": 1, "name": "a", "value": 2.0}
    path.write_text(json.dumps(line) + '\n{"step": 2, "na')
    assert read_metrics(path) == [line]
    path.write_text('{"step": 2, "na\n' + json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl:1: not a line of metrics"):
        read_metrics(path)
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_atomically(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StorageError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
