"""What is wrong with a command or a configuration."""


class ConfigError(ValueError):
    """A configuration breaks rules; the message lists every fault, a line each."""


class NotForTaskError(ConfigError):
    """A choice that the run's task has no use for: ``group=glob(*)`` leaves it out.

    Args:
        message: A line.
        group: The group of the choice.
    """

    def __init__(self, message: str, *, group: str) -> None:
        super().__init__(message)
        self.group = group
