"""Every preset composes; every fault is named before anything heavy is imported."""

import re
import subprocess
import sys

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config, plain_config
from drpt.app.groups import choices
from drpt.app.paths import config_folder
from drpt.app.sweep import plan_sweep, read_sweep
from drpt.data.build_source import build_source
from drpt.run_identity import job_name
from drpt.tasks.errors import ConfigError

CHOICES = sorted(f"{group}={name}" for group, names in choices().items() for name in names)
# What a choice needs besides itself.
NEEDS = {
    "model=hub": ["model.name=some/model"],
    "data=jsonl": ["data.source.general=a.jsonl", "data.source.target=b.jsonl"],
    "data=jsonl_prompts": ["data.source.general=a.jsonl", "data.source.target=b.jsonl"],
    "data/general=jsonl": ["data.general.source.path=a.jsonl"],
    "data/general=jsonl_prompts": ["data.general.source.path=a.jsonl"],
    "data/general=preferences": ["data.general.source.path=a.jsonl"],
    "data/target=jsonl": ["data.target.source.path=a.jsonl"],
    "data/target=jsonl_prompts": ["data.target.source.path=a.jsonl"],
    "data/target=preferences": ["data.target.source.path=a.jsonl"],
    "data=preferences": ["data.source.general=a.jsonl", "data.source.target=b.jsonl"],
    "reward=learned": ["reward.terms.preference.path=runs/a/b/reward_model"],
    "optimizer=own": ["optimizer.name=torch.optim.SGD"],
    "rollout=vllm_server": ["rollout.url=http://127.0.0.1:8000"],
}
# Groups of tasks that draw responses.
ROLLOUT_GROUPS = {"algorithm", "reward", "rollout"}
# Choices of the task that learns a reward.
REWARD_CHOICES = {"finetune=head", "model=sentence_encoder"}


def test_there_are_presets():
    assert len(CHOICES) >= 20
    names = {choice.removeprefix("regularizer=") for choice in CHOICES if choice.startswith("regularizer=")}
    assert names >= {"target_only", "full", "mix", "random_subset", "global_subset", "layerwise_subset"}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_passes_its_rules(choice):
    group, _, name = choice.partition("=")
    task = (
        ["task=rlvr"]
        if group in ROLLOUT_GROUPS or choice == "regularizer=iif"
        else ["task=reward"]
        if choice in REWARD_CHOICES
        else []
    )
    spec = check_config(compose_run([*task, choice, "sweep=test", *NEEDS.get(choice, [])]))
    if group == "regularizer":
        assert spec.regularizer.name == name


def test_every_preset_has_a_first_line_that_explains_it():
    for path in config_folder().glob("*/*.yaml"):
        first = next(line for line in path.read_text().splitlines() if not line.startswith("# @package"))
        assert "#" in first, f"{path}: say in a comment on the first line what this is"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["regularizer=fulll"],
            r"regularizer='fulll' is not known\. Did you mean 'full'\? Choices: .*full, .*global_subset",
        ),
        (["regularizr=full"], r"There is no 'regularizr'\. Did you mean 'regularizer'\? It has: sweep"),
        (["data.num_targt=3"], r"In data there is no 'num_targt'\. Did you mean 'num_target'\? It has: name, source"),
        (["data.num_target=many"], r"^data\.num_target=many must be a whole number\.$"),
        (["regularizer"], r"write option=value"),
        (["model=hub"], r"model\.name=None: model=hub needs model\.name"),
        (["data=jsonl"], r"data\.source\.general is needed: add data\.source\.general=…"),
        (["regularizer=full", "regularizer.strength=0.5"], r"the set 'mean' has no strength"),
        (["data.general_rows=61", "data.num_general=60"], r"data\.general_rows=61 must be at most data\.num_general=60"),
        (["evaluation.num_generate=999"], r"evaluation\.num_generate=999 must be at most data\.num_eval=128"),
        (["trainer.precision=16-mixed"], r"trainer\.precision='16-mixed' is not known.*bf16-mixed"),
        (["trainer.score_check_steps=0"], r"trainer\.score_check_steps=0 must be at least 1: .*null = never"),
        (["finetune=full", "finetune.rank=8"], r"finetune\.rank belongs to finetune=lora"),
        (["finetune.rank=0"], r"finetune\.rank=0 must be at least 1"),
        (
            ["regularizer.choice_scope=micro", "trainer.micro_batches=3"],
            r"data\.general_rows=8 must split into whole micro-batches of trainer\.micro_batches=3",
        ),
        (["trainer.micro_batches=20"], r"trainer\.micro_batches=20 is more than the step's 9 examples"),
        (
            ["regularizer.parameters=linear_weight"],
            r"regularizer\.parameters='linear_weight' is not known\. Did you mean 'linear_weights'",
        ),
        (["regularizer.products=sketch", "sketch.kind=gauss"], r"sketch\.kind='gauss' is not known"),
        (["sketch.left_width=0"], r"sketch\.left_width=0 must be at least 1"),
        (
            ["regularizer=target_only_stopped", "regularizer.stopping_share=0.99"],
            r"regularizer\.stopping_share=0\.99 of data\.num_target=16 holds out 16",
        ),
        (["regularizer.name=two words"], r"regularizer\.name='two words' must be one word"),
        (["sweep=a/b"], r"sweep='a/b' must be a folder's name"),
        (["seed=-1"], r"seed=-1 must lie in \[0, "),
        (["logger.mode=onlin"], r"logger\.mode='onlin'.*Did you mean 'online'"),
    ],
)
def test_bad_options_are_explained(overrides, message):
    sweep = [] if any(word.startswith("sweep=") for word in overrides) else ["sweep=test"]
    with pytest.raises(ConfigError, match=message):
        check_config(compose_run([*overrides, *sweep]))


def test_all_faults_are_in_one_report():
    with pytest.raises(ConfigError) as error:
        check_config(compose_run(["sweep=test", "regularizer.strength=7", "data.num_eval=0", "optimizer.lr=-1"]))
    assert [line.split("=")[0] for line in str(error.value).splitlines()] == [
        "data.num_eval",
        "regularizer.strength",
        "optimizer.lr",
    ]


def test_a_run_is_known_by_what_can_change_its_result():
    def name(*overrides):
        return job_name(plain_config(compose_run(["sweep=test", *overrides])))

    assert re.fullmatch(r"layerwise_subset-0\.5-seed0-[0-9a-f]{10}", name())
    assert name() == name("sweep=other", "logger=off", "runs_folder=elsewhere")
    assert name() == name("trainer.score_check_steps=null") == name("trainer.score_check_steps=1")
    assert name() != name("optimizer.lr=1e-3")
    assert name("seed=1").startswith("layerwise_subset-0.5-seed1-")
    assert name("regularizer.relaxation=0.25").startswith("layerwise_subset-0.5-rho0.25-seed0-")


def plan(*overrides):
    return plan_sweep(read_sweep(["sweep=test", *overrides]))


def test_strengths_swept_over_sets_without_one_are_one_job():
    found = plan("regularizer=full,target_only,mix", "regularizer.strength=0.25,0.5,1")
    assert (found.num_jobs, len(found.names), found.num_duplicates) == (9, 5, 4)


def test_demo_is_eleven_jobs():
    found = plan_sweep(read_sweep(["experiment=demo"]))
    assert (found.num_jobs, len(found.names)) == (14, 11)


def test_sources_are_tried_before_the_first_job():
    with pytest.raises(ConfigError, match=r"data\.source\.target='chain_sums' is not known\. Did you mean 'chain_sum'"):
        plan("data.source.target=gcd,chain_sums", "data.source.general=[lcm]")


def test_only_sources_are_called():
    with pytest.raises(ValueError, match=r"data\.source\._target_=os\.system: not a class with the methods"):
        build_source({"_target_": "os.system", "command": "true"})
    with pytest.raises(ValueError, match=r"data\.source\.famly is not known.*Choices: target, "):
        build_source({"_target_": "drpt.data.reasoning.ReasoningSource", "famly": "gcd"})


def test_glob_and_range_are_known():
    assert len(plan("regularizer=glob([*_subset],exclude=[*exact*])", "seed=range(3)").names) == 9
    presets = [name for name in choices()["regularizer"] if name != "iif"]  # of tasks with rollouts
    assert plan("regularizer=glob(*)", "regularizer.strength=0.125,1").num_jobs == 2 * len(presets)


def test_every_job_of_a_sweep_is_checked_first():
    with pytest.raises(ConfigError, match=r"regularizer\.strength=3\.0 must lie in \[0, 1\] for the set 'ball'"):
        plan("regularizer=full,mix", "regularizer.strength=0.5,3")
    with pytest.raises(ConfigError, match=r"regularizer='fulll' is not known"):
        plan("regularizer=full,fulll")


def test_checking_imports_nothing_heavy():
    """This, not a stopwatch, is what keeps a typing error a matter of a second."""
    code = (
        "import sys\n"
        "from drpt.app.cli import main\n"
        "try:\n    main(['train', 'regularizer=fulll'])\nexcept SystemExit as stop:\n    assert stop.code == 2, stop.code\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "heavy = {'torch', 'transformers', 'lightning', 'wandb', 'pandas', 'plotly', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_configuration_is_found_inside_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "drpt"
    (package / "conf").mkdir(parents=True)
    (package / "conf" / "train.yaml").touch()
    monkeypatch.setattr("drpt.__file__", str(package / "__init__.py"))
    assert config_folder() == package / "conf"
    (package / "conf" / "train.yaml").unlink()
    with pytest.raises(FileNotFoundError, match="installation is incomplete"):
        config_folder()
