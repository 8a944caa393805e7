"""`drpt train --help`: groups, their choices and defaults, and frequent keys, read from conf/ and the catalogue."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from drpt.app.groups import NESTED
from drpt.app.key_reference import read_keys
from drpt.app.paths import config_folder, preset_files
from drpt.capture.options import Partition
from drpt.checks import did_you_mean
from drpt.geometry.catalogue import SCORES, SETS
from drpt.geometry.entry import SetEntry
from drpt.geometry.lookup import set_entry

_USAGE = """\
[bold]drpt train[/] \\[-m] \\[group=choice …] \\[key=value …]

Train a language model under a regularizer: one run, or with [bold]-m[/] a sweep. In a sweep,
a group or key has several values, written with commas, [bold]range(5)[/] or [bold]glob(*)[/], and every
combination is run; all are checked before the first starts. Results go to
runs/<sweep>/<job>/; a sweep ends with a table, chart.png and report.html. The same command
with the same [bold]sweep=…[/] skips finished jobs and resumes interrupted ones.

  drpt train                                    layer-wise subset, SmolLM2-135M, LoRA
  drpt train regularizer=mix regularizer.strength=0.25 seed=3
  drpt train -m 'regularizer=glob(*)' regularizer.strength=0.25,0.5 'seed=range(3)'
  drpt train data=jsonl data.source.general=pool.jsonl data.source.target=mine.jsonl
  drpt train data/general=reasoning data/target=jsonl data.target.source.path=mine.jsonl
  drpt train model=hub model.name=HuggingFaceTB/SmolLM2-360M-Instruct finetune=full
  drpt train task=rlvr                          GRPO on small sums, responses drawn by vLLM
  drpt train task=rlhf                          PPO away from offensive language
  drpt train task=reward                        a learned reward from preference pairs, for reward=learned
  drpt train --cfg job regularizer=full         print the configuration, train nothing
"""
_KEYS = (
    ("seed", "seed of target examples, example order, adapters and dropout"),
    ("sweep", "name of the folder under runs/; default: the time of the start"),
    ("regularizer.set", " ".join(SETS) + ", or the dotted path of a class of yours"),
    ("regularizer.partition", " ".join(member.value for member in Partition) + ": finer = weaker regularization"),
    (
        "regularizer.score",
        " ".join(SCORES) + ", or the dotted path of a class of yours: what ranks examples for a set that chooses",
    ),
    ("regularizer.strength", "the set's λ, larger = stronger, or auto; see the sets below and drpt explain"),
    ("regularizer.relaxation", "ρ in [0, 1], or auto: u = (1−ρ) P(v) + ρ v; 1 is target-only training"),
    ("data.num_target", "number of target examples for training, which are scarce"),
    ("data.general_rows, data.target_rows", "n and m: general and target examples in a step"),
    ("data.max_length", "tokens of a conversation; longer ones are cut"),
    ("optimizer.lr, trainer.max_steps", "peak learning rate, number of optimizer steps"),
    ("trainer.precision", "32-true, bf16-mixed, bf16-true"),
    ("rollout.num_prompts, num_responses", "task=rlvr, rlhf: prompts in a rollout phase, responses to each"),
    (
        "algorithm.target.source, objective",
        "task=rlvr, rlhf: examples (prompts or self) and loss (reward, token_pg, train_loss, …) of v",
    ),
    (
        "algorithm.kl.coefficient, control",
        "algorithm=ppo: penalty for a nat of divergence from the reference; fixed or adaptive",
    ),
    ("evaluation.every_steps", "steps between two evaluations on held-out target examples"),
)


def show_help(console: Console) -> None:
    """Print the help.

    Args:
        console: Console to print to.
    """
    console.print(_USAGE, soft_wrap=True)
    groups = Table.grid(padding=(0, 2))
    for group, choice, meaning in _choices(config_folder()):
        groups.add_row(f"  [bold]{group}[/]", choice, f"[dim]{meaning}[/]")
    console.print("[bold]groups and their choices[/] (* = default)")
    console.print(groups)
    keys = Table.grid(padding=(0, 2))
    for key, meaning in _KEYS:
        keys.add_row(f"  {key}", f"[dim]{meaning}[/]")
    console.print("\n[bold]frequent keys[/] (all keys: drpt train --cfg job)")
    console.print(keys)
    sets = Table.grid(padding=(0, 2))
    for name, entry in SETS.items():
        sets.add_row(f"  {name}", entry.formula, f"[dim]{_update_of(entry)}[/]".replace("[0,", "\\[0,"))
    console.print("\n[bold]feasible sets[/] and their updates")
    console.print(sets)
    console.print("\nexplanation of one key: drpt train --help regularizer.strength")
    console.print("Hydra's own options: drpt train --hydra-help")


def show_keys(words: Sequence[str], console: Console) -> None:
    """Print what is known of keys: ``drpt train --help regularizer.strength``.

    Args:
        words: Keys with their section, or sections, of which all keys are printed; values (``key=value``) may be there, and
            that of ``regularizer.set`` is explained.
        console: Where to.

    Raises:
        ValueError: A name is neither, or a set cannot be imported.
    """
    keys = read_keys()
    for word in words:
        name, _, value = word.partition("=")
        found = [key for key in keys if key.name == name or key.name.startswith(f"{name}.")]
        if not found:
            meant = did_you_mean(name, [key.name for key in keys])
            raise ValueError(f"There is no option {name!r}.{meant} drpt train --help lists groups and keys.")
        for key in found:
            console.print(f"[bold]{key.name}[/]  {key.kind}; default: {key.default}".replace("[]", "\\[]"), soft_wrap=True)
            for line in filter(None, (key.meaning, " ".join(key.choices))):
                console.print(f"    {line}", markup=False, soft_wrap=True)
        if name == "regularizer.set" and (entry := set_entry(value)) is not None:
            console.print(f"    {value}: {entry.formula}; {_update_of(entry)}", markup=False, soft_wrap=True)


def _update_of(entry: SetEntry) -> str:
    """The update that a set gives and its strength, in words."""
    strength = "no strength" if entry.strength is None else f"λ in {entry.strength}: {entry.strength.meaning}"
    return f"{entry.update}; {strength}"


def _choices(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Group, choice and first comment of each file; only the first row of a group has its name."""
    defaults = _defaults(folder / "train.yaml")
    groups = [path for path in folder.iterdir() if path.is_dir() and path.name != "hydra"]
    for group in sorted([*groups, *(folder / name for name in NESTED)]):
        shown = name = group.relative_to(folder).as_posix()
        for path in preset_files(name):
            lines = [line for line in path.read_text().splitlines() if line and not line.startswith("# @package")]
            meaning = lines[0].partition("#")[2].strip() if "#" in lines[0] else ""
            mark = "*" if defaults.get(name) == path.stem else ""
            yield shown, f"{path.stem}{mark}", meaning
            shown = ""


def _defaults(path: Path) -> dict[str, str]:
    import yaml

    entries = yaml.safe_load(path.read_text())["defaults"]
    return {key: value for entry in entries if isinstance(entry, dict) for key, value in entry.items()}
