"""Checks, before a model is loaded, that this machine has the GPU that a run requires."""

import sys
from pathlib import Path

from drpt.tasks.errors import ConfigError
from drpt.tasks.run_spec import RunSpec

_DEVICES = ("nvidia0", "nvidiactl", "kfd", "dxg")  # device files under /dev of NVIDIA, AMD and WSL drivers


def check_accelerator(spec: RunSpec) -> None:
    """Require a GPU if the configuration does.

    Args:
        spec: Checked configuration.

    Raises:
        ConfigError: ``trainer.accelerator=gpu`` on a machine without a GPU.
    """
    if spec.trainer.accelerator == "gpu" and not has_gpu():
        raise ConfigError(
            "trainer.accelerator=gpu: this machine has no GPU that torch can use. Take cpu, or auto, which takes a GPU where "
            "there is one."
        )


def has_gpu() -> bool:
    """Whether torch finds a GPU; torch is imported only if the machine may have one."""
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in _DEVICES):
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
