"""Of a large file only what is drawn is read; it is the same that a small one gives."""

import json
from itertools import islice

import pytest

from drpt.data import rows
from drpt.data.file_source import FileSource
from drpt.data.fingerprint import source_fingerprint
from tests.data.lists import sentence


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "big.jsonl"
    lines = [json.dumps({"prompt": sentence(i), "response": str(i)}) + "\n" for i in range(500)]
    lines.insert(7, "\n")
    path.write_text("".join(lines))
    return path


def test_a_large_file_gives_what_a_small_one_gives(path, monkeypatch):
    small = list(FileSource(path=str(path)).general(3))
    monkeypatch.setattr(rows, "LARGE_BYTES", 1000)
    source = FileSource(path=str(path))
    assert list(source.general(3)) == small
    assert source.stream_digest("general") is not None


def test_only_what_is_drawn_is_parsed(path, monkeypatch):
    monkeypatch.setattr(rows, "LARGE_BYTES", 1000)
    parsed = []
    monkeypatch.setattr(rows, "parse_line", lambda raw: parsed.append(raw) or json.loads(raw))
    source = FileSource(path=str(path))
    print_of_source = source_fingerprint(source)
    assert not parsed
    assert len(list(islice(source.general(0), 20))) == 20
    assert len(parsed) == 20
    assert source_fingerprint(FileSource(path=str(path))) == print_of_source


def test_a_malformed_row_that_is_drawn_is_named(path, monkeypatch):
    monkeypatch.setattr(rows, "LARGE_BYTES", 1000)
    with path.open("a") as file:
        file.write("no\n" * 500)
    with pytest.raises(ValueError, match=r"big\.jsonl: a malformed line:\n  .*big\.jsonl:\d+: column 1: not JSON"):
        list(islice(FileSource(path=str(path)).general(0), 100))


def test_a_file_that_changes_while_it_is_read_is_noticed(path, monkeypatch):
    monkeypatch.setattr(rows, "LARGE_BYTES", 1000)
    stream = FileSource(path=str(path)).general(0)
    next(stream)
    path.write_text("x" * 10_000)
    with pytest.raises(ValueError, match="the file changed while it was read"):
        next(stream)


def test_another_content_is_another_fingerprint(path, monkeypatch):
    monkeypatch.setattr(rows, "LARGE_BYTES", 1000)
    before = source_fingerprint(FileSource(path=str(path)))
    path.write_text(path.read_text().replace(sentence(400), sentence(1000)))
    assert source_fingerprint(FileSource(path=str(path))) != before
