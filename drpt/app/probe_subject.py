"""The model and the examples of `drpt probe`: a model at some checkpoint, and a pool of examples in two disjoint halves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from drpt.analysis.run import CHECKPOINTS, ResultsError
from drpt.app.run_data import read_record, recorded_date
from drpt.app.run_fitting import exclusion_reason_for
from drpt.capture.layers.outside import rules_with
from drpt.capture.layers.rules import LayerRules
from drpt.capture.pool import GradientPool
from drpt.data.batch import pad_rows
from drpt.data.build_source import build_source
from drpt.data.chat import EncodedExample, encode_examples
from drpt.data.example import Example
from drpt.data.pools import draw_pools
from drpt.data.sameness import Asked
from drpt.data.source import require_responses
from drpt.data.vocabulary import check_token_ids
from drpt.memory import release_memory
from drpt.models.chat_renderer import ChatStyle
from drpt.models.limits import num_tokens
from drpt.models.load import apply_finetune, load_model
from drpt.models.predictions import predict
from drpt.modules.checkpoint_files import BEST, LAST, load_trained, step_file
from drpt.objectives.counted import predicting_places
from drpt.objectives.language_modeling import counted_losses, row_means
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

_SURPLUS = 4  # factor by which more examples are drawn from an endless source than are needed
_NEW_TARGETS = 1_000_003  # added to the seed, so that target examples for a trained model differ from those of its training


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model and the examples whose gradients at it are compared."""

    model: torch.nn.Module
    encoded: list[EncodedExample]
    halves: tuple[dict[str, Tensor], dict[str, Tensor]]  # indices in ``encoded`` by role: general, target, population, used
    pad_token_id: int
    layer_rules: LayerRules


def prepare(spec: RunSpec, *, pool: int, run: Path | None, checkpoint: str) -> Subject:
    """Load the model, draw and encode the examples.

    No question occurs in two roles or halves. For a trained model, target examples and population are new: training saw them
    neither as general nor as target examples. The target examples of its training have a role of their own, ``used``.

    Args:
        spec: Configuration of the run, or of a model before training.
        pool: Number of examples of each role, half of them in each half.
        run: Folder of a run; None for the model before training.
        checkpoint: Checkpoint of the run: ``first``, ``last``, ``best`` or a step.

    Returns:
        The model in evaluation mode, and the examples.

    Raises:
        ResultsError: The checkpoint does not exist.
        ValueError: Too few examples fit, or the examples have no responses.
    """
    if not find_task(spec.task.name).is_supervised:
        raise ValueError(f"task={spec.task.name}: the probe needs gradients of supervised losses; choose task=sft.")
    rules = rules_with(spec.trainer.layer_rules)
    path = None if run is None else _checkpoint(run / CHECKPOINTS, checkpoint)
    kinds = _draw(spec, pool, is_trained=run is not None)
    loaded = load_model(spec.model, seed=spec.seed, max_length=spec.data.max_length)
    model = apply_finetune(loaded.model, spec.finetune, seed=spec.seed)
    if path is not None:
        load_trained(model, path)
    model.eval()  # no dropout: the model is fixed
    date = None if run is None else recorded_date(read_record(run))
    style = ChatStyle(date=date, options=spec.model.chat_template_kwargs)
    encoded: list[EncodedExample] = []
    halves: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for name, examples in kinds.items():
        usable = encode_examples(loaded.tokenizer, examples, max_length=spec.data.max_length, style=style).examples
        wanted = 2 * (len(usable) // 2) if name == "used" else pool
        if len(usable) < wanted:
            raise ValueError(
                f"--pool {pool}: only {len(usable)} {name} examples fit into "
                f"data.max_length={spec.data.max_length} and differ from all examples of other roles"
                f"{' and of training' if run is not None else ''}. Lower --pool, or raise data.max_length."
            )
        places = torch.arange(len(encoded), len(encoded) + wanted)
        halves[0][name], halves[1][name] = places[: wanted // 2], places[wanted // 2 :]
        encoded += usable[:wanted]
    check_token_ids(encoded, num_tokens=num_tokens(loaded.model.config))
    return Subject(model=model, encoded=encoded, halves=halves, pad_token_id=loaded.tokenizer.pad_token_id, layer_rules=rules)


def _draw(spec: RunSpec, pool: int, *, is_trained: bool) -> dict[str, Sequence[Example]]:
    """Draw examples by role, more than needed where possible."""
    source = build_source(spec.data.node)
    require_responses(source, name=spec.data.label, why="the probe's gradients are of losses on responses")
    exclusion_reason = exclusion_reason_for(spec)
    seen = Asked()
    kinds: dict[str, Sequence[Example]] = {}
    spare, seed = 0, spec.seed
    if is_trained:
        share = spec.stopping_share
        trained = draw_pools(source, spec.data, seed=spec.seed, stopping_share=share, exclusion_reason=exclusion_reason)
        kinds["used"] = trained.target
        for example in (*trained.general, *trained.target, *trained.stopping):
            seen.add(example)
        spare, seed = spec.data.num_target, spec.seed + _NEW_TARGETS
    # A surplus, since some examples will repeat a question of another role.
    is_target_endless = getattr(source, "is_target_endless", source.is_endless)
    count = _SURPLUS * pool if is_target_endless else pool + spare
    num_general = _SURPLUS * pool if source.is_endless else None
    sizes = replace(spec.data, num_target=count, num_eval=count, num_general=num_general)
    drawn = draw_pools(source, sizes, seed=seed, stopping_share=0.0, exclusion_reason=exclusion_reason)
    own = Asked()
    for name, examples in (("population", drawn.evaluation), ("target", drawn.target)):
        kinds[name] = [example for example in examples if not seen.has(example)]
        for example in kinds[name]:
            seen.add(example)
            own.add(example)
    kinds["general"] = [example for example in drawn.general if not own.has(example)]
    return kinds


def _checkpoint(folder: Path, which: str) -> Path | None:
    if which == "first":
        return None
    path = folder / ({"last": LAST, "best": BEST}.get(which) or step_file(int(which)))
    if not path.exists():
        kept = ["first", *sorted(found.stem.removeprefix("step-") for found in folder.glob("*.ckpt"))]
        raise ResultsError(
            f"checkpoint={which}: {path} does not exist; this run has {', '.join(kept)}. It keeps the steps that "
            "trainer.keep_steps names."
        )
    return path


def collect_gradients(subject: Subject, *, width: int | None, batch_tokens: int) -> list[dict[str, Tensor]]:
    """Compute the gradients of all examples, as two independent sketches or exactly.

    Args:
        subject: Model and examples.
        width: Number of rows of each random matrix; None for exact gradients.
        batch_tokens: Largest number of tokens in a pass, padding included; a longer example is passed alone.

    Returns:
        Gradients [example, sketch] by parameter: a list of two sketches, or of one entry with exact gradients.
    """
    encoded, model = subject.encoded, subject.model
    seeds = (0,) if width is None else (0, 1)
    pool = GradientPool(model, num_examples=len(encoded), width=width, seeds=seeds, layer_rules=subject.layer_rules)
    device = next(model.parameters()).device
    batches = _batches([len(example.token_ids) for example in encoded], batch_tokens)
    for places in track(batches, description="gradients", console=Console(stderr=True)):
        tokens = pad_rows([encoded[int(i)] for i in places], pad_token_id=subject.pad_token_id).to(device)

        def losses(tokens: Any = tokens) -> Tensor:
            losses = counted_losses(
                predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask)).logits,
                tokens.token_ids,
                tokens.loss_mask,
            )
            return row_means(losses, tokens.loss_mask)

        pool.add(losses, places)
        release_memory()  # the sketches that are kept would fragment the heap
    return [pool.gradients(sketch) for sketch in range(len(seeds))]


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[Tensor]:
    """Batches of example indices with similar lengths, longest first, so that later batches fit into freed memory."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches = []
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // lengths[order[start]])
        batches.append(torch.tensor(order[start : start + count]))
        start += count
    return batches
