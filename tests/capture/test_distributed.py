"""Two processes with half of a step's examples each choose and update as one process with all of them."""

import os
import subprocess
import sys
from functools import cache

import pytest
import torch

from tests import zoo
from tests.capture import distributed
from tests.capture.helpers import M, N, assert_equal_grads


def of_models(by_part):
    """Each model with what its processes found; those of `make test-long` marked."""
    marks = {"quick": [], "long": [pytest.mark.long]}
    return pytest.mark.parametrize(
        ("name", "results"),
        [pytest.param(name, part, id=name, marks=marks[part]) for part, names in by_part.items() for name in names],
        indirect=["results"],
    )


@pytest.fixture(scope="module")
def run_part(tmp_path_factory):
    """What the two processes found of a part, run once when it is first asked for."""

    @cache
    def run(part):
        folder = tmp_path_factory.mktemp(part)
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.capture.distributed", str(rank), str(folder), part],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in (0, 1)
        ]
        texts = [process.communicate(timeout=900)[0] for process in processes]
        assert all(process.returncode == 0 for process in processes), "\n".join(texts)
        return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]

    return run


@pytest.fixture
def results(run_part, request):
    return run_part(getattr(request, "param", "quick"))


@pytest.mark.parametrize("case", distributed.CASES)
@of_models(distributed.MODELS)
def test_two_processes_equal_one(results, name, case):
    expected = distributed.grads_of(case, zoo.build(name), tuple(range(N + M)))
    for found in results:
        assert_equal_grads(found[name, case], expected)
        if "global" in case:
            assert_equal_grads(found[name, case, "again"], expected)


@pytest.mark.parametrize("activation_budget_mib", [1000.0, 0.0], ids=["kept", "computed again"])
@pytest.mark.parametrize("case", distributed.CASES)
@of_models(distributed.MODELS)
def test_batches_of_two_processes_equal_one(results, name, case, activation_budget_mib):
    """Accumulation in each of them, one choice over all; what would be wrong is refused by both."""
    expected = distributed.grads_of(case, zoo.build(name), tuple(range(N + M)))
    feasible_set, _, products = distributed.CASES[case]
    needs_no_activations = products == "sketch" or feasible_set == "mean" or activation_budget_mib > 0
    for layout in ("in parts", "target late"):
        found = [result[name, case, layout, activation_budget_mib] for result in results]
        if needs_no_activations or (feasible_set == "subset" and layout == "in parts"):
            for grads in found:
                assert_equal_grads(grads, expected)
        else:
            said = (
                "put the target examples into the first"
                if feasible_set == "subset"
                else "raise activation_budget_mib, or take products"
            )
            assert all(said in error for error in found)


@of_models(distributed.MODELS)
def test_blocks_of_two_processes_are_solved_one_by_one_within_the_backward_pass(results, name):
    expected = distributed.grads_of("hull-layer-auto", zoo.build(name), tuple(range(N + M)))
    for found in results:
        assert_equal_grads(found[name, "one by one"], expected)


@pytest.mark.parametrize("case", [case for case in distributed.CASES if "layer" in case])
def test_sharded_model_equals_one_process(results, case):
    expected = distributed.grads_of(case, distributed.tower(), tuple(range(N + M)))
    for found in results:
        assert_equal_grads(found["fsdp", case], expected)


@pytest.mark.parametrize("case", ["hull-layer-auto", "subset-layer-sketch", "mean-layer-auto"])
@of_models(distributed.SHARDED)
def test_sharded_language_model_equals_one_process(results, name, case):
    expected = distributed.grads_of(case, zoo.build(name), tuple(range(N + M)))
    for found in results:
        assert_equal_grads(found["fsdp", name, case], expected)
        assert_equal_grads(found["fsdp", name, case, 1000.0], expected)
        if case == "hull-layer-auto":
            assert "raise activation_budget_mib, or take products" in found["fsdp", name, case, 0.0]
        else:
            assert_equal_grads(found["fsdp", name, case, 0.0], expected)


def test_sharded_layers_that_the_last_batch_does_not_reach(results):
    both = [tuple(sorted(sum(parts, ()))) for parts in zip(*distributed.IN_PARTS, strict=True)]
    expected = distributed.grads_by_flag(distributed.by_flag(), both)
    for found in results:
        assert_equal_grads(found["fsdp", "by flag"], expected)


@pytest.mark.parametrize("way", distributed.FURTHER)
def test_further_ways_of_two_processes_equal_one(results, way):
    expected = distributed.grads_further(way, tuple(range(N + M)))
    assert any(grad is not None and grad.any() for grad in expected.values())
    for found in results:
        assert_equal_grads(found["further", way], expected)


def test_examples_that_both_processes_claim_are_refused(results):
    for found in results:
        said = "examples 0, 1, 2, 3, 4, 5, 6 are in more than one: each belongs to one micro-batch of one process"
        assert said in found["claims"]


def test_processes_with_other_numbers_of_batches_are_refused(results):
    for found, num_micro_batches in zip(results, (1, 2), strict=True):
        assert (
            f"this step was opened for {num_micro_batches} micro-batches here, and for another number in other processes"
            in found["parts"]
        )


def test_each_process_may_choose_among_its_own(results):
    expected = distributed.grads_of_ranks(zoo.build("tied llama"), distributed.POOLED)
    for found in results:
        assert_equal_grads(found["rank"], expected)


def test_wrapped_model_is_refused(results):
    assert "is wrapped in DistributedDataParallel" in results[0]["wrapper"]
    assert "Give the model inside it" in results[0]["wrapper"]


def test_sharded_model_refuses_blocks_of_several_layers(results):
    assert "partition='global'" in results[0]["refusal"]
