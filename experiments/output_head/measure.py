"""A forward and backward pass with the output head on the tokens that count, over one with it on all tokens.

python -m experiments.output_head.measure            # measures, and writes results.json and the table in README.md
python -m experiments.output_head.measure --report   # the table alone, from results.json
python -m experiments.output_head.measure --quick    # the tiny model, one round, into runs/: to see that it runs
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from drpt.data.batch import TokenBatch
from drpt.files import write_atomically
from drpt.memory import keep_freed_memory
from drpt.models.predictions import predict
from drpt.objectives.counted import at_places, predicting_places
from drpt.objectives.language_modeling import counted_losses
from experiments.overhead.steps import Subject
from experiments.overhead.store import environment
from experiments.overhead.timing import interleave, ratio
from experiments.readme import fill_section

_FOLDER = Path(__file__).parent
_QUICK_FOLDER = Path("runs/output_head_quick")
_COUNTED, _ALL = "tokens that count", "all tokens"


@dataclass(frozen=True, slots=True)
class _Shape:
    """A batch of rows with the same numbers of prompt and response tokens."""

    name: str
    rows: int
    prompt: int
    response: int


_SHAPES = (
    _Shape("RLVR, small sums", 16, 56, 14),
    _Shape("RLHF, continued texts", 16, 20, 16),
    _Shape("SFT, half of it answers", 10, 60, 60),
    _Shape("every token counts", 10, 1, 127),
)


def main(arguments: list[str] | None = None) -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: 7)")
    parser.add_argument("--quick", action="store_true", help=f"the tiny model, one round, into {_QUICK_FOLDER}")
    parser.add_argument("--report", action="store_true", help="measure nothing: the table from results.json")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1.")
    folder = _QUICK_FOLDER if options.quick else _FOLDER
    if not options.report:
        if not options.quick:  # as in training; not in a test, whose process has more to do
            keep_freed_memory()
        record = measure("tiny" if options.quick else "smollm2_135m", rounds=1 if options.quick else options.rounds)
        write_atomically(folder / "results.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    table = render(json.loads((folder / "results.json").read_text()))
    print(table)
    if not options.quick:
        fill_section(_FOLDER / "README.md", "results", table)


def measure(model: Any, *, rounds: int) -> dict[str, Any]:  # Any: one of the names that a subject has
    """Time both variants of every shape, interleaved.

    Args:
        model: Name of the model.
        rounds: Number of counted rounds, after two warm-up rounds.

    Returns:
        Seconds of every round, for `render`.
    """
    subject = Subject(model, "lora")
    shapes = []
    for shape in _SHAPES:
        tokens = _batch(subject, shape)
        variants = {
            _COUNTED: lambda tokens=tokens: _pass(
                predict(subject.model, tokens.model_inputs(), predicting_places(tokens.loss_mask)).logits, tokens
            ),
            _ALL: lambda tokens=tokens: _pass(_all_logits(subject.model, tokens), tokens),
        }
        timed = interleave(variants, warm_ups=2, rounds=rounds, prepare=subject.forget_gradients)
        if errors := {name: variant.error for name, variant in timed.items() if variant.error}:
            raise RuntimeError(f"{shape.name}: {errors}")
        seconds = {name: variant.seconds for name, variant in timed.items()}
        preemptions = {name: variant.preemptions for name, variant in timed.items()}
        shapes.append({"shape": asdict(shape), "seconds": seconds, "preemptions": preemptions})
    return {"model": model, "rounds": rounds, "environment": environment("experiments.output_head.measure"), "shapes": shapes}


def _batch(subject: Subject, shape: _Shape) -> TokenBatch:
    token_ids = subject.tokens(shape.rows, shape.prompt + shape.response)
    return TokenBatch(
        token_ids=token_ids,
        attention_mask=torch.ones_like(token_ids),
        position_ids=None,
        loss_mask=(torch.arange(token_ids.shape[1]) >= shape.prompt).expand_as(token_ids),
        example_of_token=torch.arange(shape.rows)[:, None].expand_as(token_ids),
    )


def _all_logits(model: Any, tokens: TokenBatch) -> Tensor:  # Any: transformers has no types
    logits = model(**tokens.model_inputs(), use_cache=False).logits
    return at_places(logits, predicting_places(tokens.loss_mask))


def _pass(logits: Tensor, tokens: TokenBatch) -> None:
    counted_losses(logits, tokens.token_ids, tokens.loss_mask).sum().backward()


def render(record: dict[str, Any]) -> str:
    """Render the table.

    Args:
        record: Result of `measure`.

    Returns:
        The table in Markdown.
    """
    described = record["environment"]
    lines = [
        f"{record['model']}, LoRA, float32; {record['rounds']} rounds; {described['cpu']}, {described['threads']} thread(s), "
        f"load before {described['load_before']:.1f}; commit `{described['commit']}`.",
        "",
        "| batch | rows × (prompt + response) | all tokens, s | tokens that count, s | ratio |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for found in record["shapes"]:
        shape, seconds = _Shape(**found["shape"]), found["seconds"]
        own = ratio(seconds[_COUNTED], seconds[_ALL])
        assert own is not None  # a variant that failed was an error
        lines.append(
            f"| {shape.name} | {shape.rows} × ({shape.prompt} + {shape.response}) | {median(seconds[_ALL]):.2f} | "
            f"{median(seconds[_COUNTED]):.2f} | {own.median:.2f} [{own.low:.2f}, {own.high:.2f}] |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
