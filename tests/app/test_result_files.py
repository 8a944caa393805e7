import errno
import os

import pytest
from rich.console import Console

from drpt.app.result_files import write_results
from drpt.write_faults import os_fault, place_fault, write_fault


def _fails(number):
    def make():
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise ValueError("as whoever writes may say it") from error

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
    assert err.splitlines() == [
        f"{tmp_path / 'b.json'} cannot be written: it is a folder where a file should be; move it away",
        f"{taken / 'c.json'} cannot be written: {taken} is a file where a folder should be; move it away",
        f"{tmp_path / 'd.json'} cannot be written (No space left on device): make room on that disk",
    ]
    assert (tmp_path / "new" / "e.png").read_bytes() == b"e"
    assert write_results({tmp_path / "a.json": lambda: "again"}, Console()) == 0
    with pytest.raises(ZeroDivisionError):
        write_results({tmp_path / "a.json": lambda: str(1 / 0)}, Console())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EDQUOT, "make room on that disk"),
        (errno.EACCES, "make the folder writable, or copy it to a place that is"),
        (errno.EROFS, "make the folder writable, or copy it to a place that is"),
        (errno.ENAMETOOLONG, "take a shorter name"),
        (errno.EIO, "see to the disk"),
    ],
)
def test_every_fault_has_a_remedy(tmp_path, number, remedy):
    error = OSError(number, os.strerror(number), str(tmp_path / "x"))
    assert write_fault(error, tmp_path / "x") == f"{tmp_path / 'x'} cannot be written ({os.strerror(number)}): {remedy}"
    assert os_fault(error) == write_fault(error, tmp_path / "x")


def test_faults_of_reading_are_no_faults_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none").read_text()
    assert os_fault(caught.value) == f"{tmp_path / 'none'} is not there"
    assert os_fault(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == (
        "the output cannot be written (No space left on device): see where it goes to"
    )


def test_a_place_is_looked_at_without_being_made(tmp_path, monkeypatch):
    assert place_fault(tmp_path / "a" / "b") is None
    assert not (tmp_path / "a").exists()
    (tmp_path / "taken").write_text("a file")
    for place in (tmp_path / "taken", tmp_path / "taken" / "b"):
        fault = f"{place} cannot be made: {tmp_path / 'taken'} is a file where a folder should be; move it away"
        assert place_fault(place) == fault
    monkeypatch.setattr(os, "access", lambda *_: False)  # a superuser may write everywhere
    assert "cannot be written (Permission denied): make the folder writable" in place_fault(tmp_path / "a")
