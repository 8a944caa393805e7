"""Reading the files of a run's folder, which may be damaged: each is checked once, for what is used of it."""

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

# Resolved configurations are long and nearly alike: libyaml where it is there.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTION = re.compile(r"^(?=[A-Za-z_][\w.]*:(?: |$))", re.MULTILINE)
_SECTIONS = ("task", "model", "finetune", "data", "regularizer", "optimizer", "trainer")  # of every run of every version
_DEEPEST = 20
_LONGEST = 80  # characters of a value that is quoted
_LARGEST = 10**18  # whole number that a run writes; sums and floats take it


class FileFaultError(ValueError):
    """A file does not hold what it should; the message goes on where the file's name ends."""


@contextmanager
def reading(path: Path, kind: type[Exception]) -> Iterator[None]:
    """Turn whatever is wrong with a file into one error that names it.

    Args:
        path: The file that is read in the body.
        kind: The error's class.

    Yields:
        Nothing.

    Raises:
        Exception: Of that class: the file is missing, unreadable, no file, no text, or does not hold what it should.
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
        raise kind(f"{path} is no text") from error
    except RecursionError as error:
        raise kind(f"{path} is nested too deeply") from error
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace(str(path), "").strip(": ").split())
        raise kind(f"{path} is malformed: {_shortened(reason)}") from error


def read_json(path: Path, *, missing: Any = None) -> Any:  # Any: JSON values
    """The value that a file holds.

    Args:
        path: The file.
        missing: What stands for a file that is not there; null = an error.

    Returns:
        Unchecked.

    Raises:
        FileNotFoundError: It is not there, and nothing stands for it.
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
    """The value that a YAML file holds; equal parts of many files are parsed once, and shared.

    Args:
        path: The file.

    Returns:
        Unchecked, and not to be changed.

    Raises:
        FileFaultError: The file is empty, or was cut off within a line.
    """
    text = path.read_text()
    if not text.strip():
        raise FileFaultError("is empty")
    if not text.endswith("\n") and not text.startswith("{"):  # all writers of block style end their last line
        raise FileFaultError("is cut off")
    # A mapping in block style is the sum of its sections: the lines from one key at the margin to the next. Anything else,
    # such as an anchor that another section refers to, does not parse in parts, and is parsed as a whole.
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
    """Checksums of a finished run's files, for its summary: a file that is cut off or edited later is noticed by them.

    Args:
        folder: The run's.
        names: Names of files in it; those that are not there are left out.

    Returns:
        64 hexadecimal digits by name.
    """
    return {name: _checksum(folder / name) for name in names if (folder / name).exists()}


def check_unchanged(path: Path, summary: Mapping[str, Any]) -> None:
    """Compare a file with the checksum that the run's summary has of it.

    Args:
        path: The file.
        summary: The summary of a finished run; those of earlier versions have no checksums, and nothing is compared.

    Raises:
        FileFaultError: The file is not what it was when the run finished.
        FileNotFoundError: It is no longer there.
    """
    recorded = _mapping(summary.get("checksums", {}), "checksums").get(path.name)
    if recorded is not None and _checksum(path) != recorded:
        raise FileFaultError("was changed after the run had finished, or is damaged (its checksum differs)")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checked_config(config: object) -> dict[str, Any]:
    """A resolved configuration that has what tables and pages are made of.

    Args:
        config: As read.

    Returns:
        The configuration, with the names that options have now.

    Raises:
        FileFaultError: A section, the seed or a name is missing or of another kind, or nothing is known of the task.
    """
    _check_plain(config, _DEEPEST)
    found = read_through(_mapping(config, ""))
    for name in _SECTIONS:
        if name not in found:
            raise FileFaultError(f"has no section {name}: it is cut off, or no run's configuration")
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
    """A summary that has a status, and figures by name if the run is finished.

    Args:
        summary: As read.

    Returns:
        The summary, unchanged.

    Raises:
        FileFaultError: Something is missing or of another kind.
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
    """Keys with values of any kind.

    Args:
        value: As read.

    Returns:
        The mapping, unchanged.

    Raises:
        FileFaultError: It is something else.
    """
    return _mapping(value, "")


def checked_metrics(lines: Sequence[object]) -> list[dict[str, Any]]:
    """Lines of metrics: a step, a name and a number each.

    Args:
        lines: As read.

    Returns:
        The lines of metrics, unchanged.

    Raises:
        FileFaultError: A line is something else.
    """
    kinds = {"step": (int,), "name": (str,), "value": (int, float)}
    return [_record(line, f"line {number}", kinds) for number, line in enumerate(lines, start=1)]


def checked_samples(samples: object) -> list[dict[str, Any]]:
    """Answers: texts, whether each is correct, and numbers of rewards and judges, the same for all.

    Args:
        samples: As read.

    Returns:
        The samples, unchanged.

    Raises:
        FileFaultError: It is no list, or an entry is something else.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "prompt": (str,),
        "expected": (str, type(None)),
        "answer": (str,),
        "is_correct": (bool, type(None)),
    }
    found = _list(samples)
    others = [key for key in found[0] if key not in kinds] if found and isinstance(found[0], dict) else []
    kinds |= dict.fromkeys(others, (int, float, type(None)))  # null: no opinion
    return [_record(sample, f"entry {number}", kinds) for number, sample in enumerate(found, start=1)]


def checked_outcomes(outcomes: object) -> list[dict[str, Any]]:
    """Outcomes of verifiers: a step, the term and its outcome, how many and which share.

    Args:
        outcomes: As read.

    Returns:
        The outcomes, unchanged.

    Raises:
        FileFaultError: It is no list, or an entry is something else.
    """
    kinds = {"step": (int,), "term": (str,), "outcome": (str,), "count": (int,), "share": (int, float)}
    return [_record(entry, f"entry {number}", kinds) for number, entry in enumerate(_list(outcomes), start=1)]


def quoted(value: object) -> str:
    """A value as a message quotes it, on one line and not too long."""
    return _shortened(repr(value))


def _record(value: object, place: str, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    found = _mapping(value, place)
    for key, allowed in kinds.items():
        # The fast way first: there are many.
        kind = type(found.get(key))
        if kind not in allowed or kind is int:
            _check(f"{place}: {key}", found.get(key), *allowed)
    return found


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise FileFaultError(f"holds {quoted(value)} instead of a list")
    return value


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FileFaultError(f"has {name}={quoted(value)} instead of keys with values" if name else f"holds {quoted(value)}")
    return value


def _check(name: str, value: Any, *kinds: type) -> Any:
    """The value, if it is of one of the kinds; a boolean is no number."""
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
    """Texts, numbers, lists and mappings by texts; values that refer to themselves have no end."""
    if isinstance(value, dict | list) and most == 0:
        raise FileFaultError("is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise FileFaultError(f"has the key {quoted(key)}, which is no text")
            _check_plain(inner, most - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, most - 1)
    elif isinstance(value, int):
        _not_too_large(value, "a value")
    elif not isinstance(value, str | float | None):
        raise FileFaultError(f"holds {quoted(value)}, which is neither a text nor a number")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
