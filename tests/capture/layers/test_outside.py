"""Layer rules that a configuration names: added to ours, used in runs and plans, and refused where they are none."""

import pytest

from drpt.capture.layers.outside import rules_with
from drpt.capture.layers.own_code import OwnCodeRule
from drpt.capture.layers.rules import DEFAULT_RULES
from tests.app.conftest import TINY
from tests.capture.layers.test_rules import ScaledLinear, ScaledLinearRule

HERE = "tests.capture.layers.test_outside"


class LlamaNormRule(OwnCodeRule):
    """Runs the norm's own code, under a name that plans show."""

    def label(self, module, parameter):
        return "llama norm"


NORMS = {"transformers.models.llama.modeling_llama.LlamaRMSNorm": LlamaNormRule()}
NO_TYPES = {1: LlamaNormRule()}
NO_RULES = {ScaledLinear: ScaledLinearRule}
TWICE = {"torch.nn.modules.linear.Linear": LlamaNormRule()}


def test_rules_are_added_to_ours():
    assert rules_with([]) is DEFAULT_RULES
    rules = rules_with(["tests.capture.layers.test_rules.MINE", f"{HERE}.NORMS"])
    assert isinstance(rules.find(ScaledLinear(2, 2)), ScaledLinearRule)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nobody", r"trainer\.layer_rules=.*\.Nobody: cannot be imported"),
        ("LlamaNormRule", r"LlamaNormRule: not a mapping from types of module to instances"),
        ("NO_TYPES", r"NO_TYPES: not a mapping from types of module to instances"),
        ("NO_RULES", r"NO_RULES: not a mapping from types of module to instances of drpt\.LayerRule"),
        ("TWICE", r"trainer\.layer_rules=.*TWICE: torch\.nn\.modules\.linear\.Linear has a rule already"),
    ],
)
def test_what_is_no_rule_is_explained(name, message):
    with pytest.raises(ValueError, match=message):
        rules_with([f"{HERE}.{name}"])


def test_a_run_and_its_plan_use_them(drpt):
    own = ("finetune=full", f"trainer.layer_rules=[{HERE}.NORMS]")
    status, text = drpt("explain", "layerwise_hull", "model=tiny", *own)
    assert status == 0, text
    assert "llama norm" in text
    short = ("trainer.max_steps=1", "evaluation.every_steps=1", "evaluation.num_generate=0")
    status, text = drpt("train", *TINY, *short, *own, "regularizer=layerwise_hull")  # the first step checks the rule
    assert status == 0, text
    status, text = drpt("train", *TINY, "trainer.layer_rules=[my_layers.RULES]")
    assert status == 2
    assert "trainer.layer_rules=my_layers.RULES: cannot be imported" in " ".join(text.split())
