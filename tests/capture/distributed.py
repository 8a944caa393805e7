"""What the processes of `test_distributed` do: each its share of a step, whose result must be that of one process."""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn

from drpt.capture import step
from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.sketch_spec import SketchSpec
from tests import zoo
from tests.capture.helpers import M, N, regularizer, step_rows

SHARES = ((0, 1, 2, 5), (3, 4, 6))  # examples of the processes, not equally many
SKETCH = SketchSpec(kind="gaussian", left_width=3, right_width=2, seed=5, refresh_steps=None)
# name of a case -> regularizer, partition, products, retain_mib
CASES = {
    f"{feasible_set}-{partition}-{products}": (feasible_set, partition, products)
    for feasible_set in ("subset", "hull", "mean")
    for partition in ("layer", "global")
    for products in ("auto", "reduced", "pairwise", "direct", "sketch")
    if feasible_set != "mean" or products == "auto"
}


# Batches of the processes: of the targets, the first two batches hold all, the second two not.
IN_PARTS = (((5,), (0, 1, 2)), ((6,), (3, 4)))
TARGET_LATE = (((5,), (0, 1, 2)), ((3, 4), (6,)))
POOLED = ((0, 1, 2, 5), (3, 4, 6))  # each process has general and target examples of its own


def grads_of_ranks(model, shares):
    """`pool=rank`: each share chooses among its own examples, for its share of the update."""
    reg = regularizer("hull", pool="rank")
    capture = GradientCapture(model, reg)
    model.zero_grad()
    for examples in shares:
        general = [example for example in examples if example < N]
        rows = step_rows(n=len(general), m=len(examples) - len(general))
        with capture.step(rows, scale=len(general) / N) as opened:
            opened.backward(model(part_of(zoo.inputs_for(model, N + M), examples)))
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def part_of(inputs, examples):
    if isinstance(inputs, tuple):
        return tuple(tensor[list(examples)] for tensor in inputs)
    return inputs[list(examples)]


def grads_of(case, model, examples, retain_mib=1000.0):
    feasible_set, partition, products = CASES[case]
    reg = regularizer(feasible_set, partition=partition, products=products)
    capture = GradientCapture(model, reg, sketch=SKETCH if products == "sketch" else None, retain_mib=retain_mib)
    model.zero_grad()
    inputs = part_of(zoo.inputs_for(model, N + M), examples)
    with capture.step(step_rows(), examples=examples) as opened:
        opened.backward(model(inputs))
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def grads_in_parts(case, model, parts, retain_mib):
    """Accumulated over several batches a process, one choice over all of them; or why that is refused."""
    feasible_set, partition, products = CASES[case]
    reg = regularizer(feasible_set, partition=partition, products=products)
    capture = GradientCapture(model, reg, sketch=SKETCH if products == "sketch" else None, retain_mib=retain_mib)
    model.zero_grad()
    inputs = zoo.inputs_for(model, N + M)
    try:
        with capture.step(step_rows(), examples=(), num_parts=len(parts)) as opened:
            for examples in parts:
                opened.part(examples=examples)
                opened.backward(lambda examples=examples: model(part_of(inputs, examples)))
    except ValueError as error:
        return str(error)
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


class Tower(nn.Module):
    """Layers that FSDP2 shards one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6, bias=False)) for _ in range(2)
        )

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x


def tower():
    torch.manual_seed(3)
    return zoo.VectorLosses(Tower()).double()


def sharded(model):
    from torch.distributed.fsdp import fully_shard

    for layer in model.net.layers:
        fully_shard(layer)
    fully_shard(model)
    return model


def run(rank, folder):
    results = {}
    for name in ("tied llama", "lora", "norms and biases"):
        for case in CASES:
            results[name, case] = grads_of(case, zoo.build(name), SHARES[rank])
            if "global" in case:
                results[name, case, "again"] = grads_of(case, zoo.build(name), SHARES[rank], retain_mib=0.0)
        for case in CASES:
            for retain_mib in (1000.0, 0.0):
                for layout, shares in (("in parts", IN_PARTS), ("target late", TARGET_LATE)):
                    found = grads_in_parts(case, zoo.build(name), shares[rank], retain_mib)
                    results[name, case, layout, retain_mib] = found
        step.WAITING_BYTES, before = 0, step.WAITING_BYTES  # every block alone
        results[name, "one by one"] = grads_of("hull-layer-auto", zoo.build(name), SHARES[rank])
        step.WAITING_BYTES = before
    results["rank"] = grads_of_ranks(zoo.build("tied llama"), [POOLED[rank]])
    try:
        GradientCapture(nn.parallel.DistributedDataParallel(zoo.build("one layer")), regularizer())
    except UnsupportedModuleError as error:
        results["wrapper"] = str(error)
    for case in CASES:
        if "layer" not in case:
            continue
        model = sharded(tower())
        found = grads_of(case, model, SHARES[rank])
        results["fsdp", case] = {key: grad.full_tensor() for key, grad in found.items() if grad is not None}
    try:
        GradientCapture(sharded(tower()), regularizer(partition="global"))
    except ValueError as error:
        results["refusal"] = str(error)
    torch.save(results, f"{folder}/{rank}.pt")


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    run(rank, folder)
    dist.destroy_process_group()
