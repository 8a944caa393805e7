"""Errors of the capture, and the way out that they have in common."""

FREEZE = (
    "Freeze its parameters (requires_grad_(False)); on the command line, finetune=lora finetune.target_modules=[…] trains "
    "other layers."
)
ONE_A_ROW = "Give batches of one example a row (on the command line data.packing=false)"


class UnsupportedModuleError(NotImplementedError):
    """A trainable parameter is used in a way that no rule covers; the message names it and the remedies.

    No `TypeError`: within an operator, Python takes one to mean that the other operand should be asked.
    """
