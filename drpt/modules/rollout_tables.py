"""Responses of every rollout phase, and the outcomes of its rewards, in a file of the run's folder."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from drpt.files import read_json_lines
from drpt.journal import Journal, State

ROLLOUTS_FILE = "rollouts.jsonl"
SAMPLES_A_PHASE = 8


class RolloutTables(Callback):
    """Appends one line for each phase: its step, the outcomes of each term of the reward, and a few responses.

    It must come before the module's `StepEnd`, so that a step's line is there when a checkpoint of the step is written.

    Args:
        folder: Folder of the run.
        resume_step: Step that the run goes on from; lines of later steps, which an interruption undid, are removed.
        state: State of the file in the checkpoint that the run goes on from; None if the checkpoint does not have it.
    """

    def __init__(self, folder: Path, *, resume_step: int, state: State | None = None) -> None:
        path = folder / ROLLOUTS_FILE
        if state is None:
            lines = read_rollouts(path) if resume_step else []
            self.journal = Journal.of(path, [line for line in lines if line["step"] <= resume_step])
        else:
            self.journal = Journal(path, state)
        kept = read_rollouts(path)
        self._last = kept[-1]["phase"] if kept else -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Write a line for a new phase."""
        phase = pl_module.latest
        if phase is None or phase.index <= self._last:
            return
        line = {
            "step": trainer.global_step,
            "phase": phase.index,
            "outcomes": phase.outcomes,
            "samples": phase.samples[:SAMPLES_A_PHASE],
        }
        self.journal.append([line])
        self._last = phase.index


def read_rollouts(path: Path) -> list[dict[str, Any]]:
    """Read a file of phases; a last line that an interruption cut is left out.

    Args:
        path: File to read; need not exist.

    Returns:
        ``{"step", "phase", "outcomes", "samples"}`` in the order of writing.

    Raises:
        ValueError: A line other than the last is malformed.
    """
    return read_json_lines(path, "rollouts")


def rollout_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The file as flat tables.

    Args:
        folder: Folder of the run.

    Returns:
        ``outcomes`` (step, term, outcome, count, share) and ``generations`` (step, prompt, answer, …); empty without rollouts.
    """
    lines = read_rollouts(folder / ROLLOUTS_FILE)
    if not lines:
        return {}
    return {
        "outcomes": [{"step": line["step"], **row} for line in lines for row in line["outcomes"]],
        "generations": [{"step": line["step"], **row} for line in lines for row in line["samples"]],
    }
