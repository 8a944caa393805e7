"""Measures the peak memory of a variant's step in a process of its own.

In the child, glibc takes every tensor of 64 KiB or more from the kernel and returns it as soon as it is freed
(``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``), so that resident memory equals memory in use. Training keeps freed
memory instead (`drpt.memory.keep_freed_memory`), so its process stays at the peak plus fragmentation. The kernel's record of
peak resident memory is reset before the second step, when AdamW's moments already exist.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from experiments.overhead.settings import Setting
from experiments.overhead.variants import Variant

_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def measure_memory(model: str, setting: Setting, variant: Variant, *, num_threads: int) -> dict[str, Any]:
    """Run two steps in a fresh process.

    Args:
        model: Name of the model.
        setting: Rows, tokens, fine-tuning and precision.
        variant: Variant of the step.
        num_threads: Number of torch's threads.

    Returns:
        Bytes ``held`` before the first step, ``held_between`` steps, and at the ``peak`` of the second step; or an ``error``.
    """
    request = json.dumps({"model": model, "setting": asdict(setting), "variant": asdict(variant)})
    found = subprocess.run(
        [sys.executable, "-m", "experiments.overhead.memory", request],
        capture_output=True,
        text=True,
        env=os.environ | _ENVIRONMENT | {"OMP_NUM_THREADS": str(num_threads)},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    if found.returncode != 0:
        return {"error": found.stderr.strip().splitlines()[-1] if found.stderr.strip() else f"exit {found.returncode}"}
    return cast("dict[str, Any]", json.loads(found.stdout.splitlines()[-1]))


def main(request: str) -> None:
    """The child: two steps, and a line of JSON."""
    from experiments.overhead.steps import Subject, make_step

    asked = json.loads(request)
    setting, variant = Setting(**asked["setting"]), Variant(**asked["variant"])
    subject = Subject(asked["model"], setting.finetune)
    step = make_step(subject, setting, variant)
    held = _status("VmRSS")
    step()
    subject.forget_gradients()
    held_between = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step()
    print(json.dumps({"held": held, "held_between": held_between, "peak": _status("VmHWM"), "error": None}))


def _status(field: str) -> int:
    """Bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {field}: peak memory is measured on Linux alone.")


if __name__ == "__main__":
    main(sys.argv[1])
