"""From the configuration to a reward: presets, terms from outside, and faults by the full name of the option."""

import re
import subprocess
import sys

import pytest

from drpt.app.compose import compose_run
from drpt.app.config import check_config
from drpt.app.paths import config_folder
from drpt.rewards.build import build_judges, build_reward
from drpt.rewards.spec import RewardSpec
from tests.rewards.answers import answer

PRESETS = sorted(path.stem for path in config_folder().glob("reward/*.yaml"))
LEARNED = {"learned"}  # tests of its own, in test_preference: it needs a folder that a run has left
OPINIONS = {"hate_speech", "inoffensive", "positive"}  # of these no answer is correct or wrong
RIGHT = {  # an answer with full marks to the reference 8
    "math_boxed": r"\boxed{8}",
}


def test_there_are_presets():
    assert {"math", "math_boxed", "exact", "reasoning", *OPINIONS, *LEARNED} <= set(PRESETS)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - OPINIONS - LEARNED))
def test_every_preset_composes_and_judges(preset):
    spec = check_config(compose_run(["task=rlvr", f"reward={preset}", "sweep=test"])).reward
    assert spec.name == preset
    reward = build_reward(spec)
    payload = {"answer": "8", "metadata": {}}
    given = [answer(text, source="chain_sum", payload=payload) for text in (RIGHT.get(preset, "8"), "no")]
    right, wrong = reward(given)
    assert right.is_correct
    assert not wrong.is_correct
    assert right.value == sum(term["weight"] for term in spec.terms.values()) > wrong.value


@pytest.mark.parametrize("preset", sorted(OPINIONS))
def test_every_preset_of_opinions_is_built_with_a_second_judge(preset):
    spec = check_config(compose_run(["task=rlvr", f"reward={preset}", "sweep=test"])).reward
    assert spec.name == preset
    assert len(spec.judges) == 1
    reward, judges = build_reward(spec), build_judges(spec)
    if preset == "hate_speech":  # its two models are on the hub
        return
    given = [answer("What a lovely idea, thank you!"), answer("You are a stupid bastard, I hate you.")]
    kind, rude = reward(given)
    assert kind.is_correct is None
    assert kind.value > rude.value
    kind, rude = ({**one.verdicts, **own} for one, own in zip(reward(given), judges(given), strict=True))
    assert all(kind[name].toxicity < 0.5 < rude[name].toxicity for name in ("language", "sentiment"))


def test_terms_and_judges_are_built_without_torch():
    code = (
        "import sys\n"
        "from drpt.app.compose import compose_run\n"
        "from drpt.app.config import check_config\n"
        "from drpt.rewards.build import build_judges, build_reward\n"
        f"for preset in {sorted(OPINIONS)}:\n"
        "    spec = check_config(compose_run(['task=rlvr', f'reward={preset}', 'sweep=test'])).reward\n"
        "    build_reward(spec), build_judges(spec)\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'joblib', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_judge_is_added_from_the_command_line():
    words = ["task=rlvr", "reward=exact", "sweep=test", "+reward.judges.form={_target_: drpt.rewards.format.FinishedReward}"]
    judges = build_judges(check_config(compose_run(words)).reward)
    assert [one["form"].outcome for one in judges([answer("8"), answer("8", is_finished=False)])] == ["finished", "cut"]
    (verdicts,) = build_judges(check_config(compose_run(words[:3])).reward)([answer("8")])
    assert verdicts == {}


def test_a_weight_is_set_and_a_term_added_from_the_command_line():
    words = ["task=rlvr", "reward=exact", "reward.terms.correct.weight=2", "sweep=test"]
    words.append("+reward.terms.form={_target_: drpt.rewards.format.FormatReward, weight: 0.5, pattern: '\\d'}")
    judged = build_reward(check_config(compose_run(words)).reward)([answer("8"), answer("7"), answer("eight")])
    assert [one.value for one in judged] == [2.5, 0.5, 0.0]


def test_a_term_from_outside_the_package_is_built():
    term = {"_target_": "tests.app.rewards.ManyLetters", "weight": 1.0, "threshold": 0.5}
    (judged,) = build_reward(RewardSpec(name="letters", terms={"letters": term}, judges={}))([answer("abc1")])
    assert judged.value == 0.75


EXACT = "drpt.rewards.exact.ExactReward"


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            {"_target_": "drpt.rewards.nothing.Nothing"},
            r"reward\.terms\.own\._target_=drpt\.rewards\.nothing\.Nothing: cannot be",
        ),
        (
            {"_target_": "drpt.rewards.exact.Exact"},
            r"reward\.terms\.own\._target_=.*: cannot be imported \(.*no attribute 'Exact'",
        ),
        ({"_target_": "Exact"}, r"reward\.terms\.own\._target_=Exact: cannot be imported"),
        (
            {"_target_": "os.system"},
            r"reward\.terms\.own\._target_=os\.system: not a class with the methods __call__ of drpt\.rewards",
        ),
        (
            {"_target_": "subprocess.Popen", "args": "true"},
            r"reward\.terms\.own\._target_=subprocess\.Popen: not a class with the",
        ),
        (
            {"_target_": EXACT, "ignore_cas": True},
            r"reward\.terms\.own\.ignore_cas is not known\. Did you mean 'ignore_case'\?",
        ),
        ({"_target_": EXACT}, r"^reward\.terms\.own\.ignore_case is needed: add \+reward\.terms\.own\.ignore_case=…$"),
        ({"_target_": "drpt.rewards.format.FinishedReward", "x": 1}, r"reward\.terms\.own\.x is not known\. It takes none"),
        (
            {"_target_": "drpt.rewards.format.FormatReward", "pattern": "("},
            r"^reward\.terms\.own\.pattern='\(' is not a regular expr",
        ),
        (
            {"_target_": "drpt.rewards.reasoning.ReasoningReward", "partial": True, "extract": "tag"},
            r"^reward\.terms\.own\.extract='tag' is not known",
        ),
        (
            {"_target_": "drpt.rewards.math.MathReward", "requires_box": True, "timeout_seconds": 0, "unreadable": "drop"},
            r"^reward\.terms\.own\.timeout_seconds=0 must be more than 0: seconds for each answer",
        ),
    ],
)
def test_a_term_that_cannot_be_built_is_named(term, message):
    with pytest.raises(ValueError, match=message):
        build_reward(RewardSpec(name="own", terms={"own": term | {"weight": 1.0}}, judges={}))
    exact = {"_target_": EXACT, "ignore_case": False, "weight": 1.0}
    with pytest.raises(ValueError, match=message.replace(r"reward\.terms\.own", r"reward\.judges\.own")):
        build_judges(RewardSpec(name="own", terms={"exact": exact}, judges={"own": term}))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, "reward.terms={}: a reward needs at least one term"),
        ({"own": {"weight": 1.0}}, "reward.terms.own._target_ is needed"),
        ({"own": {"_target_": EXACT}}, "reward.terms.own.weight is needed"),
        ({"own": {"_target_": EXACT, "weight": float("nan")}}, "reward.terms.own.weight=nan must be finite"),
        ({"own": {"_target_": EXACT, "weight": "much"}}, "reward.terms.own.weight='much' must be a number"),
        ({"own": {"_target_": EXACT, "weight": None}}, "reward.terms.own.weight=None must be a number"),
        ({"own": {"_target_": EXACT, "weight": True}}, "reward.terms.own.weight=True must be a number"),
        (
            {"two words": {"_target_": EXACT, "weight": 1.0}},
            "reward.terms: the name 'two words' is used in metric names",
        ),
    ],
)
def test_terms_have_rules(terms, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RewardSpec(name="own", terms=terms, judges={})


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ({"other": {"ignore_case": True}}, "reward.judges.other._target_ is needed"),
        ({"two words": {"_target_": EXACT}}, "reward.judges: the name 'two words' is used in metric names"),
        (
            {"other": {"_target_": EXACT, "ignore_case": True, "weight": 1.0}},
            "reward.judges.other.weight=1.0: a judge has no weight, since it is not part of the reward. Leave it out",
        ),
        (
            {"own": {"_target_": EXACT, "ignore_case": True}},
            "reward.judges.own: one of reward.terms has the same name, and both are used in metric names. Choose another name.",
        ),
        (
            {"other": {"ignore_case": False, "_target_": EXACT}},
            "reward.judges.other is the same as reward.terms.own: a judge must differ from the reward",
        ),
    ],
)
def test_judges_have_rules(judges, message):
    own = {"_target_": EXACT, "ignore_case": False, "weight": 1.0}
    with pytest.raises(ValueError, match=re.escape(message)):
        RewardSpec(name="own", terms={"own": own}, judges=judges)
