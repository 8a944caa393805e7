"""Finds the replicates of a sweep, finished runs that differ in their seed alone, and checks them for `drpt outcome`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drpt.analysis.run import CHECKPOINTS, DATA_FILE, SUMMARY_FILE, ResultsError, Run
from drpt.analysis.table import ZERO_SHOT, Row
from drpt.app.run_config import read_spec
from drpt.app.run_data import DataChangedError, check_data_are_the_same, describe_data, read_record
from drpt.data.build_source import build_source
from drpt.data.example import Example
from drpt.modules.checkpoint_files import BEST, LAST, read_whole
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.sft.metrics import SFT


class ReplicatesError(ResultsError):
    """There are too few replicates, or they differ in more than the seed; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """One finished run."""

    run: Run
    spec: RunSpec
    checkpoint: Path  # checkpoint of the model that the run's figures describe
    step: int  # optimizer step of the checkpoint

    @property
    def recorded_loss(self) -> float:
        """The held-out loss that the run ended with."""
        return float(self.run.summary["final"]["target/loss/mean"])


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """All finished runs of one regularizer with its dials, and their common held-out examples."""

    label: str
    name: str  # name of the regularizer
    members: tuple[Replicate, ...]  # at least two replicates, ordered by seed
    held_out: list[Example]

    @property
    def seeds(self) -> tuple[int, ...]:
        """One a replicate."""
        return tuple(member.spec.seed for member in self.members)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A regularizer with fewer than two measurable runs."""

    label: str
    seed: int | None  # seed of its only measurable run; None if there is none


@dataclass(frozen=True, kw_only=True)
class FoundReplicates:
    """The replicates of a sweep, and what was left out."""

    groups: tuple[Replicates, ...]  # at least one group
    left_out: tuple[LeftOut, ...]
    faults: tuple[str, ...]  # a message with the remedy for each finished run that cannot be measured


def find_replicates(rows: Sequence[Row], folder: Path) -> FoundReplicates:
    """Find groups of replicates, checking everything that does not need a model: checkpoints and data.

    A run with damaged files or changed data is left out and named.

    Args:
        rows: Rows from `drpt.analysis.table.tabulate`; the untrained model and tasks other than supervised fine-tuning are
            ignored.
        folder: Folder of the sweep, for messages.

    Returns:
        Groups with at least two measurable runs, and what was left out.

    Raises:
        ReplicatesError: No run is of supervised fine-tuning, no row has two measurable runs, or replicates have different
            held-out examples.
    """
    trained = [row for row in rows if row.name != ZERO_SHOT and row.task == SFT.task]
    if not trained:
        tasks = ", ".join(sorted({row.task for row in rows}))
        raise ReplicatesError(
            f"{folder}: its finished runs have task={tasks}. drpt outcome decomposes the held-out cross-entropy that "
            f"task={SFT.task} minimises; `drpt report {folder}` shows what these runs measured."
        )
    groups, left_out, faults = [], [], list[str]()
    for row in trained:
        if row.num_seeds < 2:
            left_out.append(LeftOut(label=row.label, seed=int(row.runs[0].config["seed"])))
        elif len(members := _members(row, faults)) < 2:
            left_out.append(LeftOut(label=row.label, seed=members[0][0].spec.seed if members else None))
        else:
            groups.append(_replicates(row, members))
    if not groups:
        seeds = ", ".join(sorted({str(run.config["seed"]) for row in trained for run in row.runs}))
        fewer = f"has only one finished run (seed {seeds})" if not faults else "has fewer than two measurable runs"
        raise ReplicatesError(
            "\n".join(
                [
                    f"{folder}: every regularizer {fewer}. Bias and variance are over replicates, at "
                    "least 2 and better 5: repeat the sweep's command with more seeds and the same sweep=…, such as "
                    "'seed=range(5)'; finished runs are skipped.",
                    *faults,
                ]
            )
        )
    return FoundReplicates(groups=tuple(groups), left_out=tuple(left_out), faults=tuple(faults))


def _members(row: Row, faults: list[str]) -> list[tuple[Replicate, list[Example]]]:
    """The measurable runs of a row, by seed, each with its held-out examples; the others are added to ``faults``."""
    members = []
    for run in sorted(row.runs, key=lambda run: int(run.config["seed"])):
        try:
            member = _replicate(run)
            members.append((member, _held_out(member)))
        except ResultsError as error:
            faults.append(str(error))
    return members


def _replicates(row: Row, members: Sequence[tuple[Replicate, list[Example]]]) -> Replicates:
    first, held_out = members[0]
    for member, own in members:
        if own != held_out:
            raise ReplicatesError(
                f"{member.run.folder}: its held-out examples differ from those of {first.run.folder.name}, so the two "
                "cannot be compared token by token. data.split_seed and data.num_eval must be the same, and a source of your "
                "own must draw evaluation examples by split_seed alone."
            )
    return Replicates(label=row.label, name=row.name, members=tuple(member for member, _ in members), held_out=held_out)


def _replicate(run: Run) -> Replicate:
    if missing := {"selected_step", "steps"} - run.summary.keys():
        raise ReplicatesError(
            f"{run.folder / SUMMARY_FILE} has no {sorted(missing)[0]}, so the checkpoint of its figures is unknown. Remove "
            f"{run.folder} and train it again with `drpt resume {run.folder.parent}`."
        )
    step = int(run.summary["selected_step"])
    # The figures of a run that was stopped early are those of the step of the stop.
    checkpoint = run.folder / CHECKPOINTS / (LAST if step == run.summary["steps"] else BEST)
    if not checkpoint.exists():
        raise ReplicatesError(
            f"{checkpoint} is missing, and nothing can be measured without the trained parameters. Restore it, or remove "
            f"{run.folder} and train it again with `drpt resume {run.folder.parent}`."
        )
    found = read_whole(checkpoint)
    wrong = found if isinstance(found, str) else None if found["global_step"] == step else f"is of step {found['global_step']}"
    if wrong is not None:
        raise ReplicatesError(
            f"{checkpoint} {wrong}, but the run's figures are of step {step}. Restore it, or remove {run.folder} and train "
            f"it again with `drpt resume {run.folder.parent}`."
        )
    return Replicate(run=run, spec=read_spec(run.folder), checkpoint=checkpoint, step=step)


def _held_out(member: Replicate) -> list[Example]:
    """Draw the held-out examples as in training, and check by fingerprint that the data have not changed."""
    folder = member.run.folder
    found = describe_data(member.spec, build_source(member.spec.data.node))
    if "fingerprint" not in read_record(folder):
        raise ReplicatesError(f"{folder / DATA_FILE} is missing or unreadable, so the run's data cannot be checked.")
    try:
        check_data_are_the_same(folder, found.fingerprints)
    except DataChangedError as error:
        raise ReplicatesError(str(error)) from error
    return found.pools.evaluation
