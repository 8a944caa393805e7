"""`drpt outcome`: splits the held-out loss of each regularizer of a sweep into bias and variance over its replicates."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from drpt.analysis.outcome import Outcome, OutcomeSums, split_tokens
from drpt.analysis.outcome_chart import draw_outcomes
from drpt.analysis.outcome_table import OutcomePoint, as_text, ranked, zero_shot_point
from drpt.analysis.run import ResultsError
from drpt.analysis.sweep import read_sweep
from drpt.analysis.sweep_words import lines_below, none_finished, states_of
from drpt.analysis.table import ZERO_SHOT, row_notes, size_notes, tabulate
from drpt.app.replicates import FoundReplicates, LeftOut, Replicates, find_replicates
from drpt.app.result_files import write_results
from drpt.app.run_data import read_record, recorded_date
from drpt.data.chat import EncodedExample, encode_examples
from drpt.evaluation.answer_logits import Piece, answer_logits, answers_of, cut_into_chunks
from drpt.evaluation.held_out import evaluating
from drpt.memory import keep_freed_memory, release_memory
from drpt.models.chat_renderer import ChatStyle
from drpt.models.load import LoadedModel, apply_finetune, load_model
from drpt.modules.checkpoint_files import CheckpointError, load_trained
from drpt.tasks.run_spec import RunSpec

_MIB = 2**20
# Relative difference from a run's recorded loss above which a note is printed; rounding stays below it.
_TOLERANCE = {"32-true": 1e-3, "bf16-mixed": 1e-3, "bf16-true": 2e-2}


def run_outcome(folder: Path, *, logits_mib: int, console: Console) -> int:
    """Measure all replicates, print a table, and write ``outcome.json`` and ``outcome.png`` into the sweep's folder.

    Args:
        folder: Folder of the sweep.
        logits_mib: Largest memory for logits held at once, in MiB; see `_measure`.
        console: Console to print to.

    Returns:
        The exit status: 0, or 1 if a damaged run was left out, a job is unfinished, or a file could not be written.

    Raises:
        ResultsError: No run is finished, or no regularizer has two measurable replicates.
    """
    start = time.perf_counter()
    sweep = read_sweep(folder)
    rows = tabulate(sweep)
    if not rows:
        raise ResultsError(none_finished(sweep))
    found = find_replicates(rows, folder)
    keep_freed_memory()
    found, measured = _measure_all(found, logits_mib=logits_mib)
    points = ranked([*measured, *(zero_shot_point(row) for row in rows if row.name == ZERO_SHOT and row.primary.count)])
    record = _record(sweep.name, points, found) | {
        "jobs": {job.name: str(job.state) for job in sweep.jobs},
        "seconds": time.perf_counter() - start,
    }
    title = f"{sweep.name}: expected held-out cross-entropy = bias + variance\n{states_of(sweep)}"
    files: dict[Path, Callable[[], str | bytes]] = {
        folder / "outcome.png": lambda: draw_outcomes(points, title),
        folder / "outcome.json": lambda: json.dumps(_without_nan(record), indent=1, ensure_ascii=False, allow_nan=False),
    }
    console.print(as_text(points, console.width))
    for line in lines_below(sweep, [*size_notes(rows), *row_notes(rows)]):
        console.print(line, markup=False, soft_wrap=True)
    for one in found.left_out:
        runs = "no measurable run" if one.seed is None else f"one measurable run (seed {one.seed})"
        console.print(f"left out, with {runs}: {one.label}", style="yellow", markup=False)
    for warning in (*found.faults, *_differences(found.groups, measured)):
        console.print(warning, style="yellow", markup=False, soft_wrap=True)
    return max(write_results(files, console), int(bool(found.faults) or not sweep.is_complete))


def _measure_all(found: FoundReplicates, *, logits_mib: int) -> tuple[FoundReplicates, list[OutcomePoint]]:
    """Measure all groups, loading each model once; runs with unsuitable checkpoints are left out.

    Returns:
        The measured replicates, and the points of their groups in the same order.

    Raises:
        ResultsError: No regularizer has two measurable runs.
    """
    by_model: dict[str, list[int]] = {}
    for i, group in enumerate(found.groups):
        spec = group.members[0].spec
        by_model.setdefault(repr((spec.model, spec.finetune, spec.trainer)), []).append(i)
    measured: dict[int, tuple[Replicates, OutcomePoint]] = {}
    left_out, faults = list(found.left_out), list(found.faults)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading the model", total=sum(len(group.members) for group in found.groups))
        for places in by_model.values():
            loaded, device = _load(found.groups[places[0]].members[0].spec)
            for i in places:
                group = _fitting(loaded.model, found.groups[i], faults)
                progress.update(task, description=group.label)
                progress.advance(task, len(found.groups[i].members) - len(group.members))
                if len(group.members) < 2:
                    left_out.append(LeftOut(label=group.label, seed=next(iter(group.seeds), None)))
                    progress.advance(task, len(group.members))
                    continue
                rows = _held_out_rows(loaded, group, device)
                outcome = _measure(loaded.model, group, rows, logits_mib * _MIB, partial(progress.advance, task))
                measured[i] = group, OutcomePoint(label=group.label, name=group.name, seeds=group.seeds, outcome=outcome)
            del loaded
            release_memory()
    if not measured:
        raise ResultsError("\n".join(["No regularizer has two measurable runs.", *faults]))
    groups, points = zip(*(measured[i] for i in sorted(measured)), strict=True)
    return FoundReplicates(groups=groups, left_out=tuple(left_out), faults=tuple(faults)), list(points)


def _fitting(model: nn.Module, group: Replicates, faults: list[str]) -> Replicates:
    """A group without runs whose checkpoints have other parameters or are not finite; these are added to ``faults``."""
    members = []
    for member in group.members:
        try:
            load_trained(model, member.checkpoint)
        except CheckpointError as error:
            faults.append(str(error))
        else:
            members.append(member)
    return replace(group, members=tuple(members))


def _load(spec: RunSpec) -> tuple[LoadedModel, torch.device]:
    """Load the model as for evaluations during training: with adapters, in the same dtype, on a GPU if there is one."""
    loaded = load_model(spec.model, seed=spec.seed, max_length=spec.data.max_length)
    # The seed has no effect: it draws initial values, which the checkpoints replace.
    model = apply_finetune(loaded.model, spec.finetune, seed=spec.seed)
    device = torch.device("cuda" if spec.trainer.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    # Mixed precision applies to training steps only: evaluations use the weights' float32.
    dtype = torch.bfloat16 if spec.trainer.precision == "bf16-true" else torch.float32
    return LoadedModel(model=model.to(device=device, dtype=dtype), tokenizer=loaded.tokenizer), device


@dataclass(frozen=True, kw_only=True)
class _HeldOutRows:
    """The held-out examples, and the batch size."""

    examples: list[EncodedExample]
    pad_token_id: int
    batch_rows: int
    device: torch.device


def _held_out_rows(loaded: LoadedModel, group: Replicates, device: torch.device) -> _HeldOutRows:
    spec = group.members[0].spec
    date = recorded_date(read_record(group.members[0].run.folder))
    style = ChatStyle(date=date, options=spec.model.chat_template_kwargs)
    return _HeldOutRows(
        examples=encode_examples(loaded.tokenizer, group.held_out, max_length=spec.data.max_length, style=style).examples,
        pad_token_id=loaded.tokenizer.pad_token_id,
        batch_rows=spec.evaluation.batch_rows,
        device=device,
    )


def _measure(
    model: nn.Module, group: Replicates, rows: _HeldOutRows, logits_bytes: int, advance: Callable[[float], None]
) -> Outcome:
    """Decompose the loss of one group: loop over chunks of answer tokens, and within a chunk over replicates.

    Memory: the logits of one chunk for all replicates, at most ``logits_bytes`` or those of one token; the float64 slices of
    `split_tokens`; and a forward pass over ``evaluation.batch_rows`` examples, as in evaluations during training.

    Args:
        model: Model whose trained parameters are replaced by those of each replicate in turn.
        group: Replicates to measure.
        rows: Held-out examples.
        logits_bytes: Largest memory for logits, in bytes.
        advance: Callback for progress, in replicates.

    Returns:
        The decomposition.
    """
    num = len(group.members)
    chunks = cut_into_chunks(rows.examples, _tokens_within(logits_bytes, model, num))
    num_tokens = sum(len(piece) for chunk in chunks for piece in chunk)
    sums = OutcomeSums(num, len(rows.examples))
    with evaluating(model):
        for chunk in chunks:
            size = sum(map(len, chunk))
            logits: Tensor | None = None  # [replicate, token, V]
            for r, member in enumerate(group.members):
                load_trained(model, member.checkpoint)
                done = 0
                for block in _blocks(model, rows, chunk):
                    logits = block.new_empty(num, size, block.shape[1]) if logits is None else logits
                    logits[r, done : done + len(block)] = block
                    done += len(block)
                advance(size / num_tokens)
            assert logits is not None
            terms = split_tokens(logits, answers_of(rows.examples, chunk).to(rows.device))
            sums.add(terms, torch.tensor([piece.example for piece in chunk for _ in piece.positions]))
    return sums.result()


def _blocks(model: nn.Module, rows: _HeldOutRows, chunk: Sequence[Piece]) -> Iterator[Tensor]:
    return answer_logits(
        model, rows.examples, chunk, pad_token_id=rows.pad_token_id, batch_rows=rows.batch_rows, device=rows.device
    )


def _tokens_within(logits_bytes: int, model: nn.Module, num_replicates: int) -> int:
    head: Any = model.get_output_embeddings()  # type: ignore[operator]  # transformers has no types
    return max(1, logits_bytes // (num_replicates * head.weight.shape[0] * head.weight.element_size()))


def _differences(groups: Sequence[Replicates], points: Sequence[OutcomePoint]) -> list[str]:
    """Notes about runs whose measured loss differs from the recorded one."""
    lines = []
    for group, point in zip(groups, points, strict=True):
        for member, loss in zip(group.members, point.outcome.losses, strict=True):
            recorded = member.recorded_loss
            tolerance = _TOLERANCE[member.spec.trainer.precision]
            if math.isfinite(recorded) and not math.isclose(loss, recorded, rel_tol=tolerance):
                lines.append(
                    f"{member.run.folder.name}: the held-out loss is {loss:.5f} now and was {recorded:.5f} in training. The "
                    "device, a package or the model may have changed; the sweep's table has the recorded values."
                )
    return lines


def _record(name: str, points: Sequence[OutcomePoint], found: FoundReplicates) -> dict[str, Any]:
    runs = {
        group.label: [
            {
                "folder": member.run.folder.name,
                "seed": member.spec.seed,
                "checkpoint": member.checkpoint.name,
                "step": member.step,
                "recorded_loss": member.recorded_loss,
            }
            for member in group.members
        ]
        for group in found.groups
    }
    return {
        "sweep": name,
        "unit": "nats per answer token",
        "source": "Heskes (1998): expected = bias + variance; the bias contains the entropy of the data",
        "value": "jackknifed over replicates; raw is the plain figure of the replicates",
        "regularizers": [
            {"label": point.label, "name": point.name, "runs": runs[point.label]} | asdict(point.outcome)
            for point in points
            if point.is_trained
        ],
        "zero_shot": [{"label": point.label} | asdict(point.outcome.expected) for point in points if not point.is_trained],
        "left_out": [asdict(one) for one in found.left_out],
        "faults": list(found.faults),
    }


def _without_nan(value: Any) -> Any:  # Any: whatever JSON can hold
    """Replace NaN by None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
