"""Builds the rollout engine that the `rollout` config group describes; called when a reinforcement-learning run is set up."""

from pathlib import Path

import torch

from drpt.rollouts.outside import engine_class
from drpt.rollouts.protocol import Rollout
from drpt.rollouts.spec import DTYPES, RolloutSpec
from drpt.rollouts.transformers_engine import TransformersRollout
from drpt.rollouts.vllm_engine import VllmRollout
from drpt.rollouts.vllm_server import VllmServerRollout


def build_rollout(spec: RolloutSpec, *, model_folder: Path, device: torch.device, max_model_len: int) -> Rollout:
    """Build the engine.

    Args:
        spec: Values of the `rollout` config group.
        model_folder: Folder with the model's configuration and weights; unused by a server, which has its own.
        device: Device of engines that run in this process.
        max_model_len: Largest number of tokens of prompt and response together.

    Returns:
        The engine; the caller must `close` it.

    Raises:
        RolloutError: The engine cannot be built on this machine or for this model.
        ValueError: The engine is a dotted path that leads to no engine.
    """
    if spec.is_own_engine:
        given = {"model_folder": model_folder, "dtype": spec.dtype, "max_model_len": max_model_len, "device": device}
        engine: Rollout = engine_class(spec)(**given, **spec.arguments)
        if getattr(engine, "dtype", None) not in DTYPES:
            raise ValueError(f"rollout.engine={spec.engine}: its attribute dtype must be one of {', '.join(DTYPES)}.")
        return engine
    if spec.engine == "vllm_server":
        return VllmServerRollout(
            url=str(spec.url),
            token_variable=spec.token_variable,
            weights_folder=spec.weights_folder,
            max_model_len=max_model_len,
            dtype=spec.dtype,
        )
    if spec.engine == "transformers":
        return TransformersRollout(model_folder=model_folder, dtype=spec.dtype, max_model_len=max_model_len, device=device)
    return VllmRollout(
        model_folder=model_folder,
        dtype=spec.dtype,
        max_model_len=max_model_len,
        kv_cache_mib=spec.kv_cache_mib,
        threads=spec.threads,
        device=device,
    )
