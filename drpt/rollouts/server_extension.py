"""Methods added to the workers of a vLLM server: describing their model, and loading weights from a folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class WeightRepacking:
    """Mixin for vLLM's worker, installed by ``--worker-extension-cls``; clients call its methods via ``/collective_rpc``.

    It is needed because ``reload_weights`` of vLLM 0.32 does not update the packed copy of a tied output layer on the CPU.
    """

    model_runner: Any  # Any: vLLM has no types that we check
    model_config: Any
    reload_weights: Any

    def drpt_describe(self) -> dict[str, Any]:
        """Describe the server's model, for a client to compare with its own.

        Returns:
            ``dtype``, ``logprobs_mode``, ``max_model_len``, and ``shapes``: the shape of every parameter by its name in the
            Hugging Face model, tied parameters once.
        """
        config = self.model_config
        return {
            "dtype": str(config.dtype).removeprefix("torch."),
            "logprobs_mode": str(config.logprobs_mode),
            "max_model_len": int(config.max_model_len),
            "shapes": _shapes(config.hf_config),
        }

    def drpt_load(self, folder: str) -> dict[str, Any]:
        """Replace every weight.

        Args:
            folder: Folder of safetensors files with exactly the parameters of ``drpt_describe``; this is not checked here.

        Returns:
            ``num_tensors``, the number of tensors that were read.

        Raises:
            FileNotFoundError: The folder has no weights, as when client and server do not share it.
        """
        paths = sorted(Path(folder).glob("*.safetensors"))
        if not paths:
            raise FileNotFoundError(f"{folder} has no weights on the server: rollout.weights_folder must be shared by both")
        names: list[str] = []
        self.reload_weights(weights_iterator=_read(paths, names))
        for module in self.model_runner.get_model().modules():
            # An empty weight was consumed when it was packed; reloading has packed it again.
            if hasattr(module, "cpu_linear") and module.weight.numel() > 0:
                module.quant_method.process_weights_after_loading(module)
        return {"num_tensors": len(names)}


def _read(paths: list[Path], names: list[str]) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    for path in paths:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - a safetensors file is not a dictionary
                names.append(name)
                yield name, file.get_tensor(name)


def _shapes(config: Any) -> dict[str, list[int]]:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: list(parameter.shape) for name, parameter in model.named_parameters()}
