"""`drpt train --help`: every group, option and default, read from conf/ and the catalogue."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from drpt.app.errors import ConfigError
from drpt.app.groups import NESTED
from drpt.app.paths import config_folder, preset_files
from drpt.capture.options import Partition
from drpt.geometry.catalogue import SCORES, SETS
from drpt.geometry.entry import SetEntry
from drpt.geometry.lookup import is_dotted_path, set_entry

_USAGE = """\
[bold]drpt train[/] \\[-m] \\[group=choice …] \\[key=value …]

Train a language model under a regularizer. One run, or with [bold]-m[/] a sweep: give
a group or key several values with commas, [bold]range(5)[/] or [bold]glob(*)[/], and every combination
is run; all are checked before the first starts. Results are in runs/<sweep>/<job>/; a
sweep ends with a table, chart.png and report.html. The same command with the same
[bold]sweep=…[/] skips what is finished and goes on with what was interrupted.

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
    ("seed", "draws target examples, the order of examples, adapters, dropout"),
    ("sweep", "name of the folder under runs/; default: the time of the start"),
    ("regularizer.set", " ".join(SETS) + ", or the dotted path of a class of yours"),
    ("regularizer.partition", " ".join(member.value for member in Partition) + ": finer = weaker regularization"),
    (
        "regularizer.score",
        " ".join(SCORES) + ", or the dotted path of a class of yours: what ranks examples for a set that chooses",
    ),
    ("regularizer.strength", "the set's λ, larger = stronger, or auto; see the sets below and drpt explain"),
    ("regularizer.relaxation", "ρ in [0, 1], or auto: u = (1−ρ) P(v) + ρ v; 1 is target-only training"),
    ("data.num_target", "target examples that training may see: the scarce ones"),
    ("data.general_rows, data.target_rows", "n and m: general and target examples a step"),
    ("data.max_length", "tokens; longer conversations are cut"),
    ("optimizer.lr, trainer.max_steps", "the highest learning rate, the number of optimizer steps"),
    ("trainer.precision", "32-true, bf16-mixed, bf16-true"),
    ("rollout.num_prompts, num_responses", "task=rlvr, rlhf: prompts of a rollout phase, responses to each"),
    (
        "algorithm.target.source, objective",
        "task=rlvr, rlhf: whose gradient v is: prompts or self; reward, token_pg, train_loss, …",
    ),
    (
        "algorithm.kl.coefficient, control",
        "algorithm=ppo: what a nat away from the model before training costs; fixed or adaptive",
    ),
    ("evaluation.every_steps", "steps between two measurements on held-out target examples"),
)


def show_help(console: Console, words: Sequence[str] = ()) -> None:
    """Print the help.

    Args:
        console: Where to.
        words: The other words of the command; a set from outside the package that they name is among the sets.

    Raises:
        ConfigError: A word names a set that cannot be imported.
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
    console.print("\n[bold]keys most often set[/] (all of them: drpt train --cfg job)")
    console.print(keys)
    sets = Table.grid(padding=(0, 2))
    for name, entry in _sets(words).items():
        strength = "no strength" if entry.strength is None else f"λ in {entry.strength}: {entry.strength.meaning}"
        sets.add_row(f"  {name}", entry.formula, f"[dim]{entry.update}; {strength}[/]".replace("[0,", "\\[0,"))
    console.print("\n[bold]feasible sets[/] and the update each gives")
    console.print(sets)
    console.print("\nHydra's own options: drpt train --hydra-help")


def _sets(words: Sequence[str]) -> dict[str, SetEntry]:
    """The sets of the package, and those from outside that the words name."""
    found = dict(SETS)
    for word in words:
        key, _, path = word.partition("=")
        if key == "regularizer.set" and is_dotted_path(path):
            try:
                entry = set_entry(path)
            except ValueError as error:
                raise ConfigError(str(error)) from error
            if entry is not None:
                found[path] = entry
    return found


def _choices(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Group, choice and the first comment of each file; the group's name once."""
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
