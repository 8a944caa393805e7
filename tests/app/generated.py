"""Random commands of `drpt train`: right and wrong words of every kind, drawn by a seed."""

import random
from collections.abc import Iterator

from drpt.app.groups import choices
from drpt.app.options import all_options, kind_of_option
from drpt.kinds import item_kind, takes_text
from tests.app.conftest import TINY

# The smallest runs: two steps of each task on the tiny model.
COMMON = (
    *("logger=off", "trainer.max_steps=2", "trainer.checkpoint_every_steps=2", "evaluation.every_steps=2", "data.num_eval=2"),
    *("evaluation.max_new_tokens=2", "evaluation.batch_rows=4", "data.num_target=4", "sweep=s"),
    "trainer.check_capture=false",
)
SUMS = tuple(word for word in TINY if word.startswith(("data.source", "+data.source")))
DRAWN = (
    *("model=tiny", "rollout=transformers", "rollout.max_tokens=8", "data.max_length=256", "evaluation.num_generate=2"),
    # In which even a random model's answers differ.
    *("evaluation.pass_k=2", "+reward.terms.letters={_target_: tests.app.rewards.ManyLetters, weight: 1.0, threshold: 0.4}"),
)
BASES = {
    "sft": (
        "model=tiny",
        *SUMS,
        "data.num_general=12",
        "data.general_rows=4",
        "data.target_rows=2",
        "evaluation.num_generate=0",
    ),
    "reward": ("task=reward", "data.general_rows=4", "data.target_rows=2", "data.num_general=12"),
    "rlvr": (
        *("task=rlvr", *DRAWN, "data.num_general=8", "rollout.num_prompts=2", "rollout.num_responses=2", "data.general_rows=4"),
        "data.target_rows=2",
    ),
    "rlhf": (
        *("task=rlhf", *DRAWN, "data.num_general=8", "rollout.num_prompts=4", "data.general_rows=4", "data.target_rows=2"),
        "reward=positive",
    ),
}
# Words that may be added to a run that trains: one of each line.
TRAINING = {
    "": (
        *(
            "seed=1",
            "seed=7",
            "optimizer.lr=1e-3",
            "optimizer.schedule=cosine",
            "optimizer.clip_norm=0.5",
            "regularizer.relaxation=0.25",
        ),
        *("optimizer.betas=[0.8,0.95]", "optimizer.weight_decay=0.1", "optimizer.warmup_share=0.5", "trainer.keep_steps=[1]"),
        *("trainer.score_check_steps=null", "data.split_seed=3", "regularizer.products=sketch", "regularizer.products=direct"),
        *("trainer.check_capture=true", "regularizer.partition=block", "logger.project=1e3", "data.num_target=8"),
    ),
    "sft": (
        *(
            "finetune=full",
            "finetune.rank=2",
            "finetune.dropout=0.0",
            "trainer.precision=bf16-mixed",
            "trainer.micro_batches=2",
        ),
        *(
            "regularizer.base_weights=example",
            "data.packing=true",
            "model.gradient_checkpointing=true",
            "evaluation.num_generate=2",
        ),
        *("data/general=reasoning", "data/target=reasoning data.target.source.families=[gcd]", "data.near_duplicates=null"),
        *(
            "data/general=mixture +data.general.source.parts.a={weight:2,families:[gcd]} "
            "+data.general.source.parts.b={weight:1,families:[lcm,chain_sum]}",
        ),
        *(
            "trainer.activation_budget_mib=0",
            "data.max_length=128",
            "finetune.target_modules=[q_proj]",
            "regularizer.parameters=linear_weights",
        ),
    ),
    "reward": ("data.source.target=science data.source.general=[ai,food]", "data.max_length=32"),
    "rlvr": (
        *("algorithm=dapo", "algorithm=dr_grpo", "algorithm.target.source=self", "reward=exact", "algorithm.advantage=rloo"),
        *("algorithm.target.objective=token_pg", "algorithm.kl_coefficient=0", "rollout.temperature=0.7", "finetune.rank=2"),
    ),
    "rlhf": (
        *(
            "algorithm.epochs=2",
            "algorithm.kl.control=fixed",
            "algorithm.target.objective=train_loss",
            "algorithm.score.clip=1.0",
        ),
        *("algorithm.whiten_rewards=true", "algorithm.kl.coefficient=0.1", "finetune.rank=2"),
    ),
}
NUMBERS = (
    "0",
    "1",
    "2",
    "3",
    "8",
    "16",
    "0.1",
    "0.5",
    "1.0",
    "1e-3",
    "2.5",
    "100",
    "1e-30",
    "1e30",
    "-1",
    "-0.5",
    "nan",
    "inf",
)
TEXTS = (
    "auto",
    "full",
    "own",
    "a b",
    "größe",
    "~/x",
    "a=b",
    "it's",
    "1e3",
    "true",
    "${seed}",
    "${nope}",
    "${",
    "x,y",
    "[x",
    "a#b",
    "",
)
ABOUT_HYDRA = (
    *("hydra=1", "hydra.nix=1", "+hydra.nix=1", "hydra.run=null", "hydra.launcher=null", "hydra/launcher=null"),
    *("hydra/launcher=slurm", "hydra/sweeper=basic", "hydra.searchpath=3", "hydra.searchpath=[1]", "hydra.job.name=x"),
    *("hydra.sweeper.params.seed=1", "+hydra.sweeper.params={seed: 1}", "hydra.verbose=true", "hydra.mode=RUN"),
)
OTHERS = ("null", "[]", "[1,2]", "[a]", "{}", "{a:1}", "true", "false", "range(3)", "glob(*)", "interval(0,1)", "f(x)", "'1'")


def commands(count: int, seed: int) -> Iterator[list[str]]:
    """Words after `drpt train`; nothing is said of whether they are right."""
    draw = random.Random(seed)
    for _ in range(count):
        yield _command(draw)


def trainable(count: int, seed: int) -> Iterator[list[str]]:
    """Words that may go together and train two steps on the tiny model; some may be refused, since two do not fit."""
    draw = random.Random(seed)
    for number in range(count):
        task = draw.choices(list(BASES), weights=(12, 4, 1, 1))[0]
        names = [name for name in choices()["regularizer"] if name != "target_only_stopped" or task == "sft"]
        words = [*COMMON, *BASES[task], f"regularizer={names[(number + draw.randrange(2)) % len(names)]}"]
        for pool in (TRAINING[""], TRAINING[task]):
            words += [part for word in draw.sample(pool, draw.randint(0, 2)) for part in word.split(" ")]
        yield list({word.lstrip("+").partition("=")[0]: word for word in words}.values())


def _right(draw: random.Random) -> list[str]:
    """Words that are right by themselves."""
    task = draw.choice(list(BASES))
    words = [f"task={task}"] if task != "sft" or draw.random() < 0.3 else []
    if draw.random() < 0.7:
        words.append(f"regularizer={draw.choice(choices()['regularizer'])}")
    for pool in (TRAINING[""], TRAINING[task]):
        words += [part for word in draw.sample(pool, draw.randint(0, 1)) for part in word.split(" ")]
    if draw.random() < 0.3:
        swept = (
            "seed=range(3)",
            "optimizer.lr=1e-3,1e-4",
            "regularizer=full,mix",
            "regularizer=glob(g*)",
            "data.split_seed=1,2",
        )
        words = ["-m", *words, draw.choice(swept)]
    return list({word.partition("=")[0]: word for word in words}.values())


def _command(draw: random.Random) -> list[str]:
    if draw.random() < 0.3:
        return _right(draw)
    words = [f"task={draw.choice(['rlvr', 'rlhf', 'reward', 'sft'])}"] if draw.random() < 0.5 else []
    for _ in range(draw.choices((0, 1, 2), weights=(3, 5, 2))[0]):
        words.append(_choice(draw))
    for _ in range(draw.randint(0 if words else 1, 4)):
        words.append(_value(draw))
    if draw.random() < 0.06:
        words.append(draw.choice(["full", "=", "seed", "~", "+", "a b=c", "ä=1", "--fast", "seed==1", "++", "run=x"]))
    if draw.random() < 0.06:
        words.append(draw.choice(ABOUT_HYDRA))
    if draw.random() < 0.25:
        words = ["-m", *words]
        for _ in range(draw.randint(1, 2)):
            words.append(_sweep(draw))
    return words


def _choice(draw: random.Random) -> str:
    group = draw.choice(list(choices()))
    names = choices()[group]
    kind = draw.random()
    if kind < 0.7:
        return f"{group}={draw.choice(names)}"
    if kind < 0.8:
        return f"{group}={_misspelt(draw, draw.choice(names))}"
    if kind < 0.9:
        return f"{group}={draw.choice((*NUMBERS, *OTHERS, *TEXTS))}"
    return draw.choice([f"~{group}", f"+{group}={names[0]}", f"{group}=null", f"{group}.yaml=1", f"{group}@x={names[0]}"])


def _option(draw: random.Random) -> str:
    special = (
        *(
            "data.source.target",
            "data.source.general",
            "data.source.system",
            "data.source._target_",
            "data.source.target_options.a",
            "data.general.source.path",
            "data.general.source.parts.a",
            "data.target.source.families",
            "data.target.source.columns.prompt",
        ),
        *("reward.terms.correct.weight", "reward.terms.x._target_", "reward.judges.x.weight", "hydra.verbose", "hydra.run.dir"),
    )
    return draw.choice((*all_options(), *all_options(), *special))


def _value(draw: random.Random) -> str:
    option = _option(draw)
    if draw.random() < 0.1:
        option = _misspelt(draw, option)
    prefix = draw.choices(("", "+", "++", "~"), weights=(85, 6, 6, 3))[0]
    return f"{prefix}{option}" if prefix == "~" and draw.random() < 0.7 else f"{prefix}{option}={_fitting(draw, option)}"


def _fitting(draw: random.Random, option: str) -> str:
    """More often than not a value of the option's kind."""
    kind = kind_of_option(option, {})
    if draw.random() < 0.35:
        return draw.choice((*NUMBERS, *TEXTS, *OTHERS))
    if takes_text(kind):
        return draw.choice(TEXTS)
    if item_kind(kind) is not None:
        return draw.choice(("[]", "[1]", "[0.9,0.999]", "[1,2]", "[a]", "null"))
    if bool in kind.members:
        return draw.choice(("true", "false", "1", "maybe"))
    return draw.choice(NUMBERS)


def _sweep(draw: random.Random) -> str:
    if draw.random() < 0.4:
        group = draw.choice(list(choices()))
        names = draw.sample(choices()[group], min(2, len(choices()[group])))
        first = names[0]
        whole = [",".join(names), "glob(*)", "glob(a*)", f"{first},nothing", f"{first},null", f"{first},glob(*)"]
        return f"{group}={draw.choice(whole)}"
    option = _option(draw)
    values = ",".join(_fitting(draw, option) for _ in range(2))
    functions = ("range(3)", "range(0)", "choice(1,2)", "interval(0,1)", "shuffle(1,2)", "sort(2,1)")
    return f"{option}={values if draw.random() < 0.4 else draw.choice(functions)}"


def _misspelt(draw: random.Random, name: str) -> str:
    place = draw.randrange(len(name))
    return draw.choice([name[:place] + name[place + 1 :], name[:place] + "x" + name[place:], name + "s"])
