"""Presets are differences from a common start, and mean the same to every reader."""

import pytest
import yaml

from drpt.app.compose import compose_run
from drpt.app.config import plain_config
from drpt.app.groups import choices
from drpt.app.paths import BASE, config_folder
from drpt.app.presets import preset_names, preset_values
from drpt.app.sweep import plan_sweep, read_sweep
from drpt.tasks.errors import ConfigError

REGULARIZERS = preset_names("regularizer")


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_preset_says_what_it_changes_and_nothing_else(name):
    lines = (config_folder() / "regularizer" / f"{name}.yaml").read_text().splitlines()
    own = yaml.safe_load("\n".join(lines))
    (start,) = own.pop("defaults")
    assert lines[0].startswith("# ")
    assert 2 <= len(own) <= 5
    if start == BASE:
        before = yaml.safe_load((config_folder() / "regularizer" / f"{BASE}.yaml").read_text())
    else:
        before = preset_values("regularizer", start)
    assert {key: value for key, value in own.items() if before[key] == value} == {}


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_loader_and_the_command_line_read_the_same(name):
    task = ["task=rlvr"] if name == "iif" else []
    composed = plain_config(compose_run([*task, f"regularizer={name}", "optimizer.lr=0.125", "sweep=test"]))["regularizer"]
    values = preset_values("regularizer", name)
    if values["step_size"] is not None:
        assert values["step_size"] == "${optimizer.lr}"
        values["step_size"] = 0.125
    assert values == composed


def test_what_is_read_may_be_changed():
    preset_values("regularizer", "mix")["strength"] = 7.0
    assert preset_values("regularizer", "mix")["strength"] == 0.5
    with pytest.raises(ValueError, match=r"preset='mixx' is not known\. Did you mean 'mix'"):
        preset_values("regularizer", "mixx")


def test_the_common_start_is_no_choice(drpt):
    assert all(BASE not in names for names in choices().values())
    with pytest.raises(ConfigError, match=r"regularizer='base' is not known.* Choices: agem, cagrad, "):
        compose_run(["regularizer=base", "sweep=test"])
    names = {name.split("-")[0] for name in plan_sweep(read_sweep(["regularizer=glob(*)", "sweep=test"])).names}
    assert names == set(REGULARIZERS) - {"iif"}
    status, text = drpt("train", "--help")
    assert status == 0
    assert "  regularizer   agem" in text
    assert f" {BASE} " not in text
