"""Bad options are refused with option, value, rule and choices."""

import pytest

from drpt.geometry.spec import ProjectionSpec

GOOD = {"set": "subset", "score": "alignment", "strength": 0.5, "relaxation": 0.0, "step_size": None, "auto_memory": 0.9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": "subst"}, r"regularizer\.set='subst' is not known\. Did you mean 'subset'\? Choices: .*whole_space"),
        ({"score": "alignmnt"}, r"regularizer\.score='alignmnt'.*'alignment'"),
        ({"strength": 0.0}, r"regularizer\.strength=0\.0 must lie in \(0, 1\] for the set 'subset'"),
        ({"strength": float("nan")}, r"regularizer\.strength=nan"),
        ({"strength": None}, r"regularizer\.strength=null: the set 'subset' needs a strength in \(0, 1\]"),
        ({"set": "mean"}, r"regularizer\.strength=0\.5: the set 'mean' has no strength.*ball, subset, .*cagrad"),
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
        (
            {"set": "tests.app.sets.Nothing", "strength": "auto"},
            r"strength=auto: the class tests\.app\.sets\.Nothing names no strengths",
        ),
        ({"auto_memory": 1.0}, r"regularizer\.auto_memory=1\.0 must lie in \[0, 1\)"),
        ({"set": "greedy_greats"}, r"step_size=None: the set 'greedy_greats' needs a positive one"),
        ({"step_size": 0.1}, r"step_size=0\.1: the set 'subset' has none; greedy_greats has"),
        ({"set": "cone", "strength": 1e300}, r"strength=1e\+300 must lie in \[0, 1e\+06\] for the set 'cone': ridge.*or less"),
        ({"set": "span", "strength": 2e6}, r"strength=2000000\.0 must lie in \[0, 1e\+06\].*six digits"),
        ({"set": "dual_cone", "strength": float("inf")}, r"strength=inf must lie in \[0, 1e\+06\].*margin"),
        ({"set": "greedy_greats", "step_size": 1e300}, r"step_size=1e\+300: .*needs a positive one of at most 1e\+06"),
    ],
)
def test_bad_values_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        ProjectionSpec(**(GOOD | change))


@pytest.mark.parametrize("name", ["cone", "dual_cone"])
def test_ridge_and_margin_are_optional(name):
    assert ProjectionSpec(**(GOOD | {"set": name, "strength": None})).strength == 0.0


def test_dials_are_shown():
    assert ProjectionSpec(**GOOD).dials == ["λ=0.5"]
    assert ProjectionSpec(**(GOOD | {"strength": 1, "relaxation": "auto"})).dials == ["λ=1", "ρ=auto"]
    assert ProjectionSpec(**(GOOD | {"set": "mean", "strength": None})).dials == []
