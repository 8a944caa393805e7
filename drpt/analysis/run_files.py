"""Reads single files of a run's folder, which may be damaged, and checks the parts that `drpt.analysis` uses."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from drpt.renamed import read_through
from drpt.tasks.find import task_metrics_of

# Resolved configurations are long: use libyaml if it is installed.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTION = re.compile(r"^(?=[A-Za-z_][\w.]*:(?: |$))", re.MULTILINE)
_SECTIONS = ("task", "model", "finetune", "data", "regularizer", "optimizer", "trainer")  # sections of every version's runs
_DEEPEST = 20
_LONGEST = 80  # largest number of characters of a quoted value
_LARGEST = 10**18  # largest whole number accepted, safe for sums and floats


class FileFaultError(ValueError):
    """A file lacks the expected contents; the message continues a sentence that begins with the file's path."""


@contextmanager
def reading(path: Path, kind: type[Exception]) -> Iterator[None]:
    """Turn every fault of a file into one error that names it.

    Args:
        path: File that the body reads.
        kind: Class of the error.

    Yields:
        Nothing.

    Raises:
        Exception: The file is missing, unreadable, not a file or not text, or lacks the expected contents; of class ``kind``.
    """
    try:
        yield
    except FileFaultError as error:
        raise kind(f"{path} {error}") from error
    except FileNotFoundError as error:
        raise kind(f"{path} is missing") from error
    except OSError as error:
        raise kind(f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise kind(f"{path} is not text") from error
    except RecursionError as error:
        raise kind(f"{path} is nested too deeply") from error
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace(str(path), "").strip(": ").split())
        raise kind(f"{path} is malformed: {_shortened(reason)}") from error


def read_json(path: Path, *, missing: Any = None) -> Any:  # Any: JSON values
    """Read a JSON file.

    Args:
        path: File to read.
        missing: Value for a missing file; None = an error.

    Returns:
        The value, unchecked.

    Raises:
        FileNotFoundError: The file is missing and ``missing`` is None.
        FileFaultError: The file is empty.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        if missing is None:
            raise
        return missing
    if not text.strip():
        raise FileFaultError("is empty")
    return json.loads(text)


def read_yaml(path: Path) -> Any:  # Any: YAML values
    """Read a YAML file; parts that many files share are parsed once.

    Args:
        path: File to read.

    Returns:
        The value, unchecked and not to be changed, since files share parts.

    Raises:
        FileFaultError: The file is empty, or was truncated inside a line.
    """
    text = path.read_text()
    if not text.strip():
        raise FileFaultError("is empty")
    if not text.endswith("\n") and not text.startswith("{"):  # YAML in block style ends with a line break
        raise FileFaultError("is cut off")
    # A mapping in block style is parsed section by section, from one key at the margin to the next. Anything else, such as an
    # anchor that another section refers to, does not parse in parts and is parsed as a whole.
    first, *sections = _SECTION.split(text)
    try:
        parts = [_parse(section) for section in sections]
    except yaml.YAMLError:
        parts = []
    if first.strip() or not parts or not all(isinstance(part, dict) and len(part) == 1 for part in parts):
        return yaml.load(text, Loader=_LOADER)
    return {key: value for part in parts for key, value in part.items()}


@cache
def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_LOADER)


def checksums_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Checksums of a finished run's files, for its summary; they reveal files that are truncated or edited later.

    Args:
        folder: Folder of the run.
        names: Names of files in the folder; missing files are left out.

    Returns:
        64 hexadecimal digits by name.
    """
    return {name: _checksum(folder / name) for name in names if (folder / name).exists()}


def check_unchanged(path: Path, summary: Mapping[str, Any]) -> None:
    """Compare a file with its checksum in the run's summary.

    Args:
        path: File to check.
        summary: Summary of a finished run; early versions have no checksums, and nothing is compared.

    Raises:
        FileFaultError: The file has changed since the run finished.
        FileNotFoundError: The file no longer exists.
    """
    recorded = _mapping(summary.get("checksums", {}), "checksums").get(path.name)
    if recorded is not None and _checksum(path) != recorded:
        raise FileFaultError("was changed after the run had finished, or is damaged (its checksum differs)")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checked_config(config: object) -> dict[str, Any]:
    """Check that a resolved configuration has everything that tables and pages need.

    Args:
        config: Value as read.

    Returns:
        The configuration, with the names that options have now.

    Raises:
        FileFaultError: A section, the seed or a name is missing or has the wrong type, or the task is unknown.
    """
    _check_plain(config, _DEEPEST)
    found = read_through(_mapping(config, ""))
    for name in _SECTIONS:
        if name not in found:
            raise FileFaultError(f"has no section {name}: it is truncated, or not the configuration of a run")
        _mapping(found[name], name)
    _check("seed", found.get("seed"), int)
    task = _check("task.name", found["task"].get("name"), str)
    try:
        task_metrics_of(task)
    except ValueError as error:
        raise FileFaultError(f"has {error}") from error
    _check("regularizer.name", found["regularizer"].get("name"), str)
    _check("regularizer.set", found["regularizer"].get("set"), str, type(None))
    _check("regularizer.strength", found["regularizer"].get("strength"), int, float, str, type(None))
    _check("evaluation.pass_k", _mapping(found.get("evaluation", {}), "evaluation").get("pass_k"), int, type(None))
    return found


def checked_summary(summary: object) -> dict[str, Any]:
    """Check that a summary has a status and, for a finished run, figures by name.

    Args:
        summary: Value as read.

    Returns:
        The summary, unchanged.

    Raises:
        FileFaultError: An entry is missing or has the wrong type.
    """
    found = _mapping(summary, "")
    if _check("status", found.get("status"), str) != "finished":
        return found
    _check("label", found.get("label"), str)
    for section in ("start", "final", "best"):
        if section not in found:
            raise FileFaultError(f"has no {section}")
        for name, value in _mapping(found[section], section).items():
            _check(f"{section} {name}", value, int, float)
    for name in ("steps", "selected_step"):
        if name in found:
            _check(name, found[name], int)
    return found


def checked_mapping(value: object) -> dict[str, Any]:
    """Require a mapping with text keys.

    Args:
        value: Value as read.

    Returns:
        The mapping, unchanged.

    Raises:
        FileFaultError: The value is not a mapping.
    """
    return _mapping(value, "")


def checked_metrics(lines: Sequence[object]) -> list[dict[str, Any]]:
    """Check that every record of metrics has a step, a name and a number.

    Args:
        lines: Values as read.

    Returns:
        The records, unchanged.

    Raises:
        FileFaultError: A record is malformed.
    """
    kinds = {"step": (int,), "name": (str,), "value": (int, float)}
    return [_record(line, f"line {number}", kinds) for number, line in enumerate(lines, start=1)]


def checked_samples(samples: object) -> list[dict[str, Any]]:
    """Check answers: texts, whether each is correct, and numbers of rewards and judges, the same for all.

    Args:
        samples: Value as read.

    Returns:
        The samples, unchanged.

    Raises:
        FileFaultError: The value is not a list, or an entry is malformed.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "prompt": (str,),
        "expected": (str, type(None)),
        "answer": (str,),
        "is_correct": (bool, type(None)),
    }
    found = _list(samples)
    others = [key for key in found[0] if key not in kinds] if found and isinstance(found[0], dict) else []
    kinds |= dict.fromkeys(others, (int, float, type(None)))  # null: the judge gave no score
    return [_record(sample, f"entry {number}", kinds) for number, sample in enumerate(found, start=1)]


def checked_outcomes(outcomes: object) -> list[dict[str, Any]]:
    """Check verifier outcomes: step, term, outcome, count and share.

    Args:
        outcomes: Value as read.

    Returns:
        The outcomes, unchanged.

    Raises:
        FileFaultError: The value is not a list, or an entry is malformed.
    """
    kinds = {"step": (int,), "term": (str,), "outcome": (str,), "count": (int,), "share": (int, float)}
    return [_record(entry, f"entry {number}", kinds) for number, entry in enumerate(_list(outcomes), start=1)]


def quoted(value: object) -> str:
    """A value as messages quote it, on one line and shortened."""
    return _shortened(repr(value))


def _record(value: object, place: str, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    found = _mapping(value, place)
    for key, allowed in kinds.items():
        # A fast path, since there are many records.
        kind = type(found.get(key))
        if kind not in allowed or kind is int:
            _check(f"{place}: {key}", found.get(key), *allowed)
    return found


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise FileFaultError(f"has {quoted(value)} instead of a list")
    return value


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FileFaultError(f"has {name}={quoted(value)} instead of a mapping" if name else f"has {quoted(value)}")
    return value


def _check(name: str, value: Any, *kinds: type) -> Any:
    """The value, if it has one of the types; a boolean does not count as a number."""
    if isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds):
        return _not_too_large(value, name)
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    wanted = " or ".join(words[kind] for kind in kinds if not (kind is int and float in kinds))
    raise FileFaultError(f"has no {name}" if value is None else f"has {name}={quoted(value)} instead of {wanted}")


def _not_too_large(value: Any, name: str) -> Any:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise FileFaultError(f"has {name} with a whole number of {len(str(abs(value)))} digits, which is too large")
    return value


def _check_plain(value: object, most: int) -> None:
    """Require nested texts, numbers, lists and mappings with text keys, up to a depth: YAML values may contain themselves."""
    if isinstance(value, dict | list) and most == 0:
        raise FileFaultError("is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise FileFaultError(f"has the key {quoted(key)}, which is not text")
            _check_plain(inner, most - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, most - 1)
    elif isinstance(value, int):
        _not_too_large(value, "a value")
    elif not isinstance(value, str | float | None):
        raise FileFaultError(f"has {quoted(value)}, which is neither text nor a number")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
