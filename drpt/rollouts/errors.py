"""What an engine raises; no torch."""


class RolloutError(RuntimeError):
    """An engine could not be built, died or answered what cannot be; the message says what to do."""
