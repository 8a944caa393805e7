"""Errors of a command or a configuration."""


class ConfigError(ValueError):
    """A configuration breaks rules; the message lists every fault, a line each."""


class NotForTaskError(ConfigError):
    """A choice that the run's task has no use for; a sweep over ``group=glob(*)`` leaves it out.

    Args:
        message: One line for the user.
        group: Config group of the choice.
    """

    def __init__(self, message: str, *, group: str) -> None:
        super().__init__(message)
        self.group = group
