"""Compares what two commits compute: ``python -m tests.same_metrics OLD [NEW]`` (NEW is the working tree unless given).

A restructuring must not change a number. Each commit is unpacked into a folder of its own and makes the same short runs, one of
each task, in turn with the other; every metric that does not depend on the clock, and every sample, must be equal bit by bit.
Words and metrics that were renamed in between are read through `RENAMED_WORDS` and `RENAMED_METRICS`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from drpt import renamed
from drpt.metrics import METRICS_FILE, read_metrics
from tests.app import test_reward_modeling, test_rlhf, test_rlvr
from tests.app.conftest import TINY

RENAMED_WORDS = {f"{old}=": f"{new}=" for old, new in renamed.KEYS.items()}  # what a word begins with: old -> new
RENAMED_METRICS: dict[str, str] = {}  # name of a metric: old -> new
_CLOCK = ("second", "memory")
_MAIN = "from drpt.app.cli import main; main()"
# In the newest spelling. The last one trains SmolLM2; the others end within half a minute each.
RUNS = {
    "sft, hull": (*TINY, "regularizer=layerwise_hull"),
    "sft, accumulation, automatic strength": (
        *(*TINY, "regularizer=mix", "regularizer.strength=auto", "data.target_rows=4"),
        "trainer.micro_batches=2",
    ),
    "rlvr, filter": (*test_rlvr.TINY, "rollout=transformers", "regularizer=layerwise_filter", "regularizer.strength=0.5"),
    "rlhf, iif": (*test_rlhf.SLOW, "regularizer=iif"),
    "reward": (*test_reward_modeling.SMALL, "trainer.max_steps=6", "evaluation.every_steps=3"),
    "sft, SmolLM2": (
        *(word for word in TINY if not word.startswith(("model=", "trainer.max_steps", "evaluation.every_steps"))),
        *("regularizer=layerwise_subset", "trainer.max_steps=3", "evaluation.every_steps=3", "data.num_eval=4"),
    ),
}


def unpack(commit: str | None, folder: Path) -> Path:
    """The files of a commit, or of the working tree, in a folder of their own; the folder."""
    folder.mkdir()
    if commit is None:
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
        )
        for name in filter(None, names.stdout.split("\0")):
            if Path(name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, folder / name)
    else:
        archive = subprocess.run(["git", "archive", commit], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], check=True, input=archive.stdout)
    return folder


def renamed_back(word: str) -> str:
    """A word of a command as the old commit spells it."""
    for old, new in RENAMED_WORDS.items():
        if word.startswith(new):
            return old + word.removeprefix(new)
    return word


def run(tree: Path, words: tuple[str, ...], place: Path) -> tuple[list[tuple], object]:
    """Train once with the code of ``tree``.

    Returns:
        Step, name and value of each metric, and the samples.

    Raises:
        SystemExit: The run fails; what it printed is shown.
    """
    place.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _MAIN, "train", *words, "sweep=same"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tree.name}: drpt train {' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    (path,) = place.glob(f"runs/same/*/{METRICS_FILE}")
    lines = [(line["step"], line["name"], line["value"]) for line in read_metrics(path)]
    samples = path.parent / "samples.json"
    return (
        [line for line in lines if not any(word in line[1] for word in _CLOCK)],
        json.loads(samples.read_text()) if samples.exists() else None,
    )


def main() -> None:
    """Compare two commits; the exit status is 1 where a run differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", help="the commit before")
    parser.add_argument("new", nargs="?", help="the commit after; the working tree unless given")
    parser.add_argument("--only", help="runs whose name contains this text")
    options = parser.parse_args()
    differing = 0
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        old, new = unpack(options.old, base / "old"), unpack(options.new, base / "new")
        for place, (name, words) in enumerate(RUNS.items()):
            if options.only and options.only not in name:
                continue
            is_older = not (old / "drpt/renamed.py").exists()
            before, samples_before = run(old, tuple(map(renamed_back, words)) if is_older else words, base / f"old-{place}")
            after, samples_after = run(new, words, base / f"new-{place}")
            before = [(step, RENAMED_METRICS.get(metric, metric), value) for step, metric, value in before]
            unlike = [
                (left, right) for left, right in zip(before, after, strict=False) if repr(left) != repr(right)
            ]  # NaN is itself
            is_same = not unlike and len(before) == len(after) and samples_before == samples_after
            print(f"{'same  ' if is_same else 'DIFFER'}  {name}: {len(before)} and {len(after)} figures", flush=True)
            for left, right in unlike[:5]:
                print(f"        {left} became {right}")
            if not unlike and samples_before != samples_after:
                print("        samples differ")
            differing += not is_same
    sys.exit(int(differing > 0))


if __name__ == "__main__":
    main()
