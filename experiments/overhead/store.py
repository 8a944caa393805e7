"""Stores results as one JSON file for each setting, written atomically."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import torch

from drpt.app.environment import describe_environment
from drpt.files import write_atomically

RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]


def environment(module: str) -> Record:
    """Describe the machine, versions, commit, threads, load and command.

    Args:
        module: Name of the module that was run, such as experiments.overhead.measure.

    Returns:
        Plain values.
    """
    described = describe_environment(["python", "-m", module, *sys.argv[1:]])
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    threads = torch.get_num_threads()
    return described | {"commit": commit_of(), "cpu": _cpu_name(), "threads": threads, "load_before": load}


def save(folder: Path, name: str, record: Record) -> None:
    """Beside the others."""
    write_atomically(folder / f"{name}.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def load_all(folder: Path) -> dict[str, Record]:
    """All results, by name."""
    return {path.stem: cast("Record", json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))}


def commit_of(checkout: Path | None = None) -> str | None:
    """The commit of a checkout, with ``+changes`` if files other than results differ from it.

    Args:
        checkout: Folder of the checkout; default: this one.

    Returns:
        The commit, or None if git finds none.
    """
    folder = Path(__file__).parent if checkout is None else checkout / "experiments" / "overhead"

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git(
            "status",
            "--porcelain",
            "--",
            ":/",
            f":(exclude){folder / 'results'}",
            f":(exclude){folder / 'README.md'}",
            f":(exclude){folder}/*.png",
            f":(exclude){folder / 'against.json'}",
        )
        return git("rev-parse", "--short=10", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_name() -> str | None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
