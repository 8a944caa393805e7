"""One definition of what a run is: every key is in one list, and folders and tables agree by it."""

import copy
import typing
from dataclasses import fields, is_dataclass

import pytest
import yaml
from omegaconf import OmegaConf

from drpt import run_identity
from drpt.app.compose import compose_run
from drpt.app.config import ALGORITHMS, plain_config
from drpt.app.tracking import group_name
from drpt.run_identity import NO_RESULT, REPLICATE, RESULT, identity_of, job_name, settings_of
from drpt.tasks.run_spec import RunSpec

TASKS = ("sft", "reward", "rlvr", "rlhf")


def schema_keys(schema=RunSpec, prefix=""):
    """Full names of all keys of a schema and of the schemas in it."""
    types = typing.get_type_hints(schema)
    for field in fields(schema):
        name = f"{prefix}{field.name}"
        parts = [types[field.name], *typing.get_args(types[field.name])]
        inner = [part for part in parts if isinstance(part, type) and is_dataclass(part)]
        if name == "algorithm":
            inner = list(ALGORITHMS.values())
        for part in inner:
            yield from schema_keys(part, f"{name}.")
        if not inner:
            yield name


KEYS = sorted(set(schema_keys()))
RESULT_KEYS = [f"{section}.{key}" for section, keys in RESULT.items() for key in keys]


def config_of(*overrides):
    return plain_config(compose_run(["sweep=test", *overrides]))


@pytest.fixture(scope="module")
def by_task():
    return {task: config_of(f"task={task}") for task in TASKS}


def changed(config, key):
    """The configuration with another value for one key; None where a section is not there."""
    config = copy.deepcopy(config)
    *sections, last = key.split(".")
    place = config
    for section in sections:
        place = place.get(section)
        if not isinstance(place, dict):
            return None
    if last not in place:
        return None
    place[last] = {"another": 1} if isinstance(place[last], dict) else "another"
    return config


def test_every_key_is_in_one_list():
    listed = [REPLICATE, *RESULT_KEYS, *NO_RESULT]
    assert sorted(listed) == sorted(set(listed)), "a key is in two lists"
    assert sorted(listed) == KEYS, "say of each key of a schema in drpt/run_identity.py whether it can change a result"


@pytest.mark.parametrize("key", NO_RESULT)
def test_what_changes_no_result_is_no_part_of_a_run(by_task, key):
    found = [(config, other) for config in by_task.values() if (other := changed(config, key)) is not None]
    assert found, "no task has it"
    for config, other in found:
        assert job_name(other) == job_name(config)
        assert settings_of(other) == settings_of(config)


@pytest.mark.parametrize("key", RESULT_KEYS)
def test_what_can_change_a_result_makes_another_run_and_another_point(by_task, key):
    extra = ["regularizer.products=sketch"] if key.startswith("sketch.") else []
    extra += ["data/general=reasoning", "data/target=reasoning"] if key.startswith(("data.general.", "data.target.")) else []
    extra += ["algorithm.kl.control=adaptive"] if key in {"algorithm.kl.target", "algorithm.kl.horizon"} else []
    configs = [config_of("task=rlhf" if "kl" in key else "task=sft", *extra)] if extra else list(by_task.values())
    found = [(config, other) for config in configs if (other := changed(config, key)) is not None]
    assert found, "no task has it"
    for config, other in found:
        assert settings_of(other) != settings_of(config)
        assert job_name(other) != job_name(config)


def test_a_replicate_is_a_seed(by_task):
    for config in by_task.values():
        other = config | {"seed": 7}
        assert settings_of(other) == settings_of(config)
        assert job_name(other) != job_name(config)


def test_a_dashboard_groups_as_a_table_does(by_task):
    for config in by_task.values():
        of_same = [config, config | {"seed": 7}, changed(config, "trainer.keep_steps"), changed(config, "logger.project")]
        assert len({group_name("mix", other) for other in of_same}) == 1
        assert group_name("mix", changed(config, "optimizer.lr")) != group_name("mix", config)


def test_names_are_those_of_earlier_versions():
    assert job_name(config_of()) == "layerwise_subset-0.5-seed0-2c8d1f190e"
    assert job_name(config_of("regularizer=full")) == "full-seed0-022fc64ff0"
    assert job_name(config_of("task=rlvr")) == "layerwise_subset-0.5-seed0-15d34e0f66"


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_configuration_is_the_same_run(task):
    config = compose_run(["sweep=test", f"task={task}", "optimizer.lr=1e-5", "seed=3"])
    saved = yaml.safe_load(OmegaConf.to_yaml(config, resolve=True))
    assert identity_of(saved) == identity_of(plain_config(config))
    assert job_name(saved) == job_name(plain_config(config))


@pytest.mark.parametrize("words", [("task=rlhf", "data=jsonl_prompts"), ("task=rlvr", "data=jsonl", "reward=math")])
def test_a_run_that_lacks_later_options_is_the_same_run(words):
    config = config_of(*words, "data.source.general=a", "data.source.target=b")
    config["data"]["source"]["needs_response"], config["reward"]["judges"] = True, {}
    config["reward"]["terms"].setdefault("correct", {"unreadable": "error"})
    before = copy.deepcopy(config)
    for key in run_identity._LATER:
        *sections, last = key.split(".")
        place = before
        for section in sections:
            place = place[section]
        place.pop(last, None)
    assert job_name(before) == job_name(config)
    assert settings_of(before) == settings_of(config)


@pytest.mark.parametrize(
    ("overrides", "others"),
    [
        (["sketch.left_width=8"], []),
        (["regularizer=full", "regularizer.strength=null"], ["regularizer=full"]),
        (["regularizer=mix", "regularizer.strength=1"], ["regularizer=mix", "regularizer.strength=1.0"]),
        (["regularizer.relaxation=1"], ["regularizer.relaxation=1.0"]),
    ],
    ids=["a sketch that nothing draws", "a set without strength", "whole and broken numbers", "a whole relaxation"],
)
def test_two_ways_to_say_the_same_are_one_run(overrides, others):
    assert job_name(config_of(*overrides)) == job_name(config_of(*others))
    assert settings_of(config_of(*overrides)) == settings_of(config_of(*others))
