"""Bad options are refused with option, value, rule and choices."""

import pytest

from drpt.geometry.catalogue import SETS
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec

GOOD = {
    "name": "test",
    "set": "subset",
    "partition": "layer",
    "score": "alignment",
    "strength": 0.5,
    "relaxation": 0.0,
    "step_size": None,
    "auto_memory": 0.9,
    "products": "auto",
    "base_weights": "token",
    "scope": "all",
    "pool": "step",
    "stopping_share": 0.0,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": "subst"}, r"regularizer\.set='subst' is not known\. Did you mean 'subset'\? Choices: .*whole_space"),
        ({"score": "alignmnt"}, r"regularizer\.score='alignmnt'.*'alignment'"),
        ({"partition": "layers"}, r"regularizer\.partition='layers'.*Choices: global, block, kind, layer\."),
        ({"products": "exact"}, r"regularizer\.products='exact' is not known"),
        ({"base_weights": "tokens"}, r"regularizer\.base_weights='tokens'.*'token'"),
        ({"strength": 0.0}, r"regularizer\.strength=0\.0 must lie in \(0, 1\] for the set 'subset'"),
        ({"strength": float("nan")}, r"regularizer\.strength=nan"),
        ({"strength": None}, r"regularizer\.strength=null: the set 'subset' needs a strength in \(0, 1\]"),
        ({"set": "mean"}, r"regularizer\.strength=0\.5: the set 'mean' has no strength.*subset, .*ball"),
        ({"relaxation": 1.5}, r"regularizer\.relaxation=1\.5 must lie in \[0, 1\]"),
        ({"strength": "much"}, r"regularizer\.strength='much' must be a number or auto"),
        (
            {"set": "gradmatch", "strength": "auto"},
            r"strength=auto is not offered for the set 'gradmatch'.*\(0, 1\].*subset, .*hull, .*relaxation=auto",
        ),
        (
            {"set": "ball", "strength": "auto", "relaxation": 0.5},
            r"relaxation=0\.5: with regularizer\.strength=auto the set 'ball'",
        ),
        ({"set": "my.Set", "strength": "auto"}, r"strength=auto: for a set of your own, my\.Set"),
        ({"auto_memory": 1.0}, r"regularizer\.auto_memory=1\.0 must lie in \[0, 1\)"),
        ({"set": "greedy_greats"}, r"step_size=None: the set 'greedy_greats' needs a positive one"),
        ({"step_size": 0.1}, r"step_size=0\.1: the set 'subset' has none; greedy_greats has"),
        ({"set": "cone", "strength": 1e300}, r"strength=1e\+300 must lie in \[0, 1e\+06\] for the set 'cone': ridge.*or less"),
        ({"set": "span", "strength": 2e6}, r"strength=2000000\.0 must lie in \[0, 1e\+06\].*six digits"),
        ({"set": "dual_cone", "strength": float("inf")}, r"strength=inf must lie in \[0, 1e\+06\].*margin"),
        ({"set": "greedy_greats", "step_size": 1e300}, r"step_size=1e\+300: .*needs a positive one of at most 1e\+06"),
        ({"stopping_share": 1.0}, r"regularizer\.stopping_share=1\.0 must lie in \[0, 1\)"),
    ],
)
def test_bad_values_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        RegularizerSpec(**(GOOD | change))


@pytest.mark.parametrize("name", SETS)
def test_every_set_in_the_catalogue_can_be_built(name):
    domain = SETS[name].strength
    step_size = 0.1 if SETS[name].takes_step_size else None
    strength = None if domain is None else min(domain.high, 1.0)
    spec = RegularizerSpec(**(GOOD | {"set": name, "strength": strength, "step_size": step_size}))
    built = build_regularizer(spec, seed=0)
    assert built.feasible_set.takes_score == SETS[name].takes_score
    assert built.auto is None


@pytest.mark.parametrize("name", [name for name, entry in SETS.items() if entry.auto_grid or entry.is_auto_closed])
def test_automatic_strengths_can_be_built(name):
    built = build_regularizer(RegularizerSpec(**(GOOD | {"set": name, "strength": "auto"})), seed=0)
    assert built.needs_spread
    assert built.needs_gramian
    assert all(SETS[name].strength.admits(strength) for strength in SETS[name].auto_grid)


def test_sets_from_outside_plug_in_by_path():
    spec = RegularizerSpec(**(GOOD | {"set": "drpt.geometry.mean.Mean", "strength": None}))
    assert type(build_regularizer(spec, seed=0).feasible_set).__name__ == "Mean"


def test_paths_that_lead_elsewhere_are_refused():
    with pytest.raises(TypeError, match=r"regularizer\.set: .*OrderedDict.* is no subclass of .*FeasibleSet"):
        build_regularizer(RegularizerSpec(**(GOOD | {"set": "collections.OrderedDict", "strength": None})), seed=0)
    with pytest.raises(ValueError, match="cannot be imported"):
        build_regularizer(RegularizerSpec(**(GOOD | {"set": "no_such.module.Set", "strength": None})), seed=0)


@pytest.mark.parametrize("name", ["cone", "dual_cone"])
def test_ridge_and_margin_are_optional(name):
    assert RegularizerSpec(**(GOOD | {"set": name, "strength": None})).strength == 0.0


def test_label_shows_the_dials():
    assert RegularizerSpec(**GOOD).label == "test λ=0.5"
    assert RegularizerSpec(**(GOOD | {"strength": 1, "relaxation": "auto"})).label == "test λ=1 ρ=auto"
    assert RegularizerSpec(**(GOOD | {"relaxation": 0.25})).label == "test λ=0.5 ρ=0.25"
    assert RegularizerSpec(**(GOOD | {"set": "mean", "strength": None})).label == "test"
