"""A policy that also says what it expects: a linear head on the language model's last hidden states."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

VALUE_HEAD = "value_head"  # name of the submodule, and beginning of its parameters' names


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """What the model says at every position."""

    logits: Float[Tensor, "some position V"]  # of the token after it; [row, token, V] unless others were asked for
    values: Float[Tensor, "row token"]  # of the text up to it, float32


class PolicyWithValues(nn.Module):
    """A causal language model and a value head that share the trunk.

    The head begins at zero, so that its first values are 0 and its first gradients leave the trunk alone. It is float32, unless
    a trainer makes the whole module something else; values are float32 in any case.

    Args:
        policy: Causal language model of transformers, or peft's wrapper around one.

    Raises:
        ValueError: The model has no output embeddings to take hidden states from.
    """

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        output = output_embeddings(policy)
        if output is None:
            raise ValueError(f"{type(policy).__name__} has no output embeddings: a value head is for causal language models.")
        self.policy = policy
        weight = output.weight
        self.value_head = nn.Linear(weight.shape[1], 1, dtype=torch.float32, device=weight.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, **inputs: Any) -> PolicyOutput:  # Any: whatever the language model takes
        """Logits and values from one pass.

        Args:
            **inputs: Of the language model.

        Returns:
            Both, at every position.
        """
        seen: list[Tensor] = []
        output = output_embeddings(self.policy)
        assert output is not None
        # What the output embeddings are given is the last hidden state, whatever the architecture calls it; before anybody
        # else takes some of it (`drpt.models.predictions`).
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
    """The policy without a value head, if it has one: what engines, references and exports are made from."""
    return model.policy if isinstance(model, PolicyWithValues) else model


def values_of_tokens(values: Float[Tensor, "row token"]) -> Float[Tensor, "row token"]:
    """``V`` of the state before each token, where the model gives that of the text up to and with it: moved by one place.

    Args:
        values: As `PolicyOutput` has them.

    Returns:
        Entry t belongs to token t; 0 at position 0, before which there is no text.
    """
    return nn.functional.pad(values[:, :-1], (1, 0))


def output_embeddings(policy: Any) -> Any:  # Any: transformers and peft have no types
    """The layer that makes logits of hidden states; None where the model does not name one."""
    return policy.get_output_embeddings() if hasattr(policy, "get_output_embeddings") else None
