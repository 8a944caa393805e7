"""Seconds of a regularized step over those of a standard one: one process, sides interleaved, medians.

    python -m experiments.overhead.measure                # SmolLM2-135M, n=8, m=1, T=128, float32, full fine-tuning
    python -m experiments.overhead.measure --rounds 3 --finetune lora --target 2

A step is forward, backward, update in ``.grad`` and AdamW. The standard step is the regularizer `full` on the same n general
rows; a second one has n + m rows, which is what a method that looks at m target rows cannot avoid.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.rows import StepRows
from drpt.data.reasoning import ReasoningSource
from drpt.files import write_atomically
from drpt.geometry.products import GeneralRows
from drpt.geometry.regularizer import build_regularizer
from drpt.geometry.spec import RegularizerSpec
from drpt.memory import keep_freed_memory
from drpt.models.load import apply_finetune, load_model
from drpt.models.spec import FinetuneSpec, ModelSpec
from drpt.objectives.language_modeling import sample_losses

RESULTS = Path(__file__).parent / "results.json"


def regularizer(feasible_set: str, partition: str = "layer", products: str = "auto") -> RegularizerSpec:
    """A regularizer; subsets keep half, as in the paper."""
    return RegularizerSpec(
        name=feasible_set,
        set=feasible_set,
        partition=partition,
        score="alignment",
        strength=0.5 if feasible_set == "subset" else None,
        relaxation=0.0,
        step_size=None,
        auto_memory=0.9,
        products=products,
        base_weights="example",
        scope="all",
        pool="step",
        stopping_share=0.0,
    )


def real_tokens(tokenizer: object, num_rows: int, length: int) -> torch.Tensor:
    """Generated questions and answers, one after another, cut into rows without padding."""
    source = ReasoningSource(
        target="gsm_symbolic", target_options={}, general=["basic_arithmetic", "spell_backward", "lcm"], system=None
    )
    ids: list[int] = []
    for example in source.general(0):
        ids += tokenizer.encode(f"{example.prompt[0].content} {example.response}\n")  # type: ignore[attr-defined]
        if len(ids) >= num_rows * length:
            return torch.tensor(ids[: num_rows * length]).view(num_rows, length)
    raise AssertionError("the stream is endless")


def make_step(
    model: nn.Module, token_ids: torch.Tensor, spec: RegularizerSpec, num_general: int, num_target: int
) -> Callable[[], None]:
    """Forward, backward and update, on the first rows of ``token_ids``."""
    capture = GradientCapture(model, build_regularizer(spec, seed=0))
    general = GeneralRows(
        base_weights=torch.full((num_general,), 1 / num_general), example_ids=torch.arange(num_general), draw=0
    )
    rows = StepRows(general=general, num_target=num_target)
    ids = token_ids[: num_general + num_target]
    mask = torch.ones_like(ids, dtype=torch.bool)

    def step() -> None:
        with capture.step(rows) as opened:
            logits = model(input_ids=ids, use_cache=False).logits
            opened.backward(sample_losses(logits, ids, mask))

    return step


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--general", type=int, default=8, help="n, general rows")
    parser.add_argument("--target", type=int, default=1, help="m, target rows")
    parser.add_argument("--length", type=int, default=128, help="T, tokens a row")
    parser.add_argument("--finetune", choices=("full", "lora"), default="full")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds, after one to warm up")
    parser.add_argument("--all", action="store_true", help="each product method, and the global partition")
    parser.add_argument("--glibc-defaults", action="store_true", help="leave it to glibc when memory goes back to the kernel")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    n, m = options.general, options.target
    if not options.glibc_defaults:
        keep_freed_memory()

    loaded = load_model(ModelSpec(source="embedded", name=None, revision=None, gradient_checkpointing=False))
    is_lora = options.finetune == "lora"
    finetune = FinetuneSpec(
        method=options.finetune,
        rank=8 if is_lora else None,
        alpha=16.0 if is_lora else None,
        dropout=0.0 if is_lora else None,
        target_modules=None,
        default_lr=1e-5,
    )
    model = apply_finetune(loaded.model, finetune, seed=0)
    token_ids = real_tokens(loaded.tokenizer, n + m, options.length)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    sides = {
        "full, n rows": make_step(model, token_ids, regularizer("mean"), n, 0),
        "full, n + m rows": make_step(model, token_ids, regularizer("mean"), n + m, 0),
        "layer-wise subset, auto": make_step(model, token_ids, regularizer("subset"), n, m),
    }
    if options.all:
        sides |= {
            "layer-wise subset, reduced": make_step(model, token_ids, regularizer("subset", products="reduced"), n, m),
            "layer-wise subset, pairwise": make_step(model, token_ids, regularizer("subset", products="pairwise"), n, m),
            "global subset, auto": make_step(model, token_ids, regularizer("subset", partition="global"), n, m),
        }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in track(range(options.rounds + 1), description="rounds"):
        for name, step in sides.items():
            optimizer.zero_grad(set_to_none=True)
            start = time.perf_counter()
            step()
            optimizer.step()
            if round_:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    report(options, seconds)


def report(options: argparse.Namespace, seconds: dict[str, list[float]]) -> None:
    """Print a table of medians and of ratios, taken round by round against the first side."""
    base, wider = list(seconds)[:2]
    table = Table("step", "median s", "over full, n rows", "over full, n + m rows")
    figures = {}
    for name, values in seconds.items():
        ratios = [median(value / other for value, other in zip(values, seconds[side], strict=True)) for side in (base, wider)]
        figures[name] = {"median_seconds": median(values), "ratio_n": ratios[0], "ratio_n_plus_m": ratios[1]}
        table.add_row(name, f"{median(values):.2f}", *(f"{ratio:.3f}" for ratio in ratios))
    setting = f"n={options.general}, m={options.target}, T={options.length}, {options.finetune}, float32"
    console = Console(width=100)
    console.print(f"SmolLM2-135M, {setting}, {options.rounds} rounds, {torch.get_num_threads()} threads", table)
    if options.save:
        machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "torch": torch.__version__}
        write_atomically(RESULTS, json.dumps({"setting": setting, "machine": machine, "sides": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
