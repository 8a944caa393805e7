"""Files that are whole or not there, and errors in writing that say what to do."""

import errno
import os
import socket
import subprocess
import time

import pytest

from drpt.files import append_line, read_json_lines, remove_parts, write_atomically
from drpt.storage import StorageError, explain_failure, require_folder, storing


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("sync") or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("rename") or replace(a, b))
    write_atomically(tmp_path / "a" / "x.json", "é")
    assert (tmp_path / "a" / "x.json").read_text() == "é"
    assert done == ["sync", "rename", "sync"], "content, name, folder"


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(
        StorageError, match=r"x\.json: the disk or your quota is full \(without this file, \d+ MiB are free\). Make room"
    ):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EACCES, "writing is not permitted"),
        (errno.EROFS, "writing is not permitted"),
        (errno.EIO, "cannot be written (input/output error)"),
    ],
)
def test_each_cause_has_its_way_out(tmp_path, number, said):
    text = explain_failure(tmp_path / "x", OSError(number, os.strerror(number)))
    assert said in text
    assert str(tmp_path / "x") in text
    assert "\n" not in text


def test_what_stands_in_the_way_is_named(tmp_path):
    (tmp_path / "sweep").write_text("")
    with pytest.raises(StorageError, match=r"/sweep: this is a file, but a folder is needed there"):
        write_atomically(tmp_path / "sweep" / "job" / "x.json", "")
    with pytest.raises(StorageError, match=r"/sweep: this is a file, but a folder is needed there"):
        require_folder(tmp_path / "sweep" / "job")
    (tmp_path / "y.json").mkdir()
    with pytest.raises(StorageError, match=r"y\.json: this is a folder, but a file is needed there"):
        write_atomically(tmp_path / "y.json", "")
    require_folder(tmp_path / "new" / "job")


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="sizes differ"), storing(tmp_path):
        raise RuntimeError("sizes differ")
    with pytest.raises(KeyError), storing(tmp_path):
        raise KeyError("x")


def test_parts_of_the_dead_are_removed(tmp_path):
    host = socket.gethostname()
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, living, distant = (f".x.json.{at}.part" for at in (f"{host}.{ended.pid}", f"{host}.{os.getpid()}", "other.123"))
    for name in (".last.ckpt.part", dead, living, distant, "kept.json"):
        (tmp_path / name).touch()
    remove_parts(tmp_path, is_ours=False)
    assert {path.name for path in tmp_path.iterdir()} == {".last.ckpt.part", living, distant, "kept.json"}
    old = time.time() - 7200
    os.utime(tmp_path / distant, (old, old))
    remove_parts(tmp_path, is_ours=False)
    assert {path.name for path in tmp_path.iterdir()} == {".last.ckpt.part", living, "kept.json"}
    remove_parts(tmp_path, is_ours=True)
    assert {path.name for path in tmp_path.iterdir()} == {"kept.json"}
    remove_parts(tmp_path / "nowhere", is_ours=True)


def test_a_line_after_half_a_line_is_a_line_of_its_own(tmp_path):
    path = tmp_path / "runs" / "commands.jsonl"
    append_line(path, '{"a": 1}')
    with path.open("a") as file:
        file.write('{"a": 2')
    append_line(path, '{"a": 3}')
    assert path.read_text() == '{"a": 1}\n{"a": 2\n{"a": 3}\n'


def test_a_line_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n\xff\xfe\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: not a line of metrics"):
        read_json_lines(path, "metrics")
    path.write_bytes(b'{"a": 1}\n\xff\xfe')
    assert read_json_lines(path, "metrics") == [{"a": 1}]
