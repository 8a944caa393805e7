"""Numerical errors that stop a run, raised by several packages of drpt and reported by the command line.

Free of torch, so that reporting an error does not load it.
"""


class NonFiniteError(ArithmeticError):
    """A number that training depends on is NaN or infinite. No weight was updated, and no file written, with it."""


class NonFiniteLossError(NonFiniteError):
    """An example's loss is NaN or infinite."""


class NonFiniteRewardError(NonFiniteError):
    """A reward term or a judge scored an answer with NaN or infinity."""


class NonFiniteGradientError(NonFiniteError):
    """A gradient inside the model is NaN or infinite although the losses are finite."""


class NonFiniteUpdateError(NonFiniteError):
    """The gradient for the optimizer contains NaN or infinity, or its squared norm overflows."""


class NonFiniteWeightsError(NonFiniteError):
    """Trained weights, or the optimizer's moments, are NaN or infinite."""


class VanishedUpdatesError(ArithmeticError):
    """Every update of a run was zero, so training changed nothing."""


class UpdateMismatchError(ArithmeticError):
    """The update that a step left in ``.grad`` contradicts the step's coefficients and inner products."""
