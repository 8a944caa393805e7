"""Measures time and memory of drawing pools from a large file, in one process for each size to get separate peaks.

``python -m experiments.big_file.measure FOLDER`` writes files of 10^4, 10^5 and 10^6 lines (about 1 KB each) into FOLDER, draws
from each, prints a table, and stores the measurements in ``results.json`` beside this file.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

_SIZES = (10_000, 100_000, 1_000_000)
_HERE = Path(__file__).parent
_STATUS = Path("/proc/self/status")


def write_file(path: Path, num_lines: int) -> None:
    """Write distinct conversations of about 1 KB.

    Args:
        path: File to write; an existing file is kept.
        num_lines: Number of conversations.
    """
    if path.exists():
        return
    draw = random.Random(num_lines)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(5_000)]
    with path.open("w") as file:
        for _ in range(num_lines):
            prompt, response = (" ".join(draw.choices(words, k=count)) for count in (60, 75))
            turns = [{"role": "user", "content": f"{prompt}?"}, {"role": "assistant", "content": response}]
            file.write(json.dumps({"messages": turns}) + "\n")


def measure(path: Path, target: Path) -> dict[str, float]:
    """Draw from a file as a run does, with the embedded model's tokenizer.

    Args:
        path: File of general examples.
        target: File of target examples.

    Returns:
        Seconds by stage, and peak resident memory in MB before and after.
    """
    from drpt.app.compose import compose_run
    from drpt.app.config import check_config
    from drpt.data.build_source import build_source
    from drpt.data.fingerprint import source_fingerprint
    from drpt.data.fitting import Fitting
    from drpt.data.pools import draw_pools
    from drpt.models.spec import ModelSpec
    from drpt.models.tokenizer import load_tokenizer

    words = ["data=jsonl", f"data.source.general={path}", f"data.source.target={target}", "data.num_general=1000", "sweep=x"]
    data = check_config(compose_run(words)).data
    model = ModelSpec(source="embedded", name=None, revision=None, chat_template="own", gradient_checkpointing=False)
    num_tokenized = 0
    exclusion_reason = Fitting(load_tokenizer(model), max_length=data.max_length)

    def counted(example):  # type: ignore[no-untyped-def]
        nonlocal num_tokenized
        num_tokenized += 1
        return exclusion_reason(example)

    found = {"lines": float(sum(1 for _ in path.open("rb"))), "bytes": float(path.stat().st_size), "peak_mb_before": _peak_mb()}
    start = time.perf_counter()
    source = build_source(data.node)
    found["index_seconds"] = time.perf_counter() - start
    pools = draw_pools(source, data, seed=0, stopping_share=0.0, exclusion_reason=counted)
    found["draw_seconds"] = time.perf_counter() - start - found["index_seconds"]
    source_fingerprint(source)
    found["seconds"] = time.perf_counter() - start
    found |= {"peak_mb": _peak_mb(), "drawn": float(sum(pools.sizes.values())), "tokenized": float(num_tokenized)}
    return found


def _peak_mb() -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    """Measure one file, or write and measure all."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]))))
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "target.jsonl"
    write_file(target, 200)
    results = []
    for size in _SIZES:
        path = folder / f"{size}.jsonl"
        write_file(path, size)
        command = [sys.executable, "-m", "experiments.big_file.measure", str(path), str(target)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    (_HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print("| lines | GB | index s | draw s | in all s | peak MB | of which before | drawn | tokenized |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    for row in results:
        cells = [
            f"{row['lines']:,.0f}",
            f"{row['bytes'] / 1e9:.2f}",
            *(f"{row[key]:.1f}" for key in ("index_seconds", "draw_seconds", "seconds")),
            *(f"{row[key]:,.0f}" for key in ("peak_mb", "peak_mb_before", "drawn", "tokenized")),
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
