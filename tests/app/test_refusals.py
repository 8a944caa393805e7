"""What is refused at once: unknown options, values of another kind, choices that a task has no use for; a line each."""

import pytest
from rich.console import Console

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.prepare import prepare
from drpt.app.sweep import plan_sweep, read_sweep
from drpt.tasks.errors import ConfigError, NotForTaskError


def refusal(*words):
    with pytest.raises(ConfigError) as error:
        check_config(compose_run(["sweep=x", *words]))
    return str(error.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+foo=1", "There is no 'foo'. It has: sweep, runs_folder, seed, task, "),
        ("+callbacks=x", "There is no 'callbacks'. It has: sweep, "),
        ("++regularizer.strenght=0.1", "In regularizer there is no 'strenght'. Did you mean 'strength'? It has: name, set, "),
        ("+trainer.gradient_clip_val=1", "In trainer there is no 'gradient_clip_val'. Did you mean 'optimizer.clip_norm'? "),
        ("+trainer.lr=1", "In trainer there is no 'lr'. Did you mean 'optimizer.lr'? "),
        ("++data.sourc={a:1}", "In data there is no 'sourc'. Did you mean 'source'? "),
        ("+optimizer.lr.x=1", "+optimizer.lr.x=1: optimizer.lr is a single value and has no key 'x'."),
        ("+model@draft=tiny", "There is no 'model@draft'. Did you mean 'model'? "),
        ("+hydra.jobs=1", "+hydra.jobs=1: Hydra has no such option."),
        ("data.source.genral=x", "In data.source there is no 'genral'. Did you mean 'general'? It has: _target_, target, "),
        ("regularizer.sizes=3", "In regularizer there is no 'sizes'. It has: name, "),
        ("~trainer.retain_mib", "trainer.retain_mib is called trainer.activation_budget_mib now"),
        ("data.num_targt=3", "In data there is no 'num_targt'. Did you mean 'num_target'? "),
    ],
)
def test_unknown_options_are_refused_with_the_nearest_name(word, message):
    assert refusal(word).startswith(message)


def test_unknown_keys_of_a_section_of_an_algorithm_are_refused():
    assert refusal("task=rlhf", "+algorithm.kl.coeficient=1").startswith(
        "In algorithm.kl there is no 'coeficient'. Did you mean 'coefficient'?"
    )
    assert refusal("task=rlvr", "+algorithm.gae_lambda=1").startswith("In algorithm there is no 'gae_lambda'.")


def test_of_several_words_about_one_thing_the_last_counts():
    words = ["sweep=x", "regularizer=fulll", "seed=1"]
    assert "regularizer='fulll' is not known" in refusal(*words, "regularizer=mix")
    spec = check_config(
        compose_run(["sweep=x", "regularizer=full", "seed=1", "regularizer=mix", "reward=math", "~reward", "seed=2"])
    )
    assert (spec.regularizer.name, spec.seed, spec.reward) == ("mix", 2, None)


def test_new_keys_are_added_where_any_may_be():
    word = "data.source.target_options.min_terms=2"
    assert f"add it with a plus, +{word}" in refusal(word)
    source = check_config(compose_run(["sweep=x", f"+{word}", "data.source.target=chain_sum"])).data.source
    assert source["target_options"] == {"min_terms": 2}


def test_all_faults_are_in_one_report():
    words = ["data.num_targt=3", "+foo=1", "optimizer.betas=3", "full", "seed=1,2"]
    with pytest.raises(ConfigError) as error:
        compose_run(words)
    assert len(str(error.value).splitlines()) == 2  # of words that cannot be read; the rest cannot be told yet
    assert [line.split(" ")[0] for line in refusal(*words[:3]).splitlines()] == ["In", "optimizer.betas=3", "There"]


@pytest.mark.parametrize("value", ["0.5", "true", "3", "[a]", "{a:1}", "", "full,mix", "range(3)", "ä", "a=b", "full.yaml"])
@pytest.mark.parametrize("group", ["regularizer", "task", "reward"])
def test_what_is_no_choice_of_a_group_is_refused_with_the_choices(group, value):
    message = refusal(f"{group}={value}")
    assert message.splitlines()[0].lstrip('"').startswith(group)
    assert "Choices: " in message or "use drpt train -m" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=rlvr", "reward=null"], "reward=null: task=rlvr needs one. Choices: exact, "),
        (["task=rlvr", "~reward"], '"~reward": task=rlvr needs one. Choices: exact, '),
        (["task=rlhf", "rollout=null"], "rollout=null: task=rlhf needs one. Choices: transformers, vllm, "),
        (["experiment=demo_rlhf", "algorithm=null"], "algorithm=null: task=rlhf needs one. "),
        (["model=null"], "model=null: every run needs one. Choices: hub, "),
        (["~regularizer"], '"~regularizer": every run needs one. Choices: agem, '),
        (["task=null"], "task=null: every run needs one. Choices: reward, "),
        (["+model=tiny"], "+model=tiny: model is a group; write it without the plus."),
        (["full"], "full: write option=value, such as finetune=full or regularizer=full."),
        (["rollout.num_prompts=2"], "rollout.num_prompts: rollout is null here; task=rlhf or task=rlvr brings it."),
    ],
)
def test_what_is_needed_cannot_be_taken_away(words, message):
    assert refusal(*words).startswith(message)


@pytest.mark.parametrize("words", [["reward=null"], ["~rollout"], ["experiment=null"], ["algorithm=null", "reward=null"]])
def test_nothing_can_be_chosen_where_nothing_is_needed(words):
    assert check_config(compose_run(["sweep=x", *words])) == check_config(compose_run(["sweep=x"]))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.source=[]", '"data.source=[]" must be a mapping, {key: value}.'),
        ("data.source=[1]", '"data.source=[1]" must be a mapping, {key: value}.'),
        ("optimizer.betas=3", "optimizer.betas=3 must be a list of numbers, such as [0.5,1] or null."),
        ("optimizer.betas=[a,b]", '"optimizer.betas=[a,b]" must be a list of numbers, such as [0.5,1] or null.'),
        ("trainer.keep_steps=[1.5]", '"trainer.keep_steps=[1.5]" must be a list of whole numbers, such as [1,2].'),
        ("seed=1.5", "seed=1.5 must be a whole number."),
        ("seed=null", "seed=null must be a whole number."),
        ("seed=[1]", '"seed=[1]" must be a whole number.'),
        ("seed=", "seed= must be a whole number."),
        ("optimizer.lr=1e-3#", '"optimizer.lr=1e-3#" must be a number.'),
        ("optimizer.lr=true", "optimizer.lr=true must be a number."),
        ("data.packing=perhaps", "data.packing=perhaps must be true or false."),
        (
            "finetune.target_modules=q_proj",
            "finetune.target_modules=q_proj must be a list of texts, such as [one,two] or null.",
        ),
        ("logger.project=[a]", '"logger.project=[a]" must be a text.'),
        ("data.source=3", "data.source=3 must be a mapping, {_target_: "),
        ("optimizer.lr=inf", "optimizer.lr=inf must be finite: the highest learning rate."),
        (f"optimizer.lr={10**400}", f"optimizer.lr={10**400} is too large for a number."),
        (
            f"trainer.max_steps={10**20}",
            f"trainer.max_steps={10**20} is too large, more than 1e+18: optimizer steps of the run.",
        ),
        (f"seed={10**400}", "seed=1000000000… is too large, more than 1e+18: "),
        ("optimizer.weight_decay=nan", "optimizer.weight_decay=nan must be finite: "),
        ("regularizer.relaxation=nan", "regularizer.relaxation=nan must be finite: "),
        ("regularizer.strength={a:1}", "regularizer.strength={'a': 1} must be a number or auto."),
        ("optimizer.lr=${nope}", "'optimizer.lr=${nope}': there is no option 'nope' to refer to."),
        ("optimizer.lr=${data.name}", "'optimizer.lr=${data.name}' must be a number: it refers to 'reasoning'."),
        ("seed=${seed}", "'seed=${seed}' refers to itself."),
        ("sweep=a${b", "'sweep=a${b': a reference is written ${option}. If it is meant as text: "),
        (
            "logger.project=a${b}",
            "'logger.project=a${b}': there is no option 'b' to refer to. If it is meant as text: 'logger.project=a\\${b}'.",
        ),
        ("~optimizer.lr", '"~optimizer.lr": the option cannot be removed; give it another value.'),
        ("~optimizer.rate", '"~optimizer.rate": there is no option of this name to remove.'),
        ("+optimizer.lr=1", "+optimizer.lr=1: the option already exists; write it without the plus."),
        ("hydra.run.dir=x", "hydra.run.dir=x: use runs_folder=… and sweep=… to set where results go"),
        ("seed=range(3)", '"seed=range(3)" gives several values: use drpt train -m for a sweep.'),
    ],
)
def test_values_of_another_kind_are_refused_with_option_value_and_kind(word, message):
    text = refusal(word)
    assert text.startswith(message)
    assert "\n" not in text


def plan(*words):
    return plan_sweep(read_sweep(["sweep=x", *words]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=range(0)"], '"seed=range(0)" gives no value.'),
        (["seed=range(1,5,0)"], '"seed=range(1,5,0)": the step of a range must not be 0.'),
        (["seed=range(3,1)"], '"seed=range(3,1)" gives no value.'),
        (["optimizer.lr=interval(0,1)"], '"optimizer.lr=interval(0,1)": only sweepers that search take an interval. '),
        (["seed=range(0,1e9)"], '"seed=range(0,1e9)": the sweep would have more than 100,000 jobs'),
        (
            ["seed=range(0,400)", "data.split_seed=range(0,400)"],
            '"data.split_seed=range(0,400)": the sweep would have more than',
        ),
        (["seed=glob(*)"], '"seed=glob(*)": glob(…) lists the choices of a group, but seed is not a group.'),
        (["regularizer=glob(nothing*)"], '"regularizer=glob(nothing*)" matches none of the choices: agem, '),
        (["sweep=a,b"], "sweep=a,b: a sweep has one name."),
        (["hydra.verbose=true,false"], "hydra.verbose=true,false: Hydra's own configuration is the same for all jobs."),
        (["regularizer=full,fulll"], "regularizer='fulll' is not known. Did you mean 'full'? Choices: "),
        (["seed=1,x"], "seed=x must be a whole number."),
        (["data.num_targt=1,2"], "In data there is no 'num_targt'. Did you mean 'num_target'?"),
        (["task=rlvr", "reward=math,null"], "reward=math,null: task=rlvr needs one. Choices: "),
    ],
)
def test_sweeps_that_cannot_be_are_refused(words, message):
    with pytest.raises(ConfigError) as error:
        plan(*words)
    assert str(error.value).startswith(message)


# Choices that a task has no use for, and what brings a configuration in which it would have been ignored.
NOT_FOR_TASK = [
    (["regularizer=iif"], "regularizer"),
    (["task=reward", "regularizer=iif"], "regularizer"),
    (["model=sentence_encoder"], "model"),
    (["finetune=head"], "finetune"),
    (["task=reward", "model=tiny"], "model"),
    (["task=reward", "finetune=lora"], "finetune"),
    (["algorithm=grpo"], "algorithm"),
    (["task=reward", "reward=math"], "reward"),
]


@pytest.mark.parametrize(("words", "group"), NOT_FOR_TASK)
def test_choices_that_a_task_has_no_use_for_are_refused(words, group):
    with pytest.raises(NotForTaskError) as error:
        check_config(compose_run(["sweep=x", *words]))
    assert error.value.group == group
    assert "task=" in str(error.value)


def test_a_pattern_leaves_out_what_a_task_has_no_use_for_and_says_so():
    found = plan("regularizer=glob(*)")
    assert not any(name.startswith("iif") for name in found.names)
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith("regularizer=iif is left out: regularizer.choice_scope=phase ")
    both = plan("regularizer=glob([full,iif])", "task=sft,rlvr", "data=easy_reasoning")
    assert sorted(name.split("-")[0] for name in both.names) == ["full", "full", "iif"]
    with pytest.raises(ConfigError, match=r"^regularizer\.choice_scope=phase "):
        plan("regularizer=full,iif")
    with pytest.raises(ConfigError, match=r"No job is left\.$"):
        plan("regularizer=glob(iif)")


def test_a_pattern_over_data_is_planned_or_refused_in_words():
    found = plan("data/general=glob([reasoning,toxicity])")
    assert len(found.names) == 1
    assert found.left_out[0].startswith("data/general=toxicity is left out: ")
    for role in ("general", "target"):  # its choices are files among others, which need a path each
        with pytest.raises(ConfigError, match=rf"^data\.{role}\.source\.path is needed: add data\.{role}\.source\.path=…"):
            plan(f"data/{role}=glob(*)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer..lr=1"], 'optimizer..lr=1: there must be a name before and after every dot, as in "optimizer.lr=…".'),
        ([".lr=1"], ".lr=1: there must be a name before and after every dot"),
        (["größe=1"], "größe=1: there is no option 'größe': names consist of letters (a-z), digits"),
        (["optimizer.lr =1"], '"optimizer.lr =1": no space around the equals sign: optimizer.lr=1.'),
        (["seed=-1"], "seed=-1 must lie in [0, 2147483647]"),
        (["sweep=[a]"], '"sweep=[a]" must be a text.'),
        (["seed=${oc.env:NIX}"], "'seed=${oc.env:NIX}': there is no environment variable 'NIX'; set it, or give a default"),
        (["model.name=${model}"], "'model.name=${model}' refers to the section that contains it."),
        (["~regularizer=full"], '"~regularizer=full": write ~regularizer without a choice, or regularizer=… for another one.'),
    ],
)
def test_words_are_refused_in_ours(words, message):
    text = refusal(*words)
    assert text.startswith(message)
    assert "\n" not in text


def test_what_changes_nothing_is_refused():
    assert '"reward.terms={}" changes nothing: what is in braces is added to what is there. Take a key away by its name, ~' in (
        refusal("task=rlvr", "reward.terms={}")
    )
    assert '"data.source.general_options={}" changes nothing' in refusal(
        "data=easy_reasoning", "data.source.general_options={}"
    )
    spec = check_config(compose_run(["sweep=x", "data.source.target_options={}"]))
    assert spec.data.source["target_options"] == {}


@pytest.mark.parametrize("option", ["reward.terms.x", "reward.judges.y"])
def test_a_plus_is_asked_for_once(option):
    task = "task=rlvr"
    assert f"add it with a plus, +{option}=3" in refusal(task, f"{option}=3")
    for plus in ("+", "++"):
        assert refusal(task, f"{plus}{option}=3") == f"{plus}{option}=3 must be a mapping, {{key: value}}."
    assert "add it with a plus" in refusal("data.source.target_options={min_terms:2}")


@pytest.mark.parametrize("words", [["reward=null"], ["~reward"], ["algorithm=null", "rollout=null"]])
@pytest.mark.parametrize("tasks", ["task=sft,rlvr", "task=rlvr,sft", "task=sft,rlhf", "task=glob([sft,rl*])"])
def test_what_one_task_of_a_sweep_needs_cannot_be_taken_away(tasks, words):
    with pytest.raises(ConfigError, match=r"task=rl(vr|hf) needs one"):
        read_sweep(["sweep=x", tasks, *words])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "algorithm=null,grpo",
            "algorithm=null,grpo: null cannot be swept with other choices; task=… selects what each task needs.",
        ),
        ("regularizer=glob(layer*),full", 'write several patterns as a list, "regularizer=glob([layer*,full])".'),
        ("regularizer=full,glob(g*)", 'write several patterns as a list, "regularizer=glob([full,g*])".'),
        ("regularizer=interval(0,1)", "regularizer is a group; choose by name. Choices: agem, "),
    ],
)
def test_choices_of_a_sweep_are_names_or_one_pattern(word, message):
    with pytest.raises(ConfigError) as error:
        read_sweep(["sweep=x", "task=sft,rlvr", word])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra.searchpath=3", "write hydra.searchpath=[file:///a/folder/like/conf]."),
        ("hydra.searchpath=", "write hydra.searchpath=[file:///a/folder/like/conf]."),
        ("hydra.nix=1", "hydra.nix=1: Hydra has no such option."),
        ("hydra=1", "hydra is a section"),
        ("hydra.launcher=null", "hydra.launcher names no class: choose one by hydra/launcher=…"),
        ("hydra/launcher=null", "Hydra cannot use hydra/launcher=null"),
        ("hydra/launcher=slurm", "hydra/launcher='slurm' is not known. Choices: basic"),
        ("hydra.run=null", "Hydra cannot use hydra.run=null"),
        ("+hydra.sweeper.params={seed: 1}", "Hydra cannot use"),
        ("hydra.sweeper.params.seed=0", "Hydra cannot use hydra.sweeper.params.seed=0"),
    ],
)
def test_words_about_hydra_itself_are_refused_in_one_line(word, message):
    with pytest.raises(ConfigError) as error:
        prepare(["-m", "sweep=x", word], Console(stderr=True))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_search_path_may_be_a_large_folder(tmp_path):
    inner = tmp_path
    for number in range(30):
        (inner / "a").mkdir()
        (inner / "b").symlink_to(tmp_path if number == 0 else inner)
        inner /= "a"
    (tmp_path / "regularizer").mkdir()
    (tmp_path / "regularizer" / "mine.yaml").write_text("defaults: [mix]\n")
    words = [f"hydra.searchpath=[file://{tmp_path}]", "regularizer=mine"]
    assert check_config(compose_run(["sweep=x", *words])).regularizer.set == "ball"
