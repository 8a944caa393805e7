"""A trial of `test_disturbances`: a run is hurt at a random moment in a random way, goes on, and is compared with another.

Two ends are allowed. The command that goes on finishes, with the same figures, weights and tables, bit by bit. Or it refuses
in a message that names the damaged file, and with the file put back it finishes so.
"""

import json
import os
import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import torch

from drpt.files import read_json_lines
from tests.app import processes, test_reward_modeling, test_rlhf, test_rlvr
from tests.app.conftest import TINY

SWEEP = "hurt"
COMMON = (f"sweep={SWEEP}", "trainer.keep_steps=[3]")
TASKS = {
    "sft": (
        *TINY,
        "regularizer=layerwise_hull",
        "regularizer.strength=auto",
        "regularizer.relaxation=auto",
        "trainer.max_steps=10",
        "trainer.checkpoint_every_steps=3",
        "evaluation.every_steps=4",
    ),
    "stopped": (
        *TINY,
        "regularizer=target_only_stopped",
        "data.num_target=8",
        "optimizer.lr=1e-3",
        "trainer.max_steps=10",
        "trainer.checkpoint_every_steps=4",
        "evaluation.every_steps=2",
    ),
    "reward": (*test_reward_modeling.SMALL, "data.num_general=24", "data.num_eval=16", "trainer.checkpoint_every_steps=2"),
    "rlvr": (
        *test_rlvr.TINY,
        "rollout=transformers",
        "rollout.num_prompts=3",
        "rollout.num_responses=4",
        "rollout.max_tokens=6",
        "algorithm.target.refresh_steps=3",
        "trainer.max_steps=8",
        "trainer.checkpoint_every_steps=3",
    ),
    "rlhf": (
        *test_rlhf.SLOW,
        "algorithm.score.scaling=standard",
        "algorithm.target.refresh_steps=3",
        "trainer.max_steps=8",
        "trainer.checkpoint_every_steps=2",
    ),
}
_CLOCK = ("second", "memory")
_FILE_OPERATIONS = ("replace", "link", "fsync", "unlink")


@dataclass(frozen=True)
class Result:
    """All that a run must leave behind, but for what depends on the clock."""

    metrics: list
    rollouts: list
    tables: dict
    summary: dict
    weights: dict

    def assert_equal(self, other):
        assert self.metrics == other.metrics
        assert self.rollouts == other.rollouts
        assert self.tables == other.tables
        assert self.summary == other.summary
        assert self.weights.keys() == other.weights.keys()
        for name, own in self.weights.items():
            assert own.keys() == other.weights[name].keys()
            assert all(torch.equal(value, other.weights[name][key]) for key, value in own.items()), name


def result_of(place):
    (folder,) = (path.parent for path in place.glob(f"runs/{SWEEP}/*/summary.json"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "finished", summary
    final = {name: value for name, value in summary["final"].items() if not any(word in name for word in _CLOCK)}
    lines = read_json_lines(folder / "metrics.jsonl", "metrics")
    parts = [path for path in folder.parent.rglob(".*") if path.name != ".lock"]
    assert not parts, parts
    return Result(
        metrics=[line for line in lines if not any(word in line["name"] for word in _CLOCK)],
        rollouts=read_json_lines(folder / "rollouts.jsonl", "rollouts"),
        tables={
            path.name: path.read_bytes()
            for path in (*folder.glob("samples.json"), *folder.glob("outcomes.json"), *folder.glob("reward_model/*"))
        },
        summary=final | {"selected_step": summary["selected_step"]},
        weights={
            path.name: torch.load(path, weights_only=True)["state_dict"]
            for path in folder.glob("checkpoints/*.ckpt")
            if not path.name.startswith("damaged")
        },
    )


@dataclass(frozen=True)
class DieAt:
    """Kills the process at its n-th operation on files, before or after it."""

    place: int
    is_after: bool

    def __call__(self):
        count = 0

        def watched(operation):
            def call(*arguments, **options):
                nonlocal count
                count += 1
                if count == self.place and not self.is_after:
                    os.kill(os.getpid(), signal.SIGKILL)
                found = operation(*arguments, **options)
                if count == self.place and self.is_after:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            return call

        for name in _FILE_OPERATIONS:
            setattr(os, name, watched(getattr(os, name)))


def hurt(draw, place, words, seconds):
    """Begin or go on, and be stopped; how it went in words.

    Args:
        draw: Random numbers.
        place: Folder in which the command is given.
        words: Of the command.
        seconds: What an undisturbed run takes.
    """
    if draw.random() < 0.25:
        death = DieAt(draw.randint(1, 60), draw.random() < 0.5)
        status = processes.begin(place, *words, prepare=death).wait()
        return f"{death}: {status}"
    number = draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
    command = processes.begin(place, *words)
    delay = draw.uniform(0.2, 1.0) * seconds
    command.process.join(delay)
    command.send(number)
    status = command.wait(32)
    assert status in (0, 128 + number), command.text
    if number != signal.SIGKILL:
        assert "Traceback" not in command.text, command.text
        is_at_work = "` continues " in command.text
        for path in place.glob(f"runs/{SWEEP}/*/summary.json") if is_at_work else ():
            assert json.loads(path.read_text())["status"] in ("interrupted", "finished"), command.text
    return f"{number.name} after {delay:.2f} s: {status}: {command.text.strip().splitlines()[-1:]}"


def damage(draw, place):
    """Damage one file of the sweep; the file, what it held, and how it was damaged."""
    files = sorted(path for path in place.glob(f"runs/{SWEEP}/**/*") if path.is_file() and path.name != ".lock")
    if not files:
        return None
    weighty = [path for path in files if path.suffix in (".ckpt", ".jsonl")]
    path = draw.choice(weighty if weighty and draw.random() < 0.7 else files)
    content = path.read_bytes()
    kind = draw.choice(("truncated", "emptied", "garbled", "removed", "foreign", "a folder"))
    path.unlink()
    if kind == "truncated":
        path.write_bytes(content[: draw.randrange(len(content) + 1)])
    elif kind == "emptied":
        path.touch()
    elif kind == "garbled":
        bad = bytearray(content)
        for _ in range(draw.randint(1, 20)):
            if bad:
                bad[draw.randrange(len(bad))] = draw.randrange(256)
        path.write_bytes(bad)
    elif kind == "foreign":
        path.write_text("This belongs to something else.\n" * 3)
    elif kind == "a folder":
        path.mkdir()
    return path, content, kind


def try_once(seed, place, task, peaceful, seconds):
    """One trial.

    Args:
        seed: Of what happens.
        place: An empty folder.
        task: A key of `TASKS`.
        peaceful: What a run in peace left.
        seconds: What it took.
    """
    draw = random.Random(f"{seed}-{task}")
    story = [f"trial {seed}, {task}"]
    try:
        words = ("train", *TASKS[task], *COMMON)
        for _ in range(draw.randint(1, 3)):
            story.append(hurt(draw, place, words, seconds))
            if draw.random() < 0.5 and (place / "runs" / SWEEP / "commands.jsonl").exists():
                words = ("resume", f"runs/{SWEEP}")
        harm = damage(draw, place) if draw.random() < 0.6 and not _is_finished(place) else None
        if harm is not None:
            story.append(f"{harm[2]}: {harm[0].relative_to(place)}")
        _finish(place, ("train", *TASKS[task], *COMMON), harm, story)
        peaceful.assert_equal(result_of(place))
    except AssertionError as error:
        raise AssertionError("\n".join([*story, str(error)])) from error
    return story


def _is_finished(place):
    """A finished run is not looked through again."""
    try:
        (path,) = place.glob(f"runs/{SWEEP}/*/summary.json")
        return json.loads(path.read_text())["status"] == "finished"
    except ValueError:
        return False


def _finish(place, words, harm, story):
    status, text = processes.run(place, *words)
    if status:
        story.append(f"refused: {text.strip()[-1500:]}")
        assert harm is not None, "nothing was damaged"
        path, content, _ = harm
        assert path.name in text, "a refusal must name the file"
        assert "Traceback" not in text
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(content)
        status, text = processes.run(place, *words)
    assert status == 0, text


def is_hurt(story):
    """Whether anything in a trial's story stopped a run before its end, or damaged a file of it."""
    return any(": 0: " not in line and not line.endswith(": 0") for line in story[1:])


def peaceful_result(task, place):
    """A run in peace."""
    status, text = processes.run(place, "train", *TASKS[task], *COMMON)
    assert status == 0, text
    return result_of(place)


def tidy(place: Path):
    """Remove a trial that went well."""
    shutil.rmtree(place, ignore_errors=True)
