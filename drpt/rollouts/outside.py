"""Rollout engines from outside the package: a class that `rollout.engine` names by its dotted path."""

from drpt.plugins import check_arguments, import_named, require_methods
from drpt.rollouts.spec import RolloutSpec

GIVEN = ("model_folder", "dtype", "max_model_len", "device")  # keyword arguments that drpt gives to every engine
_METHODS = ("sync", "generate", "close")


def engine_class(spec: RolloutSpec) -> type:
    """The class of an engine of the user's; nothing of it is called, since it needs the model's folder.

    Args:
        spec: The `rollout` config group, whose engine is a dotted path.

    Returns:
        A class with the methods of `drpt.rollouts.protocol.Rollout`, which takes ``spec.arguments`` besides what drpt gives.

    Raises:
        ValueError: The path leads to no such class, or the class does not take the arguments.
    """
    cls = import_named("rollout.engine", spec.engine)
    require_methods(f"rollout.engine={spec.engine}", cls, methods=_METHODS, protocol="drpt.rollouts.protocol.Rollout")
    check_arguments("rollout.arguments", cls, spec.arguments, given=GIVEN)
    found: type = cls
    return found
