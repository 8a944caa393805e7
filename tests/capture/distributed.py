"""What the processes of `test_distributed` do: each its share of a step, whose result must be that of one process."""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn

from drpt.capture.capture import GradientCapture
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.passes import waiting
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.data.batch import pad_rows
from tests import zoo
from tests.capture.batches import ByFlag, losses_of, texts
from tests.capture.helpers import M, N, capture_of, micro_batches, regularizer, step_rows

SHARES = ((0, 1, 2, 5), (3, 4, 6))  # examples of the processes, not equally many
SKETCH = SketchSpec(kind="gaussian", left_width=3, right_width=2, seed=5, refresh_steps=None)
# name of a case -> regularizer, partition, products, activation_budget_mib
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
    """`choice_scope=rank`: each share chooses among its own examples, for its share of the update."""
    reg = regularizer("hull", choice_scope="rank")
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


def grads_of(case, model, examples, activation_budget_mib=1000.0, check=False):
    feasible_set, partition, products = CASES[case]
    reg = regularizer(feasible_set, partition=partition, products=products)
    capture = capture_of(
        model, reg, sketch=SKETCH if products == "sketch" else None, activation_budget_mib=activation_budget_mib, check=check
    )
    model.zero_grad()
    inputs = part_of(zoo.inputs_for(model, N + M), examples)
    with capture.step(step_rows(), examples=examples) as opened:
        opened.backward(model(inputs))
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def grads_in_parts(case, model, parts, activation_budget_mib, check=False):
    """Accumulated over several batches a process, one choice over all of them; or why that is refused."""
    feasible_set, partition, products = CASES[case]
    reg = regularizer(feasible_set, partition=partition, products=products)
    capture = capture_of(
        model, reg, sketch=SKETCH if products == "sketch" else None, activation_budget_mib=activation_budget_mib, check=check
    )
    model.zero_grad()
    inputs = zoo.inputs_for(model, N + M)
    try:
        with capture.step(step_rows(), micro_batches=micro_batches(parts)) as opened:
            for examples in parts:
                opened.backward(lambda examples=examples: model(part_of(inputs, examples)))
    except ValueError as error:
        return str(error)
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def settle(model, reg, examples, **options):
    """One step of a tied llama's or another model's share."""
    capture = capture_of(model, reg, **options)
    with capture.step(step_rows(), examples=examples) as opened:
        opened.backward(model(part_of(zoo.inputs_for(model, N + M), examples)))


def settle_padded(model, reg, examples):
    """Rows of different lengths."""
    tokens = pad_rows([texts()[i] for i in examples], pad_token_id=0, examples=examples)
    with GradientCapture(model, reg).step(step_rows(), example_of_token=tokens.example_of_token) as opened:
        opened.backward(losses_of(model, tokens, N + M)[tokens.examples])


def settle_given(model, reg, examples):
    """A target gradient of the processes' own target examples, each its share of the mean."""
    capture = GradientCapture(model, reg)
    inputs = zoo.inputs_for(model, N + M)
    general, targets = ([i for i in examples if i < N], [i for i in examples if i >= N])
    target = capture.target_gradient(lambda: (model(part_of(inputs, targets)).sum() / M).backward())
    with capture.step(step_rows(m=0), examples=general, target=target) as opened:
        opened.backward(model(part_of(inputs, general)))


# Further ways of a step: model, and what is done with it and the examples of a process
FURTHER = {
    "automatic strength": ("tied llama", lambda model, own: settle(model, regularizer("hull", strength="auto"), own)),
    "block": ("tied llama", lambda model, own: settle(model, regularizer("hull", partition="block"), own)),
    "kind": ("lora", lambda model, own: settle(model, regularizer("subset", partition="kind"), own)),
    "checkpointed": ("checkpointed llama", lambda model, own: settle(model, regularizer("hull"), own)),
    "in part": (
        "value head",
        lambda model, own: settle(model, regularizer("hull"), own, unregularized=["value_head.*", "*norm*"]),
    ),
    "paper": ("untied llama with biases", lambda model, own: settle(model, regularizer(parameters="linear_weights"), own)),
    "padded": ("tied llama", lambda model, own: settle_padded(model, regularizer("hull"), own)),
    "given": ("norms and biases", lambda model, own: settle_given(model, regularizer("hull"), own)),
    "given, by products": (
        "tied llama",
        lambda model, own: settle_given(model, regularizer("subset", products="pairwise"), own),
    ),
}
# Models of which every case is tried: by `make test`, and by `make test-long` alone
MODELS = {"quick": ("tied llama",), "long": ("lora", "norms and biases")}
# Models that FSDP2 shards layer by layer, tied tables and adapters among them
SHARDED = {"quick": ("tied llama", "lora"), "long": ("checkpointed llama", "qwen3 (q and k norms)", "frozen in part")}


def grads_further(way, examples):
    name, act = FURTHER[way]
    model = zoo.build(name)
    act(model, examples)
    return {key: p.grad for key, p in model.named_parameters() if p.requires_grad}


def refusal_of_claims(model):
    """Every process says that it holds everything."""
    try:
        grads_of("hull-layer-auto", model, tuple(range(N + M)))
    except ValueError as error:
        return str(error)


def refusal_of_unequal_parts(model, rank):
    """One process comes with one batch more than the other."""
    parts = IN_PARTS[rank] if rank else (SHARES[0],)
    found = grads_in_parts("hull-layer-auto", model, parts, 1000.0)
    return found if isinstance(found, str) else ""


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

    for layer in model.net.layers if hasattr(model, "net") else layers_of(model.lm):
        fully_shard(layer)
    fully_shard(model)
    return model


def by_flag():
    torch.manual_seed(5)
    return zoo.VectorLosses(ByFlag()).double()


def grads_by_flag(model, parts):
    """The last batch does not pass through the second layer."""
    capture = GradientCapture(model, regularizer("hull"))
    inputs = zoo.inputs_for(model, N + M)
    with capture.step(step_rows(), micro_batches=micro_batches(parts)) as opened:
        for examples, model.net.has_second in zip(parts, (True, False), strict=True):
            opened.backward(model(part_of(inputs, examples)))
    return {name: p.grad for name, p in model.named_parameters()}


def sharded_by_flag():
    from torch.distributed.fsdp import fully_shard

    model = by_flag()
    for layer in (model.net.first, model.net.second):
        fully_shard(layer)
    return fully_shard(model)


def layers_of(lm):
    trunk = lm.base_model.model.model if hasattr(lm, "peft_config") else lm.model
    return trunk.layers


def full_gradients(found):
    return {key: None if grad is None else grad.full_tensor() for key, grad in found.items()}


def run_models(rank, names, results):
    for name in names:
        for case in CASES:
            results[name, case] = grads_of(case, zoo.build(name), SHARES[rank])
            if "global" in case:
                results[name, case, "again"] = grads_of(case, zoo.build(name), SHARES[rank], activation_budget_mib=0.0)
        for case in CASES:
            for activation_budget_mib in (1000.0, 0.0):
                for layout, shares in (("in parts", IN_PARTS), ("target late", TARGET_LATE)):
                    found = grads_in_parts(case, zoo.build(name), shares[rank], activation_budget_mib)
                    results[name, case, layout, activation_budget_mib] = found
        waiting.WAITING_BYTES, before = 0, waiting.WAITING_BYTES  # every block alone
        results[name, "one by one"] = grads_of("hull-layer-auto", zoo.build(name), SHARES[rank])
        waiting.WAITING_BYTES = before


def run_sharded_models(rank, names, results):
    for name in names:
        for case in ("hull-layer-auto", "subset-layer-sketch", "mean-layer-auto"):
            results["fsdp", name, case] = full_gradients(grads_of(case, sharded(zoo.build(name)), SHARES[rank], check=True))
            for activation_budget_mib in (1000.0, 0.0):
                found = grads_in_parts(case, sharded(zoo.build(name)), IN_PARTS[rank], activation_budget_mib)
                results["fsdp", name, case, activation_budget_mib] = found if isinstance(found, str) else full_gradients(found)


def run_the_rest(rank, results):
    for way in FURTHER:
        results["further", way] = grads_further(way, SHARES[rank])
    results["parts"] = refusal_of_unequal_parts(zoo.build("tied llama"), rank)
    results["claims"] = refusal_of_claims(zoo.build("tied llama"))
    results["rank"] = grads_of_ranks(zoo.build("tied llama"), [POOLED[rank]])
    try:
        GradientCapture(nn.parallel.DistributedDataParallel(zoo.build("one layer")), regularizer())
    except UnsupportedModuleError as error:
        results["wrapper"] = str(error)
    for case in CASES:
        if "layer" in case:
            results["fsdp", case] = full_gradients(grads_of(case, sharded(tower()), SHARES[rank], check=True))
    results["fsdp", "by flag"] = full_gradients(grads_by_flag(sharded_by_flag(), IN_PARTS[rank]))
    try:
        GradientCapture(sharded(tower()), regularizer(partition="global"))
    except ValueError as error:
        results["refusal"] = str(error)


def run(rank, folder, part):
    results = {}
    run_models(rank, MODELS[part], results)
    run_sharded_models(rank, SHARDED[part], results)
    if part == "quick":
        run_the_rest(rank, results)
    torch.save(results, f"{folder}/{rank}.pt")


if __name__ == "__main__":
    rank, folder, part = int(sys.argv[1]), *sys.argv[2:]
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    run(rank, folder, part)
    dist.destroy_process_group()
