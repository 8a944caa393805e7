"""Mixtures of experts as transformers writes them: weights [expert, …], each token computed by the few that it is routed to.

The rows are taken apart before routing and put together after it, so that a token's example is known in between: it is where
the token came from. Each expert's part of a weight is a matrix of its own, whose gradient is ``Σ_t o_tᵀ x_t`` over the tokens
that it computed.

Axes: token = the batch's tokens, one row after another; pair = a token and one of its experts, by expert, then by example.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import FactoredGradient, PerExampleGradient, UseGradient, accumulating
from drpt.capture.layers.layer_rule import FactoredForm, GradientForm, LayerRule, PerExampleForm
from drpt.capture.layers.linear import CapturedLinear
from drpt.capture.layers.site import Forward, RowAxis, Site, check_rows
from drpt.capture.segments import Segments
from drpt.capture.tokens import TokenVectors


class ExpertsRule(LayerRule):
    """Both products of each expert over its own tokens, then the sum over a token's experts by their routing weights."""

    name = "experts"
    parameters = None

    @staticmethod
    def recognizes(module: nn.Module) -> bool:
        """Whether a module is built as transformers' mixtures of experts are, whatever the model's family."""
        named = ("num_experts", "has_gate", "has_bias", "is_transposed", "_apply_gate", "_is_expert_parallel")
        return all(hasattr(module, name) for name in named) and isinstance(getattr(module, "down_proj", None), nn.Parameter)

    def captured_forward(self, module: nn.Module, ordinary: Forward, site: Site) -> Forward:
        """See `LayerRule.captured_forward`.

        Args:
            module: A mixture of experts; see `recognizes`.
            ordinary: Its own forward; not used.
            site: The module's place in the capture.

        Returns:
            The forward to run instead.

        Raises:
            UnsupportedModuleError: The experts are spread over processes.
        """
        if module._is_expert_parallel:
            raise UnsupportedModuleError(f"{site.name}: experts that are spread over processes have no rule; keep them whole.")
        return partial(_forward, module, site)

    def gradient_form(self, module: nn.Module, parameter: str) -> GradientForm:
        """See `LayerRule.gradient_form`."""
        values = module.get_parameter(parameter)
        if values.ndim <= len(("expert", "output")):
            return PerExampleForm(values.numel())
        config = getattr(module, "config", None)
        num_chosen = getattr(config, "num_experts_per_tok", None) or getattr(config, "moe_topk", None) or 1
        left, right = values.shape[-2:]
        return FactoredForm(left, right, matrices_per_token=int(num_chosen))


def _forward(experts: Any, site: Site, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    # Any: attributes that transformers sets
    if check_rows(hidden_states, site) is RowAxis.NONE:
        raise UnsupportedModuleError(
            f"{site.name}: input of shape {tuple(hidden_states.shape)}, in which the {site.layout.num_rows} rows of the "
            "batch cannot be found. Freeze the experts."
        )
    first = "gate_up_proj" if experts.has_gate else "up_proj"
    tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
    num_chosen = top_k_index.shape[-1]
    pairs = _pairs(top_k_index.reshape(-1), num_chosen, site)
    selected = tokens.index_select(0, pairs.tokens)
    outputs = []
    for part in pairs.parts:
        x = _product(experts, first, selected[part.place], part, site)
        x = experts._apply_gate(x) if experts.has_gate else experts.act_fn(x)
        outputs.append(_product(experts, "down_proj", x, part, site))
    weighted = torch.cat(outputs) * top_k_weights.reshape(-1)[pairs.order].unsqueeze(-1)
    summed = weighted[pairs.order.argsort()].unflatten(0, (-1, num_chosen)).sum(dim=1)
    return summed.to(hidden_states.dtype).view_as(hidden_states)


@dataclass(frozen=True, slots=True)
class _Part:
    """The pairs of one expert."""

    expert: int
    place: slice  # among all pairs
    segments: Segments  # of those whose token belongs to an example
    num_padding: int  # pairs before them, of tokens that belong to none


@dataclass(frozen=True, slots=True)
class _Pairs:
    order: Tensor  # [pair], the pair's number as the router lists it
    tokens: Tensor  # [pair]
    parts: list[_Part]


def _pairs(experts: Tensor, num_chosen: int, site: Site) -> _Pairs:
    examples = site.layout.example_of_flat_token(len(experts) // num_chosen, experts.device).repeat_interleave(num_chosen)
    num_groups = int(site.layout.examples[-1]) + 2 if site.layout.examples else 1
    key = experts * num_groups + examples + 1
    order = key.argsort(stable=True)
    found, counts = torch.unique_consecutive(key[order], return_counts=True)
    groups: dict[int, list[tuple[int, int]]] = {}
    for group, count in zip(found.tolist(), counts.tolist(), strict=True):
        groups.setdefault(group // num_groups, []).append((group % num_groups - 1, count))
    parts, start = [], 0
    for expert, members in groups.items():
        num_padding = sum(count for example, count in members if example < 0)
        own = [(example, count) for example, count in members if example >= 0]
        stop = start + sum(count for _, count in members)
        segments = Segments(tuple(example for example, _ in own), tuple(count for _, count in own))
        parts.append(_Part(expert, slice(start, stop), segments, num_padding))
        start = stop
    return _Pairs(order, order.div(num_chosen, rounding_mode="floor"), parts)


def _product(experts: Any, name: str, x: Tensor, part: _Part, site: Site) -> Tensor:
    """One expert's product, recorded where its weight or bias is trained."""
    weight = experts._parameters[name].detach()[part.expert]
    is_input_first = bool(experts.is_transposed)
    bias = experts._parameters[f"{name}_bias"].detach()[part.expert] if experts.has_bias else None
    trained = [own for own in (name, f"{name}_bias") if own in site.trained]
    operands = [x, weight.T if is_input_first else weight, bias]
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        operands = [None if t is None else t.to(dtype) for t in operands]
    if not trained:
        return nn.functional.linear(*operands)
    record = _recorder(experts, name, part, site, is_input_first=is_input_first)
    output: Tensor = CapturedLinear.apply(*operands, site.anchor, record)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    site.announce(trained, (output.numel() + x.numel()) * output.element_size())
    return output


def _recorder(experts: Any, name: str, part: _Part, site: Site, *, is_input_first: bool) -> Callable[[Tensor, Tensor], None]:
    def record(x: Tensor, output_grad: Tensor) -> None:
        inputs, outputs = x[part.num_padding :], output_grad[part.num_padding :]
        uses: list[tuple[str, UseGradient]] = []
        if name in site.trained:
            left, right = (inputs, outputs) if is_input_first else (outputs, inputs)
            vectors = TokenVectors(left), TokenVectors(right)
            uses.append((name, FactoredGradient(*vectors, part.segments, left.shape[1], part.expert, experts.num_experts)))
        if f"{name}_bias" in site.trained:
            sums = part.segments.sums(accumulating(outputs))
            grads = sums.new_zeros(len(sums), experts.num_experts, sums.shape[1])
            grads[:, part.expert] = sums
            uses.append((f"{name}_bias", PerExampleGradient(grads, part.segments)))
        site.record(uses)

    return record
