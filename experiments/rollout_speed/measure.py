"""How fast vLLM and transformers draw the same number of tokens from the same weights, and what a sync costs.

python -m experiments.rollout_speed.measure            # measures, and writes results.json and the table in README.md
python -m experiments.rollout_speed.measure --report   # the table alone, from results.json
python -m experiments.rollout_speed.measure --quick    # the tiny model, one round, into runs/: to see that it runs
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from drpt.files import write_atomically
from drpt.memory import keep_freed_memory, release_memory
from drpt.models.load import LoadedModel, load_model
from drpt.models.merged import merged_weights, save_for_engine
from drpt.models.spec import ModelSpec
from drpt.rollouts.protocol import Rollout, Sampling
from drpt.rollouts.spec import DTYPES
from drpt.rollouts.transformers_engine import TransformersRollout
from drpt.rollouts.vllm_engine import VllmRollout
from experiments.overhead.store import environment
from experiments.overhead.timing import Ratio, interleave, ratio
from experiments.readme import fill_section

_FOLDER = Path(__file__).parent
_QUICK_FOLDER = Path("runs/rollout_speed_quick")
_VLLM, _GENERATE, _ENGINE = "rollout=vllm", "generate", "rollout=transformers"
_SYNC = "sync, "
_QUESTIONS = (
    "What is 17 plus 26?",
    "Tom has 3 bags with 4 apples each and eats 2 apples. How many apples are left? Explain each step of the answer.",
    "Write a short story about a fox who learns to read, in which an owl and a hedgehog help. It should end happily.",
    "Name three colours.",
)
_CONTEXT = 256

Record = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Measure, or report."""
    options = _parse(arguments)
    folder = _QUICK_FOLDER if options.quick else _FOLDER
    if not options.report:
        if not options.quick:  # as in training; not in a test, whose process has more to do
            keep_freed_memory()
        record = measure(options)
        write_atomically(folder / "results.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    table = render(json.loads((folder / "results.json").read_text()))
    print(table)
    if not options.quick:
        fill_section(_FOLDER / "README.md", "results", table)


def _parse(arguments: list[str] | None) -> Any:  # Any: what argparse returns
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: 7)")
    parser.add_argument("--sequences", type=int, default=64, help="responses a round, a multiple of 16 (default: 64)")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of each response (default: 48)")
    parser.add_argument("--threads", type=int, default=1, help="threads of all variants (default: 1)")
    parser.add_argument("--quick", action="store_true", help=f"the tiny model, one round, into {_QUICK_FOLDER}")
    parser.add_argument("--report", action="store_true", help="measure nothing: the table from results.json")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.sequences, options.tokens = 1, 16, 4
    if min(options.rounds, options.sequences, options.tokens, options.threads) < 1 or options.sequences % 16:
        parser.error("all numbers must be at least 1, and --sequences a multiple of 16.")
    return options


def measure(options: Any) -> Record:  # Any: what argparse returns
    """Time all variants in both dtypes, interleaved within a dtype.

    Args:
        options: Parsed options.

    Returns:
        Seconds of every round, for `render`.
    """
    source = "tiny" if options.quick else "embedded"
    loaded = load_model(ModelSpec(source=source, name=None, revision=None, chat_template="own", gradient_checkpointing=False))
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    record: Record = {
        "model": "tiny" if options.quick else "SmolLM2-135M-Instruct",
        "rounds": options.rounds,
        "sequences": options.sequences,
        "tokens": options.tokens,
        "environment": environment("experiments.rollout_speed.measure"),
        "dtypes": {},
    }
    try:
        with tempfile.TemporaryDirectory() as place:
            save_for_engine(loaded.model, loaded.tokenizer, Path(place) / "model")
            for dtype in DTYPES:
                record["dtypes"][dtype] = _measure_dtype(loaded, Path(place) / "model", dtype, options)
    finally:
        torch.set_num_threads(threads)
    return record


def _measure_dtype(loaded: LoadedModel, folder: Path, dtype: str, options: Any) -> Record:
    prompts = _prompts(loaded.tokenizer)
    sampling = Sampling(
        num_responses=options.sequences // len(prompts),
        max_tokens=options.tokens,
        temperature=1.0,
        seed=0,
        stop_token_ids=(),  # all responses have full length
    )
    device = torch.device("cpu")
    start = time.perf_counter()
    vllm = VllmRollout(
        model_folder=folder, dtype=dtype, max_model_len=_CONTEXT, kv_cache_mib=1024, threads=options.threads, device=device
    )
    build_seconds = time.perf_counter() - start
    try:
        # A single batch, as for `generate`.
        reference = TransformersRollout(
            model_folder=folder, dtype=dtype, max_model_len=_CONTEXT, device=device, batch_rows=options.sequences
        )
        weights = list(merged_weights(loaded.model))
        variants = {
            _VLLM: lambda: _draw(vllm, prompts, sampling),
            _GENERATE: lambda: _generate(reference._model, prompts, sampling),
            _ENGINE: lambda: _draw(reference, prompts, sampling),
            _SYNC + _VLLM: lambda: vllm.sync(weights),
            _SYNC + _ENGINE: lambda: reference.sync(weights),
        }
        cpu_seconds: dict[str, list[float]] = {name: [] for name in variants}
        timed = interleave(
            {name: _with_cpu_seconds(step, cpu_seconds[name]) for name, step in variants.items()},
            warm_ups=1,
            rounds=options.rounds,
            prepare=lambda: vllm.sync(weights),  # as before each phase of training, so that the cache is empty
        )
    finally:
        vllm.close()
        release_memory()
    errors = {name: variant.error for name, variant in timed.items() if variant.error}
    if errors:
        raise RuntimeError(f"{dtype}: {errors}")
    return {
        "build_seconds": build_seconds,
        "variants": {
            name: {
                "seconds": variant.seconds,
                "cpu_seconds": cpu_seconds[name][-options.rounds :],
                "preemptions": variant.preemptions,
            }
            for name, variant in timed.items()
        },
    }


def _prompts(tokenizer: Any) -> list[list[int]]:
    """Token ids of 16 chat prompts of four lengths."""
    prompts = []
    for place in range(16):
        turn = [{"role": "user", "content": f"{_QUESTIONS[place % len(_QUESTIONS)]} ({place})"}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        prompts.append(tokenizer.encode(text, add_special_tokens=False))
    return prompts


def _with_cpu_seconds(step: Callable[[], object], record: list[float]) -> Callable[[], None]:
    def timed() -> None:
        start = time.process_time()
        step()
        record.append(time.process_time() - start)

    return timed


def _draw(engine: Rollout, prompts: Sequence[Sequence[int]], sampling: Sampling) -> None:
    groups = engine.generate(prompts, sampling)
    assert {len(response.token_ids) for group in groups for response in group} == {sampling.max_tokens}


def _generate(model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling) -> None:
    """Sample with transformers in one left-padded batch, without log-probabilities and with one random generator for all."""
    from transformers import GenerationConfig

    rows = [prompt for prompt in prompts for _ in range(sampling.num_responses)]
    length = max(map(len, rows))
    settings = GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=None,
        pad_token_id=0,
    )
    with torch.no_grad():
        tokens: Tensor = model.generate(
            torch.tensor([[0] * (length - len(row)) + list(row) for row in rows]),
            attention_mask=torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows]),
            generation_config=settings,
        )
    assert tokens.shape == (len(rows), length + sampling.max_tokens)


def render(record: Record) -> str:
    """Render the tables.

    Args:
        record: Result of `measure`.

    Returns:
        The tables in Markdown.
    """
    described = record["environment"]
    lines = [
        f"{record['model']}; {record['sequences']} sequences of {record['tokens']} new tokens; {record['rounds']} rounds; "
        f"{described['cpu']}, {described['threads']} thread(s), load before {described['load_before']:.1f}; commit "
        f"`{described['commit']}`.",
        "",
        "| dtype | variant | tokens/s | vLLM's speed over it, by wall clock | by CPU seconds |",
        "| :-- | :-- | --: | --: | --: |",
    ]
    num_tokens = record["sequences"] * record["tokens"]
    for dtype, found in record["dtypes"].items():
        variants = found["variants"]
        for name in (_VLLM, _GENERATE, _ENGINE):
            ratios = [ratio(variants[name][key], variants[_VLLM][key]) for key in ("seconds", "cpu_seconds")]
            shown = ["1", "1"] if name == _VLLM else [_spread(own) for own in ratios]
            lines.append(f"| {dtype} | {name} | {num_tokens / median(variants[name]['seconds']):.0f} | {' | '.join(shown)} |")
    lines += ["", "| dtype | build, s | sync, vLLM, s | sync, transformers, s |", "| :-- | --: | --: | --: |"]
    for dtype, found in record["dtypes"].items():
        seconds = [median(found["variants"][_SYNC + name]["seconds"]) for name in (_VLLM, _ENGINE)]
        lines.append(f"| {dtype} | {found['build_seconds']:.1f} | {seconds[0]:.3f} | {seconds[1]:.3f} |")
    return "\n".join(lines) + "\n"


def _spread(found: Ratio | None) -> str:
    return "–" if found is None else f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"


if __name__ == "__main__":
    main()
