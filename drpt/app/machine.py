"""Whether this machine has what a run asks for, before a model is loaded."""

import sys
from pathlib import Path

from drpt.tasks.errors import ConfigError
from drpt.tasks.run_spec import RunSpec

_DEVICES = ("nvidia0", "nvidiactl", "kfd", "dxg")  # under /dev: of NVIDIA's and AMD's drivers, and of Windows' for Linux


def check_accelerator(spec: RunSpec) -> None:
    """Require a GPU where one is asked for.

    Args:
        spec: A checked configuration.

    Raises:
        ConfigError: ``trainer.accelerator=gpu``, and there is none.
    """
    if spec.trainer.accelerator == "gpu" and not has_gpu():
        raise ConfigError(
            "trainer.accelerator=gpu: this machine has no GPU that torch can use. Take cpu, or auto, which takes a GPU where "
            "there is one."
        )


def has_gpu() -> bool:
    """Whether torch finds a GPU; torch is imported only where the machine may have one."""
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in _DEVICES):
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
