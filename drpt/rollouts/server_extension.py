"""What a worker of a vLLM server can do beyond vLLM: say what it holds, and take over weights from a folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class WeightRepacking:
    """Mixed into vLLM's worker by ``--worker-extension-cls``; its methods are called by ``/collective_rpc``.

    Needed since vLLM 0.32's own ``reload_weights`` leaves behind, on the CPU, the packed copy of a tied output layer.
    """

    model_runner: Any  # vLLM's, without types
    model_config: Any
    reload_weights: Any

    def drpt_describe(self) -> dict[str, Any]:
        """What a client compares itself with.

        Returns:
            ``dtype``, ``logprobs_mode``, ``max_model_len``, and ``shapes``: every parameter of the Hugging Face model
            by its name there, a tied one once.
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
            folder: Holds safetensors files with exactly the parameters of ``drpt_describe``; the caller sees to that.

        Returns:
            ``num_tensors`` that were read.

        Raises:
            FileNotFoundError: No file is there: the folder is the client's own and not shared.
        """
        paths = sorted(Path(folder).glob("*.safetensors"))
        if not paths:
            raise FileNotFoundError(f"{folder} holds no weights here: rollout.weights_folder must be one folder for both")
        names: list[str] = []
        self.reload_weights(weights_iterator=_read(paths, names))
        for module in self.model_runner.get_model().modules():
            # An empty weight was consumed by its packing, which reloading has done again.
            if hasattr(module, "cpu_linear") and module.weight.numel() > 0:
                module.quant_method.process_weights_after_loading(module)
        return {"num_tensors": len(names)}


def _read(paths: list[Path], names: list[str]) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    for path in paths:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                names.append(name)
                yield name, file.get_tensor(name)


def _shapes(config: Any) -> dict[str, list[int]]:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: list(parameter.shape) for name, parameter in model.named_parameters()}
