"""Errors of numbers that stop a run, whatever room finds them (no torch: who only reports them need not load it)."""


class NonFiniteError(ArithmeticError):
    """A number that training depends on is NaN or infinite; nothing was updated or written with it."""


class NonFiniteLossError(NonFiniteError):
    """An example's loss is NaN or infinite."""


class NonFiniteRewardError(NonFiniteError):
    """What a term of the reward or a judge says of an answer is NaN or infinite."""


class NonFiniteGradientError(NonFiniteError):
    """A gradient within the model is NaN or infinite although the losses are finite."""


class NonFiniteUpdateError(NonFiniteError):
    """The gradient that the optimizer is about to take has a NaN, an infinity, or a norm beyond what it can square."""


class NonFiniteWeightsError(NonFiniteError):
    """Trained weights, or what the optimizer remembers of their gradients, are NaN or infinite."""


class VanishedUpdatesError(ArithmeticError):
    """A whole run changed nothing: all its updates were zero."""


class UpdateMismatchError(ArithmeticError):
    """The update that a step left is not the one that its coefficients and inner products describe."""
