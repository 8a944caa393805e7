"""A planned sweep is what composing every job by Hydra gives: the same names, specifications and faults, without the time."""

import itertools
import random
import time

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from drpt.app.axes import job_words, read_axes
from drpt.app.build_plugins import build_plugins
from drpt.app.compose import compose_run
from drpt.app.config import check_config, drop_unused_strength, plain_config, register
from drpt.app.paths import config_folder
from drpt.app.planning_progress import watched
from drpt.app.sweep import plan_sweep, read_sweep
from drpt.run_identity import job_name
from drpt.tasks.errors import ConfigError, NotForTaskError


def composed_by_hydra(words):
    """One job, from the definition."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", list(words))
    OmegaConf.set_struct(config, False)
    return drop_unused_strength(config)


def slowly(texts):
    """Names and specifications of the distinct jobs of a sweep, and the faults of all."""
    axes = read_axes(read_sweep(texts))
    specs, faults = {}, {}
    for job in itertools.product(*(axis.values for axis in axes)):
        words = job_words(job)
        try:
            config = composed_by_hydra(words)
        except HydraException:  # said in our words
            with pytest.raises(ConfigError) as refused:
                compose_run(words)
            faults |= dict.fromkeys(str(refused.value).splitlines())
            continue
        try:
            spec = check_config(config)
            build_plugins(spec)
        except NotForTaskError as error:
            if not any(value.is_glob and value.typed.key == error.group for value in job):
                faults[str(error)] = None
        except ValueError as error:
            faults |= dict.fromkeys(str(error).splitlines())
        else:
            specs.setdefault(job_name(plain_config(config)), spec)
    return specs, list(faults)


# Words of a sweep that may go together, by task.
CHOICES = {
    "": ["regularizer=full,mix", "regularizer=glob([*hull,iif])", "finetune=lora,full", "sketch=glob([g*,s*])"],
    "task=rlvr": ["algorithm=grpo,dapo", "reward=math,exact", "rollout=transformers,vllm", "regularizer=iif,full"],
    "task=rlhf": ["regularizer=global_filter,full", "rollout=vllm,transformers"],
    "task=reward": ["regularizer=mix,layerwise_filter", "data=on_topic_preferences"],
    "task=sft,rlvr": ["data=easy_reasoning", "regularizer=full,mix"],
}
VALUES = [
    *("seed=range(2)", "seed=1,2", "regularizer.strength=0.25,0.5", "regularizer.relaxation=0,0.5", "sketch.seed=1,2"),
    *("optimizer.lr=1e-3,1e-4", "optimizer.lr=${finetune.default_lr},2e-4", "finetune.default_lr=1e-5,1e-6"),
    *(
        "data.num_target=16,24",
        "data.general_rows=4,8",
        "data.max_length=128,256",
        "trainer.max_steps=5,50",
        "model.revision=null",
    ),
    *("optimizer.betas=[0.9,0.99],[0.8,0.95]", "trainer.keep_steps=[],[1,2]", "logger.project=1e3,a b,größe"),
    *("data.source.system=a,${data.name}", "+data.source.target_options={},{}", "evaluation={num_generate:8},{every_steps:9}"),
]
FAULTS = [
    *("evaluation.num_generate=8,500", "seed=-1,1", "optimizer.lr=1e-3,nan", "seed=1,x", "regularizer.strength=0.5,null"),
    *("data.source.target=chain_sum,gcd", "trainer.micro_batches=1,20", "regularizer.step_size=${optimizer.lr},null"),
    *("+data.source.target_options.min_terms=2,3", "optimizer.lr=${nope},1e-3", "data.packing=1,2", "+foo=1,2"),
]


def sweeps(count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        task = draw.choice(list(CHOICES))
        words = [
            *([task] if task else []),
            *draw.sample(CHOICES[task], draw.randint(0, 1)),
            *draw.sample(VALUES, draw.randint(1, 2)),
        ]
        if draw.random() < 0.3:
            words.append(draw.choice(FAULTS))
        draw.shuffle(words)
        yield ["sweep=x", *words]


def check_sweep(texts):
    try:
        read_axes(read_sweep(texts))
    except ConfigError:  # such as a choice given twice: there is nothing to be planned
        return False
    specs, faults = slowly(texts)
    try:
        plan = plan_sweep(read_sweep(texts))
    except ConfigError as error:
        found = str(error).splitlines()
        assert faults or found[-1] == "No job is left."
        # Values are tried one by one first, and what is found then ends it; the plan may not find what is not there.
        assert not faults or set(found) <= set(faults)
        return False
    assert not faults
    assert dict(plan.specs) == specs
    assert list(plan.specs) == list(specs)
    for name, words in plan.words.items():
        assert job_name(plain_config(composed_by_hydra(words))) == name
    return True


def test_a_plan_is_what_hydra_composes():
    assert sum(check_sweep(texts) for texts in sweeps(4, seed=0)) >= 1


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_plans_are_what_hydra_composes(seed):
    assert sum(check_sweep(texts) for texts in sweeps(20, seed)) >= 5


def test_values_that_depend_on_each_other_are_read_again():
    plan = plan_sweep(read_sweep(["sweep=x", "finetune.default_lr=1e-5,1e-6", "regularizer=global_greats", "seed=1,2"]))
    assert [(spec.optimizer.lr, spec.regularizer.step_size) for spec in plan.specs.values()] == [(1e-5, 1e-5)] * 2 + [
        (1e-6, 1e-6)
    ] * 2
    plan = plan_sweep(
        read_sweep(["sweep=x", "finetune.adapter=null", "finetune.rank=4,${finetune.default_lr}", "seed=1,2"][:2])
    )
    assert len(plan.specs) == 1


def test_two_thousand_jobs_are_planned_in_seconds():
    """On a busy machine; on an idle core it is a quarter of that."""
    words = ["sweep=x", "regularizer=full,mix,layerwise_hull,gem", "regularizer.relaxation=range(0,1,0.1)", "seed=range(50)"]
    start = time.process_time()
    plan = plan_sweep(read_sweep(words))
    assert plan.num_jobs == 2000
    assert time.process_time() - start < 20


def test_a_bad_value_is_found_before_all_combinations_are_looked_at():
    looked_at = []

    def watch(jobs, total):
        looked_at.append(total)
        return jobs

    with pytest.raises(ConfigError, match=r"^optimizer\.lr=-1\.0 must be more than 0"):
        plan_sweep(read_sweep(["sweep=x", "seed=range(500)", "optimizer.lr=1e-3,-1"]), watch=watch)
    assert looked_at == []


def test_progress_is_shown_once_it_takes_long():
    class Console:
        is_terminal = False

        def __init__(self):
            self.lines = []

        def print(self, line):
            self.lines.append(line)

    times = iter(range(100))
    console = Console()
    assert list(watched(range(40), 40, console=console, now=lambda: next(times))) == list(range(40))
    assert console.lines[:2] == ["checked 1 of 40 jobs", "checked 3 of 40 jobs"]
    console = Console()
    assert list(watched(range(7), 7, console=console, now=lambda: 0.0)) == list(range(7))
    assert console.lines == []
