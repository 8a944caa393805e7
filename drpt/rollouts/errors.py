"""The error that rollout engines raise; free of torch."""


class RolloutError(RuntimeError):
    """An engine could not be built, failed, or returned invalid data; the message says what to do."""
