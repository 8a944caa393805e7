"""torch's own norms, whose fused kernels take no scales of single rows: normalise first, then scale and shift."""

import torch.nn.functional as F
from torch import Tensor, nn

from drpt.capture.layers.layer_rule import GradientForm, LayerRule, PerExampleForm
from drpt.capture.layers.own_code import stand_in
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor
from drpt.capture.layers.site import Forward, Site, check_rows


class NormRule(LayerRule):
    """`nn.LayerNorm` and `nn.RMSNorm`, by their own forwards of torch."""

    name = "norm"
    parameters = frozenset(("weight", "bias"))

    def captured_forward(self, module: nn.Module, ordinary: Forward, site: Site) -> Forward:
        """See `LayerRule.captured_forward`."""
        assert isinstance(module, nn.LayerNorm | nn.RMSNorm)

        def captured(x: Tensor) -> Tensor:
            if not isinstance(x, SharedTensor):
                check_rows(x, site)
            own: dict[str, Tensor | None] = {}
            for name in ("weight", "bias"):
                parameter = getattr(module, name, None)
                is_trained = parameter is not None and name in site.trained
                own[name] = stand_in(module, name, site) if is_trained else parameter
            y = _normalised(x, module)
            dtype = y.dtype  # which torch's kernels keep, whatever that of scale and shift
            y = y if own["weight"] is None else y * own["weight"]
            y = y if own["bias"] is None else y + own["bias"]
            return y if y.dtype == dtype else y.to(dtype)

        return captured

    def gradient_form(self, module: nn.Module, parameter: str) -> GradientForm:
        """See `LayerRule.gradient_form`."""
        return PerExampleForm(module.get_parameter(parameter).numel())


def _normalised(x: Tensor, module: nn.LayerNorm | nn.RMSNorm) -> Tensor:
    shape = list(module.normalized_shape)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, shape, eps=module.eps)
    return F.rms_norm(x, shape, eps=module.eps)


class RmsNormRule(NormRule):
    """`nn.RMSNorm`, which has a scale and no shift."""

    parameters = frozenset(("weight",))
