"""A language model as a policy: no dropout, so that the policy that is trained is the one that answers."""

from torch import nn


def without_dropout(model: nn.Module) -> nn.Module:
    """Put a model into evaluation mode, and keep gradient checkpointing, which works in training mode alone.

    Args:
        model: A causal language model of transformers; changed in place.

    Returns:
        The same object.
    """
    model.eval()
    for module in model.modules():
        # transformers asks the layer itself, and its children stay as they are.
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
    return model
