"""A policy with a value head: a linear layer on the language model's last hidden states, used by PPO."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

VALUE_HEAD = "value_head"  # name of the submodule, and prefix of its parameters' names


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """Logits and values at the positions of a batch."""

    logits: Float[Tensor, "some position V"]  # logits of the next token; [row, token, V] unless positions were selected
    values: Float[Tensor, "row token"]  # value of the text up to and including each token, in float32


class PolicyWithValues(nn.Module):
    """A causal language model and a value head on the same trunk.

    The head is initialised to zero: its first values are 0, and its first gradients do not reach the trunk. Its parameters
    are float32 unless a trainer converts the whole module; its values are always float32.

    Args:
        policy: Causal language model of transformers, or peft's wrapper around one.

    Raises:
        ValueError: The model has no output embeddings, whose inputs are the last hidden states.
    """

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        output = output_embeddings(policy)
        if output is None:
            raise ValueError(f"{type(policy).__name__} has no output embeddings: a value head needs a causal language model.")
        self.policy = policy
        weight = output.weight
        self.value_head = nn.Linear(weight.shape[1], 1, dtype=torch.float32, device=weight.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, **inputs: Any) -> PolicyOutput:  # Any: arguments of the language model
        """Compute logits and values in one pass.

        Args:
            **inputs: Arguments of the language model.

        Returns:
            Logits and values at every position.
        """
        seen: list[Tensor] = []
        output = output_embeddings(self.policy)
        assert output is not None
        # The input of the output embeddings is the last hidden state in every architecture. The hook must run before that of
        # `drpt.models.predictions`, which selects positions.
        handle = output.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]), prepend=True)
        try:
            logits = self.policy(**inputs).logits
        finally:
            handle.remove()
        (hidden,) = seen
        with torch.autocast(hidden.device.type, enabled=False):
            values = self.value_head(hidden.to(self.value_head.weight.dtype)).squeeze(-1).float()
        return PolicyOutput(logits=logits, values=values)


def language_model(model: nn.Module) -> nn.Module:
    """The policy without its value head, if it has one; engines, references and exports use it."""
    return model.policy if isinstance(model, PolicyWithValues) else model


def values_of_tokens(values: Float[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """Shift the values by one position, so that entry t is the value of the state before token t.

    Args:
        values: Values of the text up to and including each token, as in `PolicyOutput` [row, token].

    Returns:
        Values of the states before each token [row, token]; 0 at position 0, before which there is no text.
    """
    return nn.functional.pad(values[:, :-1], (1, 0))


def output_embeddings(policy: Any) -> Any:  # Any: transformers and peft have no types
    """The layer that maps hidden states to logits; None if the model does not name one."""
    return policy.get_output_embeddings() if hasattr(policy, "get_output_embeddings") else None
