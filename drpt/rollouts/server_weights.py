"""Writes the policy's weights for a server, as safetensors files in a shared folder. Called by `vllm_server` at every sync."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from drpt.rollouts.errors import RolloutError

_SHARD_BYTES = 2 * 2**30  # size of a file, and thus of the copies held in memory: merged adapters are new tensors


def write_weights(
    weights: Iterable[tuple[str, Tensor]], folder: Path, *, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype
) -> None:
    """Write every parameter, in files of at most 2 GiB or one parameter. The folder appears only when it is complete.

    Args:
        weights: Name and value of each parameter.
        folder: Folder to create; it must not exist.
        shapes: Shape of every parameter of the server, by name.
        dtype: Floating-point type of the server.

    Raises:
        RolloutError: Names or shapes differ from the server's, or writing fails; nothing is left behind.
    """
    half = folder.with_name(f".{folder.name}.part")
    try:
        half.mkdir(parents=True)
        _write_shards(weights, half, shapes, dtype)
        os.replace(half, folder)
    except OSError as error:
        raise RolloutError(
            f"rollout.weights_folder={str(folder.parent)!r}: weights for the server cannot be written ({error}); free "
            "some space or name another folder."
        ) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _write_shards(
    weights: Iterable[tuple[str, Tensor]], folder: Path, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype
) -> None:
    missing, shard, num_bytes, num_shards = set(shapes), dict[str, Tensor](), 0, 0
    for name, value in weights:
        if name not in missing or list(value.shape) != list(shapes[name]):
            raise _wrong_model(
                f"{name} of shape {list(value.shape)}, where the server has {list(shapes.get(name, [])) or 'none'}"
            )
        missing.remove(name)
        copy = _own_storage(value.detach().to("cpu", dtype))
        if shard and num_bytes + copy.nbytes > _SHARD_BYTES:
            _save(shard, folder, num_shards)
            shard, num_bytes, num_shards = {}, 0, num_shards + 1
        shard[name] = copy
        num_bytes += copy.nbytes
    if missing:
        raise _wrong_model(f"no {min(missing)} and {len(missing) - 1} others of the server's {len(shapes)}")
    _save(shard, folder, num_shards)


def _own_storage(tensor: Tensor) -> Tensor:
    # safetensors refuses tensors that share memory.
    tensor = tensor.contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _save(shard: dict[str, Tensor], folder: Path, place: int) -> None:
    from safetensors.torch import save_file

    save_file(shard, folder / f"weights-{place:05}.safetensors")


def _wrong_model(difference: str) -> RolloutError:
    return RolloutError(
        f"The server's model is not the policy's, which has {difference}. Start the server with the policy's own folder."
    )
