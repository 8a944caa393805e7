"""What a configuration names by ``_target_``: built before anything heavy is loaded, so that a mistake in it costs a second."""

from itertools import islice

from drpt.app.schema import RunSpec
from drpt.data.build_source import build_source
from drpt.data.preferences import require_pairs
from drpt.data.reasoning import RUNS_ANSWERS
from drpt.data.source import Source
from drpt.rewards.build import build_reward

_REASONING = "drpt.rewards.reasoning.ReasoningReward"


def build_plugins(spec: RunSpec) -> Source:
    """Build the source of data, and the reward to see that it can be built.

    Args:
        spec: A checked configuration.

    Returns:
        The source.

    Raises:
        ValueError: A path leads to no source or reward, a key is not one of its, or a value breaks its rules.
    """
    source = build_source(spec.data.source)
    if spec.task.name == "reward":
        for stream in (source.general, source.target, source.evaluation):
            require_pairs(list(islice(stream(0), 1)))
    if spec.reward is not None:
        build_reward(spec.reward)
        if any(term["_target_"] == _REASONING for term in spec.reward.terms.values()):
            general = spec.data.source.get("general")
            for family in sorted(RUNS_ANSWERS.intersection(general if isinstance(general, list) else ())):
                raise ValueError(
                    f"data.source.general: reasoning-gym's scorer of {family} runs answers as Python code, and a model's "
                    "answers are not to be run. Take it out of the list, or another reward than reasoning."
                )
    return source
