"""torch's own norms, whose fused kernels take no scales of single rows: normalise first, then scale and shift."""

import torch.nn.functional as F
from torch import Tensor, nn

from drpt.capture.layers.own_code import stand_in
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor
from drpt.capture.layers.site import Forward, Site, check_rows


def normalization_rule(module: nn.Module, forward: Forward, site: Site) -> Forward:
    """`nn.LayerNorm` and `nn.RMSNorm`, by their own forwards of torch.

    Args:
        module: The norm.
        forward: Its own forward; not used.
        site: Its place.

    Returns:
        The forward to run instead.
    """
    assert isinstance(module, nn.LayerNorm | nn.RMSNorm)
    shape = list(module.normalized_shape)

    def captured(x: Tensor) -> Tensor:
        if not isinstance(x, SharedTensor):
            check_rows(x, site)
        own: dict[str, Tensor | None] = {}
        for name in ("weight", "bias"):
            parameter = getattr(module, name, None)
            is_trained = parameter is not None and name in site.trained
            own[name] = stand_in(module, name, site) if is_trained else parameter
        y = F.layer_norm(x, shape, eps=module.eps) if isinstance(module, nn.LayerNorm) else F.rms_norm(x, shape, eps=module.eps)
        dtype = y.dtype  # which torch's kernels keep, whatever that of scale and shift
        y = y if own["weight"] is None else y * own["weight"]
        y = y if own["bias"] is None else y + own["bias"]
        return y if y.dtype == dtype else y.to(dtype)

    return captured
