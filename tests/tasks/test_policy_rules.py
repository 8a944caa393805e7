"""What binds the sections of reinforcement learning together, and that other tasks have none of them."""

import re

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.tasks.errors import ConfigError
from drpt.tasks.policy.rules import rollout_warnings

RECOMPUTED = r"Set algorithm\.old_logprobs=trainer, which computes them again"


def check(*words):
    return check_config(compose_run([*words, "sweep=test"]))


def test_the_task_brings_its_groups():
    spec = check("task=rlvr")
    assert (spec.algorithm.name, spec.rollout.engine, spec.reward.name) == ("grpo", "vllm", "math")
    assert spec.evaluation.max_new_tokens == spec.rollout.max_tokens
    supervised = check("task=sft")
    assert supervised.algorithm is supervised.rollout is supervised.reward is None


@pytest.mark.parametrize("group", ["algorithm", "rollout", "reward"])
def test_a_task_that_draws_responses_needs_its_groups(group):
    with pytest.raises(ConfigError, match=rf'^"~{group}": task=rlvr needs one\. Choices: '):
        check("task=rlvr", f"~{group}", "evaluation.max_new_tokens=32")


@pytest.mark.parametrize("choice", ["algorithm=dapo", "rollout=transformers", "reward=math"])
def test_a_task_without_responses_refuses_the_groups(choice):
    group = choice.partition("=")[0]
    with pytest.raises(
        ConfigError, match=rf"^{group} goes with a task that draws responses, such as task=rlvr or task=rlhf; task=sft has"
    ):
        check(choice)


def test_a_task_without_responses_has_no_pass_at_k():
    with pytest.raises(ConfigError, match=r"^evaluation\.pass_k=4 goes with a task that draws responses; leave it null"):
        check("evaluation.pass_k=4")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.general_rows=12"], r"^data\.general_rows=12 must divide the phase's 64 responses \(rollout\.num_prompts=8 × "),
        (["data.general_rows=128"], r"^data\.general_rows=128 must divide the phase's 64 responses"),
        (["data.num_general=4", "data.general_rows=4"], r"^rollout\.num_prompts=8 must be at most data\.num_general=4"),
        (["data.max_length=39"], r"^data\.max_length=39 holds prompt and response: with rollout\.max_tokens=32 it leaves"),
        (
            ["rollout.top_p=0.9"],
            rf"^rollout\.top_p=0\.9, rollout\.top_k=0: .*truncated distribution.*{RECOMPUTED}.*top_p=1 and",
        ),
        (["rollout.top_k=50"], rf"^rollout\.top_p=1, rollout\.top_k=50: .*truncated distribution.*{RECOMPUTED}"),
        (["rollout.dtype=bfloat16"], rf"^rollout\.dtype=bfloat16, trainer\.precision=32-true: .*float32 alone\. {RECOMPUTED}"),
        (["trainer.precision=bf16-mixed"], rf"trainer\.precision=bf16-mixed: .*float32 alone\. {RECOMPUTED}"),
        (["finetune.dropout=0.1"], r"^finetune\.dropout=0\.1: with dropout the policy that is trained is not .* Set it to 0"),
        (["rollout.num_responses=1"], r"^rollout\.num_responses=1: .*compared with each other; give at least 2"),
        (["evaluation.pass_k=null"], r"^evaluation\.pass_k=null: give the number of responses drawn for each held-out prompt"),
        (["evaluation.num_generate=0"], r"^evaluation\.num_generate=0: rewards are measured on held-out prompts"),
        (["regularizer.strength=auto"], r"^regularizer\.strength=auto and relaxation=auto look at the spread.*Give numbers"),
        (["regularizer.relaxation=auto"], r"^regularizer\.strength=auto and relaxation=auto look at the spread"),
        (["data.packing=true"], r"^data\.packing=true goes with task=sft alone"),
    ],
)
def test_values_that_do_not_go_together_are_explained(words, message):
    with pytest.raises(ConfigError, match=message):
        check("task=rlvr", *words)


@pytest.mark.parametrize(
    "words",
    [
        ["rollout.top_p=0.9", "algorithm.old_logprobs=trainer"],
        [
            "rollout.dtype=bfloat16",
            "trainer.precision=bf16-mixed",
            "algorithm.old_logprobs=trainer",
            "algorithm.importance_cap=2",
        ],
        ["data.general_rows=64"],
        ["data.num_general=8", "data.general_rows=8"],
        ["data.max_length=40"],
        ["rollout.num_responses=2"],
    ],
)
def test_values_at_the_edge_of_the_rules_pass(words):
    assert check("task=rlvr", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["regularizer=target_only", "algorithm.target.objective=token_pg"],
            r"^algorithm\.target\.objective=token_pg: its advantages come from the value function, which a regularizer without",
        ),
        (
            ["algorithm.target.source=prompts", "data.target_rows=1"],
            r"^data\.target_rows=1, rollout\.num_responses=1: .*needs at least 2 of them",
        ),
        (
            ["regularizer=pcgrad", "regularizer.choice_scope=phase"],
            r"which the set 'pcgrad' does not say .*Take one of subset, greedy_greats, greedy_euclidean, filter, or "
            r"choice_scope=step",
        ),
    ],
)
def test_what_ppo_cannot_do(words, message):
    with pytest.raises(ConfigError, match=message):
        check("task=rlhf", *words)


GROUPS = {"algorithm.epochs": 2, "rollout.num_prompts": 2, "reward.name": "mine"}


@pytest.mark.parametrize(("key", "value"), GROUPS.items())
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_key_of_a_group_that_is_null_names_what_brings_the_group(plus, key, value):
    group = key.partition(".")[0]
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: {group} is null here; task=rlhf or task=rlvr brings it\.$"):
        compose_run([f"{plus}{key}={value}"])
    assert compose_run(["task=rlvr", f"{key}={value}"])


def test_keys_of_several_null_groups_are_in_one_report():
    with pytest.raises(ConfigError) as error:
        compose_run([f"{key}={value}" for key, value in GROUPS.items()])
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == list(GROUPS)
    with pytest.raises(ConfigError, match=r"^rollout\.num_prompts: rollout is null here"):
        compose_run(["reward=exact", "reward.name=mine", "rollout.num_prompts=2"])


def test_a_group_that_a_task_needs_cannot_be_null():
    with pytest.raises(ConfigError, match=r"^rollout=null: task=rlvr needs one\. Choices: transformers, vllm, vllm_server\.$"):
        compose_run(["task=rlvr", "rollout=null", "rollout.num_prompts=2"])
    with pytest.raises(ConfigError, match=r"^rollout\.num_prompts: rollout is null here"):
        compose_run(["rollout=null", "rollout.num_prompts=2"])


PHASE = ("task=rlhf", "rollout.num_prompts=64", "rollout.num_responses=1", "data.general_rows=16", "algorithm.epochs=2")


def test_an_adaptive_divergence_that_cannot_move_is_said_with_a_horizon_that_can():
    (line,) = rollout_warnings(check(*PHASE, "algorithm.kl.horizon=10000", "trainer.max_steps=40"))
    assert line.startswith(
        "algorithm.kl.horizon=10000: with 64 responses a phase the adaptive coefficient moves by 0.13% a phase at most, in the "
        "5 phases of this run (trainer.max_steps=40, 8 steps a phase) by 0.5%. With algorithm.kl.horizon="
    )
    horizon = re.search(r"With (algorithm\.kl\.horizon=[\d.]+) it could double", line)[1]
    assert rollout_warnings(check(*PHASE, horizon, "trainer.max_steps=40")) == []


@pytest.mark.parametrize(
    "words",
    [
        (*PHASE, "algorithm.kl.horizon=10000", "trainer.max_steps=8000"),  # a thousand phases
        (*PHASE, "algorithm.kl.control=fixed", "trainer.max_steps=40"),
        ("task=rlvr",),
        ("task=sft",),
    ],
)
def test_what_can_move_or_is_fixed_is_not_warned_of(words):
    assert rollout_warnings(check(*words)) == []


def test_one_phase_alone_cannot_move_a_coefficient():
    (line,) = rollout_warnings(check(*PHASE, "trainer.max_steps=8"))
    assert "in the 1 phase of this run" in line
    assert "Train for more steps, or say what it is: algorithm.kl.control=fixed." in line


def test_every_suggested_horizon_is_allowed_and_moves():
    for steps in (16, 24, 80, 800):
        for line in rollout_warnings(check(*PHASE, "algorithm.kl.horizon=1e6", f"trainer.max_steps={steps}")):
            horizon = re.search(r"With (algorithm\.kl\.horizon=[\d.e+]+) it could double", line)[1]
            assert rollout_warnings(check(*PHASE, horizon, f"trainer.max_steps={steps}")) == []
