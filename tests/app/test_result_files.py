import errno
import os

import pytest
from rich.console import Console

from drpt.app.result_files import write_results
from drpt.storage import StorageError, explain_failure, explain_os_error, require_folder


def _fails(number):
    def make():
        raise OSError(number, os.strerror(number))

    return make


def test_what_can_be_written_is_and_the_rest_is_named(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    (tmp_path / "b.json").mkdir()
    files = {
        tmp_path / "a.json": lambda: "{}",
        tmp_path / "b.json": lambda: "{}",
        taken / "c.json": lambda: "{}",
        tmp_path / "d.json": _fails(errno.ENOSPC),
        tmp_path / "new" / "e.png": lambda: b"e",
    }
    assert write_results(files, Console(width=40)) == 1
    out, err = capsys.readouterr()
    assert out == f"a.json: {tmp_path / 'a.json'}\ne.png: {tmp_path / 'new' / 'e.png'}\n"
    folder, file, disk = err.splitlines()
    assert folder.startswith(f"{tmp_path / 'b.json'}: this is a folder, but a file is needed there. Move it away")
    assert file.startswith(f"{taken}: this is a file, but a folder is needed there. Move it away")
    assert disk.startswith(f"{tmp_path / 'd.json'}: the disk or your quota is full")
    assert (tmp_path / "new" / "e.png").read_bytes() == b"e"
    assert write_results({tmp_path / "a.json": lambda: "again"}, Console()) == 0
    with pytest.raises(ZeroDivisionError):
        write_results({tmp_path / "a.json": lambda: str(1 / 0)}, Console())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EDQUOT, "Make room"),
        (errno.EACCES, "writing is not permitted"),
        (errno.EROFS, "writing is not permitted"),
        (errno.EFBIG, "Raise the limit"),
        (errno.EIO, "Remove the cause"),
    ],
)
def test_every_fault_has_a_remedy(tmp_path, number, remedy):
    error = OSError(number, os.strerror(number), str(tmp_path / "x"))
    said = explain_failure(tmp_path / "x", error)
    assert said.startswith(str(tmp_path / "x"))
    assert remedy in said
    assert explain_os_error(error) == said


def test_faults_of_reading_are_no_faults_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none").read_text()
    assert explain_os_error(caught.value) == f"{tmp_path / 'none'} does not exist."
    assert explain_os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == (
        "the output cannot be written (no space left on device): check where it is redirected to."
    )


def test_a_place_is_looked_at_without_being_made(tmp_path, monkeypatch):
    require_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "taken").write_text("a file")
    for place in (tmp_path / "taken", tmp_path / "taken" / "b"):
        with pytest.raises(StorageError, match=r"taken: this is a file, but a folder is needed there\. Move it away"):
            require_folder(place)
    monkeypatch.setattr(os, "access", lambda *_: False)  # a superuser may write everywhere
    with pytest.raises(StorageError, match="writing is not permitted"):
        require_folder(tmp_path / "a")
