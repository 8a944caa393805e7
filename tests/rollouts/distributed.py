"""What the processes of `test_distributed` do: each with an engine of its own beside the trainer's group."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from drpt.models.merged import merged_weights
from drpt.models.tiny import tiny_model
from drpt.rollouts.vllm_engine import VllmRollout
from tests.rollouts.helpers import PROMPTS, disturbed, sampling

SHARES = (PROMPTS, [[9, 8, 7, 6], [1] * 150])  # prompts of the processes


def sharded(model):
    from torch.distributed.fsdp import fully_shard

    for layer in model.model.layers:
        fully_shard(layer)
    return fully_shard(model)


def run(rank, folder):
    settings = {"dtype": "float32", "max_model_len": 512, "kv_cache_mib": 64, "threads": 1, "device": torch.device("cpu")}
    results = {}
    engine = VllmRollout(model_folder=folder / "tiny", **settings)
    try:
        before = engine.generate(SHARES[rank], sampling(seed=rank))
        model = disturbed(tiny_model())
        engine.sync(merged_weights(sharded(model)))
        after = engine.generate(SHARES[rank], sampling(seed=rank))
    finally:
        engine.close()
    gathered = [None, None]
    dist.all_gather_object(gathered, [before, after])  # the group has outlived the engine
    results["gathered"] = gathered
    engine = VllmRollout(model_folder=folder / "tiny", **settings)  # another one, in the same group
    results["again"] = engine.generate(SHARES[rank], sampling(seed=rank)) == before
    engine.close()
    total = torch.ones(1)
    dist.all_reduce(total)
    results["processes"] = float(total)
    torch.save(results, folder / f"{rank}.pt")


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    run(rank, folder)
    dist.destroy_process_group()
