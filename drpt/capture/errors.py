"""Errors of the capture."""


class UnsupportedModuleError(TypeError):
    """A trainable parameter is used in a way that no rule covers; the message names it and the remedies."""


class NonFiniteGradientError(ArithmeticError):
    """A gradient is NaN or infinite although the loss is finite; the message names the module."""
