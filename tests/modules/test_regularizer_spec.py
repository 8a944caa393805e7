"""Keys of the config group `regularizer` beside the projection's, and the object that they lead to."""

import pytest

from drpt.capture.options import ChoiceScope
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
    "parameters": "all",
    "choice_scope": "step",
    "stopping_share": 0.0,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "two words"}, r"regularizer\.name='two words' must be one word"),
        ({"partition": "layers"}, r"regularizer\.partition='layers'.*Choices: global, block, kind, layer\."),
        ({"products": "exact"}, r"regularizer\.products='exact' is not known"),
        ({"parameters": "linear_weight"}, r"regularizer\.parameters='linear_weight'.*'linear_weights'"),
        ({"choice_scope": "phases"}, r"regularizer\.choice_scope='phases'.*Choices: step, rank, micro, phase\."),
        ({"base_weights": "tokens"}, r"regularizer\.base_weights='tokens'.*'token'"),
        ({"stopping_share": 1.0}, r"regularizer\.stopping_share=1\.0 must lie in \[0, 1\)"),
        ({"strength": 2.0}, r"regularizer\.strength=2\.0 must lie in \(0, 1\]"),
    ],
)
def test_bad_values_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        RegularizerSpec(**(GOOD | change))


def test_label_shows_the_dials():
    assert RegularizerSpec(**GOOD).label == "test λ=0.5"
    assert RegularizerSpec(**(GOOD | {"strength": 1, "relaxation": "auto"})).label == "test λ=1 ρ=auto"
    assert RegularizerSpec(**(GOOD | {"relaxation": 0.25})).label == "test λ=0.5 ρ=0.25"
    assert RegularizerSpec(**(GOOD | {"set": "mean", "strength": None})).label == "test"


def test_a_strength_that_may_be_left_out_is_filled_in():
    assert RegularizerSpec(**(GOOD | {"set": "cone", "strength": None})).strength == 0.0


def test_options_of_the_capture_travel_together():
    spec = RegularizerSpec(**(GOOD | {"choice_scope": "phase"}))
    built = build_regularizer(spec, seed=0, activation_budget_mib=3.0, unregularized=["head.*"])
    assert spec.chooses_by_phase
    assert built.options.choice_scope is ChoiceScope.STEP
    assert (built.options.activation_budget_mib, tuple(built.options.unregularized)) == (3.0, ("head.*",))
    changed = built.with_options(activation_budget_mib=4.0)
    assert (changed.options.activation_budget_mib, changed.options.products) == (4.0, built.options.products)
    assert changed.feasible_set is built.feasible_set
    assert built.options.activation_budget_mib == 3.0


@pytest.mark.parametrize(
    ("name", "partition", "is_constant"),
    [
        ("mean", "layer", True),
        ("subset", "layer", False),
        ("subset", "global", False),
        ("ball", "layer", True),
    ],
)
def test_one_weighted_loss_gives_the_update_of_some(name, partition, is_constant):
    strength = None if name == "mean" else 0.5
    built = build_regularizer(RegularizerSpec(**(GOOD | {"set": name, "strength": strength, "partition": partition})), seed=0)
    assert built.is_constant == is_constant
    random = RegularizerSpec(**(GOOD | {"score": "random", "partition": partition}))
    assert build_regularizer(random, seed=0).is_constant == (partition == "global")
