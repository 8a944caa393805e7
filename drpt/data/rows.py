"""Reads the rows of local files: lines or an array of JSON, parquet, or CSV, with or without gzip compression.

Files with one row per line are indexed, not loaded: the index of a million lines takes 16 MB, and rows are read on demand.
Parquet files are memory-mapped by Arrow; JSON arrays and CSV are read as a whole.
"""

import csv
import gzip
import hashlib
import io
import os
import shutil
import tempfile
import weakref
import zlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from drpt.data.arrow_rows import arrow_record
from drpt.data.json_rows import parse_array, parse_line
from drpt.data.record import RecordError

KINDS = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
LARGE_BYTES = 64 * 2**20  # size of a file above which rows are checked only when they are drawn
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
# Other file types by their first bytes, with what to do.
_OTHERS = {
    b"PAR1": "parquet: name it .parquet",
    _GZIP: "compressed by gzip: unpack it, or name it by what is in it, such as .jsonl.gz",
    b"PK\x03\x04": "a zip archive (or a spreadsheet): unpack it, or save it as .csv",
    b"\xff\xfe": "UTF-16: convert it to UTF-8",
    b"\xfe\xff": "UTF-16: convert it to UTF-8",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run git lfs pull",
}


class Rows(ABC):
    """The rows of one file."""

    is_large = False  # whether rows are checked only when they are drawn
    digest: str | None = None  # SHA-256 of a large file
    unit = "row"  # word for a row in messages

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def place(self, number: int) -> str:
        """File and line of a row, for messages."""

    @abstractmethod
    def record(self, number: int) -> object:
        """Values of a row by column; raises `RecordError` if the row is malformed."""


def open_rows(option: str, name: str) -> Rows:
    """Open a file.

    Args:
        option: Full name of the option that names the file, for messages.
        name: Path of the file; ``~`` is the user's home.

    Returns:
        Rows of the file, at least one.

    Raises:
        ValueError: The file does not exist, is a folder, is empty, or is not of the type that its name says.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        inside = sorted(one.name for one in path.iterdir() if one.name.endswith(KINDS))
        there = f", such as {path / inside[0]}" if inside else f" ({', '.join(KINDS)})"
        raise ValueError(f"{option}={name}: this is a folder. Give a file in it{there}.")
    if not path.is_file():
        raise ValueError(
            f"{option}={name}: no such file. Give a file with one JSON object per line, or {', '.join(KINDS[1:])}."
        )
    try:
        found = _open(path, name)
    except OSError as error:
        raise ValueError(f"{option}={name}: cannot be read ({error.strerror or error}).") from error
    except RecordError as error:
        raise ValueError(f"{option}={name}: {error}") from error
    if not len(found):
        raise ValueError(f"{option}={name}: the file contains no example.")
    return found


def _open(path: Path, name: str) -> Rows:
    lower = path.name.lower()
    with path.open("rb") as file:
        head = file.read(32)
    if lower.endswith(".parquet"):
        if head and not head.startswith(b"PAR1"):
            raise RecordError(f"it is not a parquet file, despite its name{_meant(head)}.")
        return _ParquetRows(path, name)
    is_zipped = head.startswith(_GZIP)
    if lower.endswith(".gz") != is_zipped and head:
        if is_zipped:
            raise RecordError(f"it is compressed by gzip: name it {path.name}.gz.")
        raise RecordError(f"it is not compressed by gzip: name it {path.name[:-3]}.")
    if not is_zipped and (meant := _meant(head)):
        raise RecordError(f"it is {meant.removeprefix('; it is ')}.")
    inner = lower.removesuffix(".gz")
    if inner.endswith((".csv", ".tsv")):
        return _CsvRows(_content(path, is_zipped), name, delimiter="\t" if inner.endswith(".tsv") else ",")
    start = _start(path, is_zipped)
    if inner.endswith(".json") and start.startswith(b"["):
        return _ArrayRows(_content(path, is_zipped), name)
    first = start.partition(b"\n")[0].strip()
    if first == b"[":
        raise RecordError(f"it is one JSON array over several lines: name it {path.name.replace('.jsonl', '.json')}.")
    if inner.endswith(".json") and first == b"{":  # an object over several lines: raises an error with a hint
        parse_array(_content(path, is_zipped))
    if is_zipped:
        return _LineRows(_unzipped(path), name, is_shared=False)
    return _LineRows(_Place(path), name, is_shared=True)


def _meant(head: bytes) -> str:
    return next((f"; it is {words}" for start, words in _OTHERS.items() if head.startswith(start)), "")


def _start(path: Path, is_zipped: bool) -> bytes:
    with _unzipping(path) if is_zipped else path.open("rb") as file:
        return file.read(4096).removeprefix(_BOM).lstrip()


def _content(path: Path, is_zipped: bool) -> bytes:
    if not is_zipped:
        return path.read_bytes().removeprefix(_BOM)
    with _unzipping(path) as file:
        return file.read().removeprefix(_BOM)


class _unzipping:  # noqa: N801  # a context manager
    """Opens a compressed file; damage is reported as `RecordError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> BinaryIO:
        self._file = gzip.open(self._path, "rb")
        return self._file  # type: ignore[return-value]  # GzipFile reads as a binary file does

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
            raise RecordError(f"the compressed file is truncated or damaged ({error}): copy it again.") from error


class _Place:
    """A file that can be opened again."""

    def __init__(self, path: Path, *, is_ours: bool = False) -> None:
        self.path = path
        status = path.stat()
        self.version = (status.st_size, status.st_mtime_ns)
        if is_ours:
            weakref.finalize(self, path.unlink, missing_ok=True)

    def open(self) -> BinaryIO:
        """Open the file if it has not changed."""
        file = self.path.open("rb")
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != self.version:
            file.close()
            raise RecordError("the file changed while it was read: run the command again.")
        return file


def _unzipped(path: Path) -> _Place:
    handle, name = tempfile.mkstemp(prefix="drpt-rows-")
    with os.fdopen(handle, "wb") as out, _unzipping(path) as file:
        shutil.copyfileobj(file, out, 2**20)
    return _Place(Path(name), is_ours=True)


class _LineRows(Rows):
    """Rows of a file with one JSON object per line; blank lines are skipped."""

    unit = "line"

    def __init__(self, place: _Place, name: str, *, is_shared: bool) -> None:
        self._file, self._name = place, name
        index = _shared_index if is_shared else _index
        self._offsets, self._lines, digest = index(str(place.path), place.version)
        self.is_large = place.version[0] > LARGE_BYTES
        self.digest = digest if self.is_large else None

    def __len__(self) -> int:
        return len(self._offsets)

    def place(self, number: int) -> str:
        return f"{self._name}:{self._lines[number]}"

    def record(self, number: int) -> object:
        with self._file.open() as file:
            file.seek(self._offsets[number])
            return parse_line(file.readline())


def _index(path: str, version: tuple[int, int]) -> tuple["array[int]", "array[int]", str]:
    """Offsets and numbers of the non-blank lines, and a checksum of the file."""
    offsets, numbers, digest, offset = array("q"), array("q"), hashlib.sha256(), 0
    with open(path, "rb", buffering=2**20) as file:
        for number, line in enumerate(file, start=1):
            digest.update(line)
            skipped = len(_BOM) if number == 1 and line.startswith(_BOM) else 0
            if line[skipped:].strip():
                offsets.append(offset + skipped)
                numbers.append(number)
            offset += len(line)
    return offsets, numbers, digest.hexdigest()


_shared_index = lru_cache(maxsize=8)(_index)  # a command opens its files more than once


class _LoadedRows(Rows):
    """Rows in memory."""

    def __init__(self, records: list[Any], places: Callable[[int], str]) -> None:  # Any: JSON values
        self._records, self._places = records, places

    def __len__(self) -> int:
        return len(self._records)

    def place(self, number: int) -> str:
        return self._places(number)

    def record(self, number: int) -> object:
        return self._records[number]


class _ArrayRows(_LoadedRows):
    """Rows of one JSON array."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(parse_array(content), lambda number: f"{name}[{number}]")


class _CsvRows(_LoadedRows):
    """Rows of a CSV or TSV file with a header; all values are texts."""

    def __init__(self, content: bytes, name: str, *, delimiter: str) -> None:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise RecordError(
                f"line {line}: byte {error.start + 1} of the file: not UTF-8: convert the file to UTF-8."
            ) from error
        csv.field_size_limit(2**31 - 1)
        raw = io.StringIO(text, newline="").readlines()
        reader = csv.reader(raw, delimiter=delimiter, strict=True)
        records, lines = [], []
        try:
            header = next(reader, [])
            if len(set(header)) < len(header):
                twice = next(column for column in header if header.count(column) > 1)
                raise RecordError(f"line 1: two columns are named {twice!r}: rename one.")
            start = reader.line_num + 1
            for values in reader:
                if values:
                    if delimiter == "\t":
                        _check_quotes(raw[start - 1 : reader.line_num], start, len(header))
                    if len(values) != len(header):
                        raise RecordError(
                            f"line {start}: {len(values)} values, but line 1 names {len(header)} columns: quote values that "
                            f"contain a {'tab' if delimiter == chr(9) else 'comma'} or a line break."
                        )
                    records.append(dict(zip(header, values, strict=True)))
                    lines.append(start)
                start = reader.line_num + 1
        except csv.Error as error:
            raise RecordError(f"line {reader.line_num}: {error}.") from error
        super().__init__(records, lambda number: f"{name}:{lines[number]}")


def _check_quotes(lines: list[str], start: int, num_columns: int) -> None:
    """Refuse a row over several lines if each line would be a row by itself, with quotes as part of the text."""
    if len(lines) > 1 and all(line.count("\t") == num_columns - 1 for line in lines):
        raise RecordError(
            f"lines {start} to {start + len(lines) - 1} are either one row with a quoted value over several lines, or "
            f"{len(lines)} rows with quotation marks in their text: quote these values and double the marks within, or save "
            "the file as .jsonl."
        )


class _ParquetRows(Rows):
    """Rows of a parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        import pyarrow
        import pyarrow.parquet

        self._name = name
        self.is_large = path.stat().st_size > LARGE_BYTES
        try:
            self._table = pyarrow.parquet.read_table(path, memory_map=True)
        except (pyarrow.ArrowException, ValueError) as error:
            raise RecordError(f"the parquet file cannot be read ({str(error).splitlines()[0][:100]}).") from error
        if self.is_large:
            with path.open("rb") as file:
                self.digest = hashlib.file_digest(file, "sha256").hexdigest()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def place(self, number: int) -> str:
        return f"{self._name}, row {number}"

    def record(self, number: int) -> object:
        return arrow_record(self._table.slice(number, 1).to_pylist()[0])
