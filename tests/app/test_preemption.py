"""SIGTERM, SIGINT and whatever a cluster's launcher raises: a checkpoint, a true word, and the same result in the end."""

import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from functools import reduce
from importlib import import_module

import pytest

from tests.app import processes
from tests.app.disturbances import COMMON, SWEEP, TASKS, result_of
from tests.app.test_disturbances import peaceful


@dataclass(frozen=True)
class SignalAt:
    """Sends the process a signal in the middle of a function's n-th call; the call then takes its time."""

    place: str  # module:Class.function
    call: int
    number: int = signal.SIGTERM
    seconds: float = 0.05

    def __call__(self):
        module, _, path = self.place.partition(":")
        *parents, name = path.split(".")
        owner = reduce(getattr, parents, import_module(module))
        inner, count = getattr(owner, name), 0

        def outer(*arguments, **options):
            nonlocal count
            count += 1
            if count == self.call:
                sys.stdout.write(f"signal at {time.monotonic()}\n")
                os.kill(os.getpid(), self.number)
                time.sleep(self.seconds)
            return inner(*arguments, **options)

        setattr(owner, name, outer)


# Where it comes, and after which step the run goes on.
PLACES = {
    "sft": {
        "while the model is loaded": ("drpt.app.training:load_model", 1, 0),
        "before the first step": ("drpt.modules.evaluation:HeldOutEvaluation.measure", 1, 0),
        "in an evaluation": ("drpt.modules.evaluation:HeldOutEvaluation.measure", 2, 4),
        "in a step": ("drpt.modules.sft:_sample_losses", 6, 5),
        "in an update": ("torch.optim:AdamW.step", 5, 5),
        "while figures are written": ("drpt.modules.run_folder_logger:RunFolderLogger.log_metrics", 4, 3),
        "while a checkpoint is written": ("drpt.modules.checkpoint_files:save_durably", 1, 3),
        "in the last evaluation": ("drpt.modules.evaluation:HeldOutEvaluation.measure", 4, 10),
        "at the very end": ("drpt.app.training:summarize", 1, 10),
    },
    "rlhf": {
        "while the engine is built": ("drpt.tasks.policy.assembly:build_rollout", 1, 0),
        "in a rollout": ("drpt.rl.phase:RolloutPhases.run", 2, 6),
        "in the middle of a phase": ("drpt.rl.policy_loss:PolicyLoss.__call__", 5, 4),
        "in an evaluation": ("drpt.modules.rollout_evaluation:RolloutEvaluation.measure", 2, 3),
    },
    "reward": {"in a step": ("drpt.modules.reward_modeling:bradley_terry_losses", 20, None)},
    "rlvr": {"in a rollout": ("drpt.rl.phase:RolloutPhases.run", 2, 3)},
}
QUICK = {("sft", "in an evaluation"), ("rlhf", "in a rollout")}
CASES = [
    pytest.param(task, *case, id=f"{task}, {name}", marks=[] if (task, name) in QUICK else [pytest.mark.long])
    for task, places in PLACES.items()
    for name, case in places.items()
]


def summary_of(place):
    (path,) = place.glob(f"runs/{SWEEP}/*/summary.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(("task", "function", "call", "step"), CASES)
def test_a_run_that_is_told_to_stop_goes_on_where_it_was(task, function, call, step, tmp_path):
    number = signal.SIGTERM if call % 2 else signal.SIGINT
    words = ("train", *TASKS[task], *COMMON)
    status, text = processes.run(tmp_path, *words, prepare=SignalAt(function, call, number))
    assert time.monotonic() - float(re.search("signal at (.*)", text)[1]) < 30
    assert status == 128 + number, text
    assert "Traceback" not in text
    summary = summary_of(tmp_path)
    assert summary["status"] == "interrupted"
    if step is not None:
        where = f"after step {step}" if step else "from the beginning: no step was saved"
        assert f"stopped by {number.name}; `drpt resume runs/{SWEEP}`" in text
        assert text.strip().endswith(where), text
        assert summary["resumes_after_step"] == step
    status, text = processes.run(tmp_path, "resume", f"runs/{SWEEP}")
    assert status == 0, text
    if step:
        assert f"resumes after step {step}\n" in text
    peaceful(task)[0].assert_equal(result_of(tmp_path))


@dataclass(frozen=True)
class Requeued:
    """Listens as submitit does in a process of a cluster's job: SIGUSR2 ends it to be started again, SIGTERM is passed over."""

    inner: SignalAt

    def __call__(self):
        def leave(number, frame):
            sys.exit(144)

        signal.signal(signal.SIGUSR2, leave)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.stderr.write("Bypassing SIGTERM\n"))
        self.inner()


@pytest.mark.long
@pytest.mark.parametrize(
    ("place", "call", "step"),
    [("torch.optim:AdamW.step", 5, 5), ("drpt.modules.evaluation:HeldOutEvaluation.measure", 2, 4)],
)
def test_a_job_that_a_cluster_requeues_goes_on(place, call, step, tmp_path):
    words = ("train", *TASKS["sft"], *COMMON)
    both = SignalAt(place, call - 1, signal.SIGTERM), SignalAt(place, call, signal.SIGUSR2)
    status, text = processes.run(tmp_path, *words, prepare=Requeued(both[1]))
    assert status == 144, text
    assert f"after step {step}" in text
    assert summary_of(tmp_path)["status"] == "interrupted"
    status, text = processes.run(tmp_path, *words, prepare=Requeued(both[0]))
    assert status == 0, text
    assert f"resumes after step {step}\n" in text
    peaceful("sft")[0].assert_equal(result_of(tmp_path))


@pytest.mark.long
def test_the_other_jobs_of_a_sweep_are_not_started(tmp_path):
    words = ("train", "-m", *TASKS["sft"], *COMMON, "seed=0,1,2", "trainer.max_steps=4")
    first = SignalAt("torch.optim:AdamW.step", 6)
    status, text = processes.run(tmp_path, *words, prepare=first)
    assert status == 143, text
    statuses = [json.loads(path.read_text())["status"] for path in sorted(tmp_path.glob(f"runs/{SWEEP}/*/summary.json"))]
    assert sorted(statuses) == ["finished", "interrupted"]
    status, text = processes.run(tmp_path, "resume", f"runs/{SWEEP}")
    assert status == 0, text
    assert len(list(tmp_path.glob(f"runs/{SWEEP}/*/summary.json"))) == 3
    assert "resumes after step 2\n" in text
