"""Errors of the capture."""


class UnsupportedModuleError(TypeError):
    """A trainable parameter is used in a way that no rule covers; the message names it and the remedies."""
