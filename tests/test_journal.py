"""A growing file that a checkpoint can count on: cut back to what it held, and refused where it holds something else."""

import json

import pytest

from drpt.journal import Journal, fault
from drpt.storage import StorageError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.jsonl"


def lines(first, last):
    return [{"step": step, "name": "é\u2028", "value": step / 3} for step in range(first, last)]


def read(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_what_came_after_the_checkpoint_is_cut_off(path):
    journal = Journal(path)
    journal.append(lines(0, 3))
    state = journal.state()
    journal.append(lines(3, 9))
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"half')
    assert fault(path, state) is None
    again = Journal(path, state)
    assert again.state() == state
    again.append(lines(3, 5))
    assert read(path) == lines(0, 5)


def test_a_new_journal_begins_an_empty_file(path):
    Journal(path).append(lines(0, 3))
    assert Journal(path).state()["lines"] == 0
    assert read(path) == []


def test_lines_of_old_runs_are_taken_over(path):
    journal = Journal.of(path, lines(0, 4))
    assert journal.state()["lines"] == 4
    journal.append(lines(4, 5))
    assert read(path) == lines(0, 5)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "metrics.jsonl lacks the 6 lines"),
        (lambda path: path.write_bytes(b""), "metrics.jsonl has 0 of the 6 lines"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "metrics.jsonl has 5 of the 6 lines"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"step": 2', b'"step": 7')), "begins with other lines"),
        (lambda path: path.write_bytes(b"\xff" + path.read_bytes()), "begins with other lines"),
        (lambda path: (path.unlink(), path.mkdir()), "metrics.jsonl lacks the 6 lines"),
    ],
)
def test_damage_is_told(path, harm, said):
    journal = Journal(path)
    journal.append(lines(0, 6))
    harm(path)
    assert said in fault(path, journal.state())


def test_lines_that_cannot_be_written_do_not_count(path, monkeypatch):
    journal = Journal(path)
    journal.append(lines(0, 2))
    state = journal.state()
    full = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(journal, "_file", full)
    with pytest.raises(StorageError, match=r"metrics\.jsonl: the disk or your quota is full"):
        journal.append(lines(2, 4))
    full.close()
    assert journal.state() == state


def test_a_folder_in_its_place_is_named(path):
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"metrics\.jsonl: this is a folder, but a file is needed there"):
        Journal(path)
