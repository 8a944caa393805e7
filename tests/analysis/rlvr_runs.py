"""Folders of reinforcement learning runs as training leaves them, with figures of our choice."""

import json
import math
import random

import yaml

from drpt.analysis.run import summarize
from drpt.tasks.policy.rlvr_metrics import RLVR

STEPS, EVERY, PHASE = 40, 10, 4  # optimizer steps; between two evaluations; of one rollout phase


def rlvr_config(name, seed, strength=None):
    """The sections of a resolved configuration that tables and pages read."""
    return {
        "seed": seed,
        "sweep": "rl",
        "task": {"name": "rlvr"},
        "model": {"name": None, "source": "embedded"},
        "finetune": {"method": "lora"},
        "data": {
            "source": {"target": "chain_sum"},
            "num_target": 16,
            "num_eval": 64,
            "general_rows": 16,
            "target_rows": 4,
        },
        "algorithm": {
            "name": "grpo",
            "kl_coefficient": 0.001,
            "target": {"source": "prompts", "objective": "reward", "refresh_steps": 1},
        },
        "rollout": {"engine": "vllm", "dtype": "float32", "num_prompts": 8, "num_responses": 8, "max_tokens": 32},
        "reward": {"name": "reasoning", "terms": {"correct": {"weight": 1.0}, "format": {"weight": 0.1}}},
        "evaluation": {"num_generate": 48, "pass_k": 4},
        "trainer": {"max_steps": STEPS, "precision": "32-true"},
        "optimizer": {"lr": 1e-5},
        "regularizer": {"name": name, "strength": strength, "partition": "layer", "set": "subset", "score": "alignment"},
    }


def rlvr_metrics(reward, seed, has_kl=True):
    """Lines of a run whose held-out reward rises from 0.1, a little otherwise for every seed, to ``reward``."""
    draw = random.Random(seed)
    lines = []

    def log(step, **figures):
        lines.extend({"step": step, "name": name.replace("__", "/"), "value": value} for name, value in figures.items())

    for step in range(STEPS + 1):
        risen = 1 - math.exp(-4 * step / STEPS)
        now = reward if step == STEPS else 0.1 + 0.01 * seed + (reward - 0.1) * risen + (step > 0) * draw.uniform(-0.02, 0.02)
        if step and step % PHASE == 1:
            log(step, train__reward__mean=now - 0.05 + draw.uniform(-0.05, 0.05), train__reward__std=0.3)
            log(step, rollout__seconds__value=3.0, rollout__sync_seconds__value=0.5, rollout__mismatch__mean=1e-5)
            log(step, rollout__tokens_per_second__value=1000.0 + step, train__response_length__mean=12.0)
        if step:
            log(step, train__step_seconds__value=0.25, train__peak_memory_bytes__value=2e9, train__entropy__mean=0.5)
            if has_kl:  # target-only steps have no responses to general prompts
                log(step, train__kl__mean=0.002 * step, train__clip_fraction__mean=0.01, train__tokens__sum=160)
        if step % EVERY == 0:
            log(step, target__reward__mean=now, target__reward__stderr=0.03)
            log(step, target__accuracy__mean=0.8 * now if step else 0.08, target__accuracy__stderr=0.03)
            log(step, target__pass_at_k__mean=min(1.0, 1.4 * now), target__pass_at_k__stderr=0.03)
            log(step, target__response_length__mean=14.0 - 0.1 * step, evaluation__seconds__value=2.0)
    return lines


def verifier_outcomes(right):
    """What two terms of the reward found, in three phases: no right answer at first, a share of ``right`` at last."""
    records = []
    for step, share in ((1, 0.0), (17, right / 2), (37, right)):
        found = [("correct", "right", share), ("correct", "wrong", 0.75 - share), ("correct", "unreadable", 0.25)]
        found += [("format", "kept", 0.75), ("format", "broken", 0.25)]
        records += [
            {"step": step, "term": term, "outcome": outcome, "count": int(64 * part), "share": part}
            for term, outcome, part in found
            if part
        ]
    return records


def make_rlvr_run(folder, name, seed, reward, *, strength=None, has_outcomes=True):
    """A finished run's folder."""
    folder = folder / f"{name}-{strength}-{seed}"
    folder.mkdir(parents=True)
    lines = rlvr_metrics(reward, seed, has_kl=name != "target_only")
    samples = [
        {"prompt": f"{seed} + {i} =", "expected": str(seed + i), "answer": str(seed + i + i % 2), "is_correct": i % 2 == 0}
        | {"reward": 1.0 if i % 2 == 0 else 0.125}
        for i in range(8)
    ]
    summary = {"status": "finished", "label": name if strength is None else f"{name} λ={strength:g}"}
    summary |= {"steps": STEPS, "selected_step": STEPS} | summarize(lines, STEPS, RLVR)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(yaml.safe_dump(rlvr_config(name, seed, strength)))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "samples.json").write_text(json.dumps(samples))
    if has_outcomes:
        (folder / "outcomes.json").write_text(json.dumps(verifier_outcomes(reward / 2)))
    return folder


def make_rlvr_sweep(folder, points=None, seeds=(0, 1)):
    """A sweep of (regularizer, strength, reward) points, two if not told; seed s ends 0.04 s higher."""
    for name, strength, reward in points or (("target_only", None, 0.5), ("full", None, 0.6)):
        for seed in seeds:
            make_rlvr_run(folder, name, seed, reward + 0.04 * seed, strength=strength)
    return folder
