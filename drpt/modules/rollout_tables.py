"""What was said in every rollout phase, and what the verifiers made of it, in a file of the run's folder."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from drpt.files import read_json_lines, write_atomically

ROLLOUTS_FILE = "rollouts.jsonl"
SAMPLES_A_PHASE = 8


class RolloutTables(Callback):
    """Appends a line a phase: its step, the outcomes of each term of the reward, and a few responses.

    Args:
        folder: The run's.
        resume_step: Lines of later steps are from work that was lost with an interruption; they are removed.
    """

    def __init__(self, folder: Path, *, resume_step: int) -> None:
        self._path = folder / ROLLOUTS_FILE
        lines = read_rollouts(self._path) if resume_step else []
        kept = [line for line in lines if line["step"] <= resume_step]
        write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._last = kept[-1]["phase"] if kept else -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Write what a new phase brought."""
        phase = pl_module.latest
        if phase is None or phase.number <= self._last:
            return
        self._last = phase.number
        line = {
            "step": trainer.global_step,
            "phase": phase.number,
            "outcomes": phase.outcomes,
            "samples": phase.samples[:SAMPLES_A_PHASE],
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_rollouts(path: Path) -> list[dict[str, Any]]:
    """All lines of a file of phases; a last line that an interruption cut is left out.

    Args:
        path: Need not exist.

    Returns:
        ``{"step", "phase", "outcomes", "samples"}`` in the order of writing.

    Raises:
        ValueError: A line other than the last is malformed.
    """
    return read_json_lines(path, "rollouts")


def rollout_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The file as flat tables.

    Args:
        folder: The run's.

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
