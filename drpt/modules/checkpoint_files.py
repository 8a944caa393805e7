"""The files of checkpoints: written so that a whole one is always there, and verified before a run resumes from one.

``last.ckpt`` is the newest, ``previous.ckpt`` the one before it, ``best.ckpt`` the one whose model counts where target examples
are held out to stop early. Each is torch's zip archive, whose records have checksums.
"""

import os
import pickle
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from drpt.files import PART, replacing, sync_folder
from drpt.journal import State, fault
from drpt.modules.update_watch import num_non_finite
from drpt.storage import storing

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
BEST = "best.ckpt"
CHECKPOINT_RUN = "run"  # what a checkpoint knows of its run besides the trainer's state
_NEEDED = ("state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers")
_UNREADABLE = (OSError, EOFError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, pickle.UnpicklingError)


class CheckpointError(ValueError):
    """A checkpoint cannot be read or resumed from, or its parameters are not the ones that are trained here."""


def step_file(step: int) -> str:
    """Name of the checkpoint that keeps the trained parameters after a step."""
    return f"step-{step}.ckpt"


class DurableCheckpointIO(TorchCheckpointIO):
    """Brings what it writes to the disk, and reads what a finished run has left, too."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a file, in place of an older one; whole and on the disk when this returns.

        Args:
            checkpoint: State of the trainer.
            path: File to write, in a folder that exists.
            storage_options: None; nothing else is supported.

        Raises:
            StorageError: It cannot be written; an older one is as it was.
        """
        assert storage_options is None
        save_durably(checkpoint, Path(path), keeps_previous=Path(path).name == LAST)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read a file; one without an optimizer's state is that of a finished run, which takes no step any more.

        Args:
            path: File of the checkpoint; see `ResumePoint.path`.
            map_location: Device of the tensors; see `torch.load`.
            weights_only: Whether only plain values are unpickled; see `torch.load`.

        Returns:
            Trainer's state.
        """
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return {"optimizer_states": [], "lr_schedulers": []} | checkpoint


def save_durably(content: Mapping[str, Any], path: Path, *, keeps_previous: bool = False) -> None:
    """`torch.save` to a file beside, brought to the disk, and renamed.

    Args:
        content: Object to save.
        path: File to write; its folder is made if needed.
        keeps_previous: Whether the file that is replaced is kept as ``previous.ckpt``.

    Raises:
        StorageError: It cannot be written; an older one is as it was.
    """

    def keep() -> None:
        if keeps_previous and path.exists():
            _keep(path, path.with_name(PREVIOUS))

    with replacing(path, before=keep) as file:
        torch.save(content, file)


def _keep(path: Path, other: Path) -> None:
    """Give a file a second name; another file that had it goes."""
    link = other.with_name(f".{other.name}{PART}")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links: for a moment the whole one has the other name alone
        os.replace(path, other)
    else:
        os.replace(link, other)
        link.unlink(missing_ok=True)  # where both are names of one file already, renaming does nothing


def drop_optimizer_state(folder: Path) -> None:
    """Make the checkpoints of a finished run a third as large: what is left are the trained parameters and the counters.

    Args:
        folder: Folder with ``last.ckpt`` and perhaps ``best.ckpt`` and ``previous.ckpt``; the latter is removed.

    Raises:
        StorageError: The disk is full; the checkpoints are as they were.
    """
    for path in (folder / LAST, folder / BEST):
        if path.exists():
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            dropped = {"optimizer_states", "lr_schedulers", "rollouts"}
            save_durably({key: value for key, value in checkpoint.items() if key not in dropped}, path)
    with storing(folder / PREVIOUS):
        (folder / PREVIOUS).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where a run goes on."""

    path: Path | None = None  # None: at the beginning
    step: int = 0  # optimizer steps taken
    journals: Mapping[str, State] = field(default_factory=dict)  # what the run's files held, by name; empty in old checkpoints
    data: Mapping[str, str | None] | None = None  # fingerprints of what the run is made from; None in old checkpoints
    passed_over: tuple[str, ...] = ()  # what is wrong with newer checkpoints, for the log


def find_resume_point(run_folder: Path, folder: Path, *, num_steps: int) -> ResumePoint:
    """The newest checkpoint that is whole, and to which the run's other files belong.

    Args:
        run_folder: Folder of the run, with its journals.
        folder: Folder of its checkpoints; need not exist.
        num_steps: Optimizer steps of the whole run.

    Returns:
        Where to go on; at the beginning where no checkpoint was written.

    Raises:
        CheckpointError: There are checkpoints, and none to go on from.
    """
    paths = [folder / name for name in (LAST, PREVIOUS, BEST) if os.path.lexists(folder / name)]
    faults: list[str] = []
    points: list[ResumePoint] = []
    for path in paths:
        if points and points[0].path == folder / LAST:
            break  # the others have taken fewer steps
        found = read_whole(path)
        if isinstance(found, str):
            faults.append(f"{path} {found}")
            continue
        step = found["global_step"]
        run = found.get(CHECKPOINT_RUN, {})
        if reason := _unfit(found, path, step, num_steps) or _lacking(found, run_folder, folder, step):
            if path.name != BEST:
                faults.append(f"{path} (step {step}) {reason}")
            continue
        points.append(ResumePoint(path=path, step=step, journals=run.get("journals", {}), data=run.get("data")))
    if points:
        best = max(points, key=lambda point: point.step)
        return replace(best, passed_over=tuple(faults))
    if faults:
        raise CheckpointError(
            "this run cannot go on:\n- " + "\n- ".join(faults) + f"\nPut the file back if there is a copy of it, or delete "
            f"{folder} to train this run from the beginning."
        )
    return ResumePoint()


def set_damaged_aside(folder: Path, point: ResumePoint) -> Path | None:
    """Rename a damaged last checkpoint, and put the one before it in its place.

    Args:
        folder: Folder of the checkpoints.
        point: Checkpoint to go on from, as `find_resume_point` gives it.

    Returns:
        The checkpoint to go on from, where it is now.

    Raises:
        StorageError: They cannot be renamed.
    """
    last = folder / LAST
    if point.path is None or point.path == last:
        return point.path
    with storing(last):
        if os.path.lexists(last):
            os.replace(last, folder / f"damaged-{LAST}")
        if point.path.name != PREVIOUS:
            return point.path
        os.replace(point.path, last)
        sync_folder(folder)
    return last


def peek_step(folder: Path) -> int:
    """Steps that the newest readable checkpoint counts; 0 without any. Checksums are not looked at.

    Args:
        folder: Folder of the checkpoints; need not exist.

    Returns:
        Optimizer steps.
    """
    for name in (LAST, PREVIOUS):
        with suppress(*_UNREADABLE):
            return int(torch.load(folder / name, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    return 0


def load_trained(model: nn.Module, path: Path) -> int:
    """Put a checkpoint's trained parameters into a model.

    Args:
        model: Model as it was when training began, with the same parameters trainable; all of these are replaced.
        path: ``last.ckpt`` or ``best.ckpt``.

    Returns:
        Optimizer steps that had been taken.

    Raises:
        CheckpointError: The file is missing or broken, its parameters are not exactly the trainable ones, or some are NaN or
            infinite.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}
        step = int(checkpoint["global_step"])
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be read ({reason}).") from error
    trained = {name: parameter.shape for name, parameter in model.named_parameters() if parameter.requires_grad}
    wrong = [
        name for name in {*trained, *state} if name not in trained or name not in state or state[name].shape != trained[name]
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} of its parameters are not those that the configuration trains, {min(wrong)} first. It "
            "belongs to another model, or to another finetune.* setting."
        )
    bad = [name for name, value in state.items() if num_non_finite(value)]
    if bad:
        raise CheckpointError(
            f"{path}: {len(bad)} of its parameters have NaN or infinite entries, {min(bad)} first. The run that wrote it "
            "diverged; train again with a lower optimizer.lr."
        )
    model.load_state_dict(state, strict=False)
    return step


def read_whole(path: Path) -> dict[str, Any] | str:
    """Read a checkpoint and verify its checksums.

    Args:
        path: File of the checkpoint.

    Returns:
        The content, tensors left on the disk; or what is wrong with the file, words to follow its path.
    """
    try:
        if not path.exists():
            return "is missing"
        if path.stat().st_size == 0:
            return "is empty"
        with zipfile.ZipFile(path) as archive:
            if (record := archive.testzip()) is not None:
                return f"is damaged (the checksum of {record} is wrong)"
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except zipfile.BadZipFile:
        return "is no checkpoint, or was cut off"
    except Exception as error:  # whatever a garbled archive provokes
        return f"cannot be read ({(str(error) or type(error).__name__).splitlines()[0][:120]})"
    if not isinstance(found, dict) or not isinstance(found.get("global_step"), int) or "state_dict" not in found:
        return "is no checkpoint of drpt"
    return found


def _unfit(found: Mapping[str, Any], path: Path, step: int, num_steps: int) -> str | None:
    """Why a whole checkpoint is not this run's."""
    if step < 1 or step > num_steps:
        return f"is another run's: this one takes {num_steps} steps"
    missing = [key for key in _NEEDED if key not in found]
    is_finished = set(missing) <= {"optimizer_states", "lr_schedulers"} and step == num_steps and path.name != BEST
    if missing and not is_finished:
        return f"holds no {missing[0]}: it is a finished run's, or another program's"
    return None


def _lacking(found: Mapping[str, Any], run_folder: Path, folder: Path, step: int) -> str | None:
    """Which file that a checkpoint counts on is not there as it was; None where all are, or the checkpoint does not know."""
    for name, state in found.get(CHECKPOINT_RUN, {}).get("journals", {}).items():
        if (wrong := fault(run_folder / name, state)) is not None:
            return f"does not fit the run's files: {run_folder}/{wrong}"
    state = found.get("callbacks", {}).get("Checkpoints", {})
    best_step = state.get("best_step")
    if best_step is not None:
        best = read_whole(folder / BEST)
        if isinstance(best, str):
            return f"counts on {folder / BEST}, which {best}"
        if best["global_step"] < best_step:
            return f"counts on {folder / BEST}, which is of step {best['global_step']} and not {best_step}"
    for kept in state.get("kept_steps", ()):
        # That of the step itself is written anew.
        if kept < step and isinstance(found_file := read_whole(folder / step_file(kept)), str):
            return f"counts on {folder / step_file(kept)}, which {found_file}"
    return None
