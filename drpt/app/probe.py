"""`drpt probe`: bias and variance of every update rule on one model, from one pass over a pool of examples."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from torch import Tensor

from drpt.analysis.bias_variance import Pool, draw, measure
from drpt.analysis.probe_chart import Point, draw_probe
from drpt.analysis.probe_grid import PARTITIONS, rules
from drpt.analysis.run import CHECKPOINTS, CONFIG_FILE, ResultsError
from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.schema import RunSpec
from drpt.capture.partition import partition_parameters
from drpt.capture.pool import GradientPool
from drpt.data.batch import pad_rows
from drpt.data.build_source import build_source
from drpt.data.chat import EncodedExample, encode_examples
from drpt.data.pools import draw_pools
from drpt.files import write_atomically
from drpt.geometry.catalogue import Partition
from drpt.geometry.regularizer import build_regularizer
from drpt.memory import keep_freed_memory, release_memory
from drpt.models.load import apply_finetune, load_model
from drpt.modules.checkpoints import BEST, LAST
from drpt.objectives.language_modeling import sample_losses

_NEW_TARGETS = 1_000_003  # added to the seed: on a trained model the target examples are others than it was trained on


def run_probe(options: argparse.Namespace, console: Console) -> int:
    """Measure, print a table, and write ``probe.json`` and ``probe.png``.

    Args:
        options: See `drpt.app.cli`.
        console: Where to print.

    Returns:
        0.

    Raises:
        ResultsError: The run's folder or checkpoint is not there.
        ValueError: A value breaks its rule, or the source has too few examples.
    """
    start = time.perf_counter()
    spec = _spec_of(options)
    folder = options.out or Path(options.runs) / f"probe-{datetime.now():%Y-%m-%d_%H-%M-%S}"
    keep_freed_memory()
    encoded, model, pad_token_id = _prepare(spec, options)
    sketches = _collect(model, encoded, pad_token_id, width=options.width, batch_rows=options.batch_rows)
    collected = time.perf_counter()
    points = _measure_all(sketches, options, spec, num_examples=len(encoded) // 6)
    seconds = {"pool": collected - start, "measures": time.perf_counter() - collected}
    console.print(_table(points))
    what = f"{spec.model.label}, {spec.finetune.method}" + (
        f", {options.checkpoint} of {options.run.name}" if options.run else ""
    )
    title = f"{what}: n={spec.data.general_rows}, m={spec.data.target_rows}, {options.draws} draws a half"
    record = {
        "title": title,
        "config": asdict(spec),
        "options": {key: str(value) for key, value in vars(options).items() if key not in {"run_command"}},
        "seconds": seconds,
        "points": [{"rule": asdict(p.rule), "direction": asdict(p.direction)} for p in points],
    }
    write_atomically(folder / "probe.json", json.dumps(record, indent=1, default=str))
    write_atomically(folder / "probe.png", draw_probe(points, title))
    console.print(f"pool {seconds['pool']:.0f} s, {len(points)} rules {seconds['measures']:.0f} s")
    for name in ("probe.png", "probe.json"):
        console.print(f"{name}: {folder / name}", soft_wrap=True)
    return 0


def _spec_of(options: argparse.Namespace) -> RunSpec:
    words = [*options.overrides, "sweep=probe"]
    if options.run is None:
        return check_config(compose_run(words))
    path = options.run / CONFIG_FILE
    if not path.exists():
        raise ResultsError(f"--run {options.run}: no {CONFIG_FILE} there; give the folder of one run.")
    config = compose_run(["sweep=probe"])
    OmegaConf.set_struct(config, False)
    config = cast(DictConfig, OmegaConf.merge(config, yaml.safe_load(path.read_text())))
    for word in options.overrides:
        key, _, value = word.partition("=")
        OmegaConf.update(config, key, yaml.safe_load(value))
    return check_config(config)


def _prepare(spec: RunSpec, options: argparse.Namespace) -> tuple[list[EncodedExample], torch.nn.Module, int]:
    """Encoded examples, a sixth each: general, target and population of the first half, then of the second."""
    size = options.pool
    source = build_source(spec.data.source)
    sizes = replace(spec.data, num_general=2 * size, num_target=2 * size, num_eval=2 * size)
    if options.run is not None:
        trained_on = {e.beginning for e in draw_pools(source, spec.data, seed=spec.seed, stopping_share=0.0).target}
        spare = spec.data.num_target
        sizes = replace(sizes, num_target=2 * size + spare, num_eval=2 * size + spare)
        pools = draw_pools(source, sizes, seed=spec.seed + _NEW_TARGETS, stopping_share=0.0)
        target, population = (
            [example for example in drawn if example.beginning not in trained_on] for drawn in (pools.target, pools.evaluation)
        )
    else:
        pools = draw_pools(source, sizes, seed=spec.seed, stopping_share=0.0)
        target, population = pools.target, pools.evaluation
    loaded = load_model(spec.model)
    model = apply_finetune(loaded.model, spec.finetune, seed=spec.seed)
    if options.run is not None:
        _load_trained(model, options.run / CHECKPOINTS, options.checkpoint)
    model.eval()  # the direction of a fixed model: no dropout
    halves: list[list[EncodedExample]] = [[], []]
    for name, examples in (("general", pools.general), ("target", target), ("population", population)):
        usable = encode_examples(loaded.tokenizer, examples, max_length=spec.data.max_length).examples[: 2 * size]
        if len(usable) < 2 * size:
            raise ValueError(
                f"--pool {size}: of the {name} examples only {len(usable)} fit into data.max_length={spec.data.max_length}, "
                f"and {2 * size} are needed. Lower --pool, or raise data.max_length."
            )
        halves[0] += usable[:size]
        halves[1] += usable[size:]
    return halves[0] + halves[1], model, loaded.tokenizer.pad_token_id


def _load_trained(model: torch.nn.Module, folder: Path, which: str) -> None:
    if which == "first":
        return
    path = folder / {"last": LAST, "best": BEST}[which]
    if not path.exists():
        raise ResultsError(f"--checkpoint {which}: {path} is not there.")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()}, strict=False)


def _collect(
    model: torch.nn.Module, encoded: Sequence[EncodedExample], pad_token_id: int, *, width: int, batch_rows: int
) -> list[dict[str, Tensor]]:
    """Two independent sketches of all examples' gradients by parameter, in the examples' order."""
    pool = GradientPool(model, width=width, seeds=(0, 1))
    # By length, for little padding; the longest first, so that memory that one batch freed has room for the next.
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i].token_ids))
    device = next(model.parameters()).device
    for start in track(range(0, len(order), batch_rows), description="gradients", console=Console(stderr=True)):
        rows = [encoded[i] for i in order[start : start + batch_rows]]
        tokens = pad_rows(rows, pad_token_id=pad_token_id).to(device)

        def losses(tokens: Any = tokens) -> Tensor:
            output = model(input_ids=tokens.token_ids, attention_mask=tokens.attention_mask, use_cache=False)
            return sample_losses(output.logits, tokens.token_ids, tokens.loss_mask)

        pool.add(losses, len(rows))
        release_memory()  # sketches that stay would break the heap into pieces
    back = torch.argsort(torch.tensor(order))
    return [{name: gradient[back] for name, gradient in pool.gradients(sketch).items()} for sketch in (0, 1)]


def _measure_all(
    sketches: Sequence[dict[str, Tensor]], options: argparse.Namespace, spec: RunSpec, *, num_examples: int
) -> list[Point]:
    places = torch.arange(6 * num_examples).view(6, num_examples)
    points: list[Point] = []
    partitions = [name for name in PARTITIONS if name in options.partitions]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("rules", total=sum(len(list(rules(name))) for name in partitions))
        for partition in partitions:
            measuring, choosing = (_gramians(gradients, Partition(partition)) for gradients in sketches)
            pool = Pool(
                gramian=measuring,
                choosing=choosing,
                general=(places[0], places[3]),
                target=(places[1], places[4]),
                population=(places[2], places[5]),
            )
            draws = draw(
                pool,
                num_draws=options.draws,
                general_rows=spec.data.general_rows,
                target_rows=spec.data.target_rows,
                seed=spec.seed,
            )
            for rule in rules(partition):
                direction = measure(build_regularizer(rule, seed=spec.seed), pool, draws)
                points.append(Point(rule=rule, direction=direction))
                progress.advance(task)
    return points


def _gramians(gradients: dict[str, Tensor], partition: Partition) -> Tensor:
    """One a block, the sum over its parameters."""
    gramians = []
    for block in partition_parameters(gradients, partition):
        total = torch.zeros((), dtype=torch.float64)
        for name in block.parameters:
            own = gradients[name].double()
            total = total + own @ own.T
        gramians.append(total)
    return torch.stack(gramians)


def _table(points: Sequence[Point]) -> Table:
    """The best strength of every family in every partition, by mean squared error; the ends first."""
    table = Table(title="the best strength of each family (squares relative to ‖v*‖²)", title_justify="left", box=None)
    for heading in ("family", "partition", "λ", "bias²", "variance", "mse", "cos(u, v*)", "‖u‖/‖v*‖", "failures"):
        table.add_column(heading, justify="left" if heading in {"family", "partition"} else "right")
    best: dict[tuple[str, str], Point] = {}
    for point in points:
        key = (point.rule.name, point.rule.partition)
        if key not in best or point.direction.mse < best[key].direction.mse:
            best[key] = point
    for (name, partition), point in sorted(best.items(), key=lambda item: item[1].direction.mse):
        d = point.direction
        strength = "" if point.rule.strength is None else f"{point.rule.strength:g}"
        table.add_row(
            name,
            partition,
            strength,
            f"{d.bias_sq:.3f} ± {d.bias_sq_stderr:.3f}",
            f"{d.variance:.3f} ± {d.variance_stderr:.3f}",
            f"{d.mse:.3f} ± {d.mse_stderr:.3f}",
            f"{d.cosine:.3f}",
            f"{d.norm_ratio:.2f}",
            str(d.num_failures or ""),
        )
    return table
