"""Embedding tables: gathered and scattered, never one dense gradient an example."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.gradients import FactoredGradient
from drpt.capture.layers.layer_rule import FactoredForm, GradientForm, LayerRule
from drpt.capture.layers.shared_values.by_rows import by_rows
from drpt.capture.layers.shared_values.embedding_options import refuse_options
from drpt.capture.layers.site import Forward, Site
from drpt.capture.tokens import TokenVectors


class CapturedEmbedding(torch.autograd.Function):
    """``y = W[ids]`` whose backward hands (ids, o) to ``record`` instead of forming a gradient of W."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        token_ids: Tensor,
        weight: Tensor,
        anchor: Tensor,
        record: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        """``F.embedding``; the weight is detached."""
        ctx.save_for_backward(token_ids)
        ctx.record = record  # type: ignore[attr-defined]  # a ctx takes any attribute; its stub does not say so
        # Not the view that F.embedding may return: see `CapturedLinear`.
        output = weight.new_empty(*token_ids.shape, weight.shape[1])
        torch.index_select(weight, 0, token_ids.reshape(-1), out=output.view(-1, weight.shape[1]))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_grad: Tensor) -> tuple[None, None, None, None]:
        """Nothing flows on; (ids, o) go to ``record``."""
        (token_ids,) = ctx.saved_tensors  # type: ignore[attr-defined]  # a ctx's attributes
        ctx.record(token_ids, output_grad)  # type: ignore[attr-defined]  # a ctx's attributes
        return None, None, None, None


class EmbeddingRule(LayerRule):
    """`nn.Embedding`, by its own forward of torch: a token's gradient is its id's unit vector ⊗ o."""

    name = "embedding"
    parameters = frozenset(("weight",))

    def captured_forward(self, module: nn.Module, ordinary: Forward, site: Site) -> Forward:
        """See `LayerRule.captured_forward`.

        Args:
            module: The table.
            ordinary: Its own forward; not used.
            site: The table's place in the capture.

        Returns:
            The forward to run instead.

        Raises:
            UnsupportedModuleError: The table renormalises itself or rescales its own gradient.
        """
        assert isinstance(module, nn.Embedding)
        refuse_options(site, max_norm=module.max_norm, scale_grad_by_freq=module.scale_grad_by_freq or None)

        def captured(token_ids: Tensor) -> Tensor:
            return table_look_up(site, "weight", module.weight.detach(), padding_idx=module.padding_idx)(token_ids)

        return captured

    def gradient_form(self, module: nn.Module, parameter: str) -> GradientForm:
        """See `LayerRule.gradient_form`."""
        num_ids, width = module.get_parameter(parameter).shape
        return FactoredForm(num_ids, width, is_ids=True)


def table_look_up(site: Site, name: str, weight: Tensor, *, padding_idx: int | None) -> Callable[[Tensor], Tensor]:
    """Look-ups in a table that are recorded.

    Args:
        site: The module's place.
        name: The table's name within the module, such as ``weight``.
        weight: The table [id, width], detached, perhaps cast to another dtype.
        padding_idx: The id whose row gets no gradient; None where all rows do.

    Returns:
        Takes token ids, of rows or shared by all.
    """

    def record(token_ids: Tensor, output_grad: Tensor) -> None:
        ids, segments = site.layout.flatten(token_ids)
        output_grads, _ = site.layout.flatten(output_grad)
        if padding_idx is not None:
            output_grads = output_grads.masked_fill((ids == padding_idx % len(weight)).unsqueeze(-1), 0.0)
        site.record([(name, FactoredGradient(TokenVectors(ids), TokenVectors(output_grads), segments, len(weight)))])

    def look_up(token_ids: Tensor) -> Tensor:
        output: Tensor = CapturedEmbedding.apply(token_ids, weight, site.anchor, record)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        site.announce([name], output.numel() * output.element_size())
        return output

    rows = by_rows(look_up, site)

    def checked(token_ids: Tensor) -> Tensor:
        if token_ids.ndim == 1 and len(token_ids) == site.layout.num_rows:
            raise UnsupportedModuleError(
                f"{site.name}: {len(token_ids)} ids in one vector, for a batch of {len(token_ids)} rows: one id a row, or one "
                "a token that all rows share? Give the ids an axis of rows, [row, token]."
            )
        return rows(token_ids)

    return checked if torch.is_grad_enabled() else lambda token_ids: torch.nn.functional.embedding(token_ids, weight)
