"""Turns off dropout for reinforcement learning, so that the policy being trained is the one that samples responses."""

from torch import nn


def without_dropout(model: nn.Module) -> nn.Module:
    """Switch a model to evaluation mode, but keep gradient checkpointing, which needs training mode.

    Args:
        model: Causal language model of transformers; changed in place.

    Returns:
        The same object.
    """
    model.eval()
    for module in model.modules():
        # transformers checks the mode of the checkpointed layer itself; its children stay in evaluation mode.
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
    return model
