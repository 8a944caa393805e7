"""What a configuration names by ``_target_``: built before anything heavy is loaded, so that a mistake in it costs a second."""

from drpt.app.schema import RunSpec
from drpt.data.build_source import build_source
from drpt.data.source import Source
from drpt.rewards.build import build_reward


def build_plugins(spec: RunSpec) -> Source:
    """Build the source of data, and the reward to see that it can be built.

    Args:
        spec: A checked configuration.

    Returns:
        The source.

    Raises:
        ValueError: A path leads to no source or reward, a key is not one of its, or a value breaks its rules.
    """
    if spec.reward is not None:
        build_reward(spec.reward)
    return build_source(spec.data.source)
