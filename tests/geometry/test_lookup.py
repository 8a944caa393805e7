"""Names and dotted paths lead to classes, and to what these say of themselves."""

import pytest
import torch

from drpt.analysis.probe_grid import FAMILIES, colour_of, families_of, is_alike, rules
from drpt.geometry.catalogue import SCORES, SETS
from drpt.geometry.lookup import score_class, score_entry, set_class, set_entry
from tests.geometry.outside import EarliestScore, MeanRay, SeededScore
from tests.geometry.problems import Problem, assert_same, projection

RAY, EARLIEST = "tests.geometry.outside.MeanRay", "tests.geometry.outside.EarliestScore"


def test_names_and_paths_lead_to_the_same():
    for name, entry in SETS.items():
        assert set_entry(name) is set_entry(entry.target) is entry
        assert set_class(name) is set_class(entry.target)
        assert set_class(name).takes_score == entry.takes_score
    for name, entry in SCORES.items():
        assert score_entry(name) is score_entry(entry.target) is entry
        assert score_class(name) is score_class(entry.target)
    assert set_class(RAY) is MeanRay
    assert set_entry(RAY) is MeanRay.entry
    assert score_entry(EARLIEST) is EarliestScore.entry
    assert set_entry("tests.app.sets.Nothing") is None
    assert set_entry("of an earlier version") is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such.module.Set", r"regularizer\.set=no_such\.module\.Set: cannot be imported"),
        ("collections.OrderedDict", r"regularizer\.set=.*is no subclass of drpt\.geometry\.feasible_set\.FeasibleSet"),
        ("collections.", r"regularizer\.set=collections\.: cannot be imported"),
        ("tests.geometry.outside.Unsaid", r"its entry says uses_general=True and the class uses_general=False"),
        ("tests.geometry.outside.Contradicting", r"its entry says takes_score=True and the class takes_score=False"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path, message):
    with pytest.raises(ValueError, match=message):
        set_entry(path)


def test_a_set_from_outside_is_held_to_its_domain():
    for strength, message in ((0.0, r"must lie in \(0, 1\] .*the longest multiple"), (None, "needs a strength")):
        with pytest.raises(ValueError, match=message):
            projection(RAY, strength=strength)
    with pytest.raises(ValueError, match=r"step_size=0\.1: the set .*MeanRay' has none"):
        projection(RAY, strength=0.5, step_size=0.1)
    assert [candidate.strength for candidate in projection(RAY, strength="auto").auto._candidates] == [0.25, 0.5, 1.0]


def test_a_set_from_outside_projects():
    problem = Problem(0)
    update = problem.update(projection(RAY, strength=0.5))
    mean = problem.mean
    multiple = ((mean * problem.target).sum(dim=1) / mean.square().sum(dim=1)).clamp(min=0, max=2)
    assert_same(update, multiple[:, None] * mean)


def test_a_score_from_outside_ranks():
    problem = Problem(0)
    update = problem.update(projection("subset", strength=0.5, score=EARLIEST))
    weights = problem.weights[:3]
    assert_same(update, torch.einsum("n,bnd->bd", weights / weights.sum(), problem.general[:, :3]))
    with pytest.raises(ValueError, match=r"score='tests\.geometry\.outside\.EarliestScore'.* one with a sign: alignment"):
        projection("filter", strength=0.0, score=EARLIEST)
    assert isinstance(projection("subset", strength=0.5, score="tests.geometry.outside.SeededScore").score, SeededScore)


def test_the_probe_measures_the_curves_of_a_set_from_outside():
    families = families_of(RAY)
    assert list(families) == ["mean_ray"]
    found = list(rules("layer", families=list(families.values()), target_rows=2, base_weights="example", has_alike=True))
    assert [rule.strength for rule in found] == [0.25, 0.5, 1.0, "auto"]
    assert {colour_of(rule) for rule in found} == {"#336699"}
    assert not any(is_alike(rule) for rule in found)
    assert families_of("hull") == {}
    assert len({family.curve.colour for family in FAMILIES.values()}) == len(FAMILIES)
