"""Builds the classes that a configuration names by ``_target_``, to find mistakes before anything heavy is loaded.

Called for every job before a run or sweep starts.
"""

from collections.abc import Iterator, Mapping

from drpt.data.build_source import build_source
from drpt.data.reasoning_rules import REFUSED, RUNS_ANSWERS
from drpt.data.source import Source, require_responses
from drpt.models.adapter_folder import read_adapter
from drpt.models.model_folder import pretrained_place
from drpt.rewards.build import build_judges, build_reward
from drpt.rollouts.outside import engine_class
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

_REASONING = "drpt.rewards.reasoning.ReasoningReward"


def build_plugins(spec: RunSpec) -> Source:
    """Build the data source; check all else that a dotted path names, and the model folders, to find mistakes early.

    Args:
        spec: Checked configuration.

    Returns:
        The data source.

    Raises:
        NotForTaskError: The task cannot use such data.
        ValueError: A path does not lead to a source, reward, judge, optimizer, engine or layer rules; a key is unknown or a
            value breaks a rule; the task or the reward needs responses that the source does not have; or ``model.name`` or
            ``finetune.adapter`` names an unsuitable folder.
    """
    _check_dotted_paths(spec)
    check_model_folders(spec)
    source = build_source(spec.data.node)
    find_task(spec.task.name).check_source(source, spec)
    if spec.reward is not None:
        for term in build_reward(spec.reward).comparing:
            why = f"reward={spec.reward.name} compares answers with them (reward.terms.{term})"
            require_responses(source, name=spec.data.label, why=why)
        build_judges(spec.reward)
        nodes = [*spec.reward.terms.values(), *spec.reward.judges.values()]
        if any(node["_target_"] == _REASONING for node in nodes):
            for option, family in _general_families(spec):
                if family not in RUNS_ANSWERS:
                    continue
                raise ValueError(
                    f"{option}: {family}: {REFUSED[family]}. Take it out of the list, or another reward (and judge) than "
                    "reasoning."
                )
    return source


def _check_dotted_paths(spec: RunSpec) -> None:
    """Optimizer, layer rules and engine from outside the package; torch is imported where there is one."""
    if not spec.optimizer.is_adamw:
        from drpt.optim.build import check_optimizer

        check_optimizer(spec.optimizer)
    if spec.trainer.layer_rules:
        from drpt.capture.layers.outside import rules_with

        rules_with(spec.trainer.layer_rules)
    if spec.rollout is not None and spec.rollout.is_own_engine:
        engine_class(spec.rollout)


def _general_families(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Families of general data, each with the option that names it."""
    if spec.data.general is None:
        places = {"data.source.general": spec.data.source.get("general")}
    else:
        node = spec.data.general.source
        parts = node.get("parts")
        places = {"data.general.source.families": node.get("families")}
        for name, part in parts.items() if isinstance(parts, Mapping) else ():
            places[f"data.general.source.parts.{name}"] = part.get("families") if isinstance(part, Mapping) else None
    for option, found in places.items():
        for family in sorted(map(str, found)) if isinstance(found, list | tuple) else ():
            yield option, family


def check_model_folders(spec: RunSpec) -> None:
    """Check the folders of ``model.name`` and ``finetune.adapter``, without reading weights.

    Args:
        spec: Checked configuration.

    Raises:
        ValueError: A folder is missing or unsuitable, or the adapter's settings contradict the configuration.
    """
    if spec.model.source == "hub":
        pretrained_place(str(spec.model.name))
    read_adapter(spec.finetune)
