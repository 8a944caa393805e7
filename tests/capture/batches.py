"""A step's examples in batches: padded, packed or several, and what a step keeps of them."""

import copy

import pytest
import torch
from torch import nn

from drpt.capture.micro_batch import MicroBatch
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.trace import StepTrace
from drpt.data.batch import pack_rows, pad_rows
from drpt.objectives.language_modeling import packed_sample_losses
from tests import zoo
from tests.capture.helpers import M, N, capture_of, step_rows
from tests.reference import per_sample
from tests.texts import encoded

LENGTHS = (7, 3, 5, 8, 4, 6, 3)  # of N + M examples


SKETCH = SketchSpec(kind="gaussian", left_width=3, right_width=2, seed=5, refresh_steps=None)


EVERYTHING = ["subset", "hull"]


# Each method equals the definition in `test_capture` already; here the layouts are what is tried.
LONG_REDUCED, LONG_DIRECT = (pytest.param(method, marks=pytest.mark.long) for method in ("reduced", "direct"))


def texts():
    generator = torch.Generator().manual_seed(1)
    return [
        encoded(torch.randint(1, zoo.TOKENS, (length,), generator=generator).tolist(), [i > length // 4 for i in range(length)])
        for length in LENGTHS
    ]


def losses_of(model, tokens, num_examples):
    logits = model.lm(**tokens.model_inputs(), use_cache=False).logits
    return packed_sample_losses(logits, tokens.token_ids, tokens.loss_mask, tokens.example_of_token, num_examples=num_examples)


def updates_of(model, reg, batches, num_opened=None, rows=None, as_functions=False, **options):
    """What the capture leaves after these batches of one step."""
    model = copy.deepcopy(model)
    rows = rows or step_rows()
    capture = capture_of(model, reg, **{"check": False} | options)
    opened = [MicroBatch(example_of_token=tokens.example_of_token) for tokens in batches[:num_opened]]
    with capture.step(rows, micro_batches=opened) as step:
        for tokens in batches:

            def compute(tokens=tokens):
                return losses_of(model, tokens, rows.num_examples)[tokens.examples]

            step.backward(compute if as_functions else compute())
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}, step.report()


def one_batch(pack=False):
    return pack_rows(texts(), pad_token_id=0, max_length=11) if pack else pad_rows(texts(), pad_token_id=0)


def several_batches(*groups):
    rows = texts()
    return [pad_rows([rows[i] for i in group], pad_token_id=0, examples=group) for group in groups]


def reference(model, partition):
    rows = per_sample.per_sample_grads(model, losses_of(model, one_batch(), N + M))
    return per_sample.updates(rows, N, [1 / N] * N, feasible_set="subset", strength=0.5, partition=partition)


class Kept(StepTrace):
    """What a step keeps when it chooses coefficients: uses of all blocks, and bytes of the blocks that waited."""

    def __init__(self):
        self.num_uses, self.waiting_bytes, self.waiting_blocks = [], [], []

    def solving(self, ledger, blocks):
        self.num_uses.append(sum(len(uses) for entry in ledger.entries.values() for uses in entry.uses.values()))
        waiting = [ledger.entries[index] for index in blocks]
        self.waiting_blocks.append(len(blocks))
        self.waiting_bytes.append([sum(use.num_bytes for uses in entry.uses.values() for use in uses) for entry in waiting])

    def closed(self, ledger, *, is_two_pass):
        self.announced_bytes, self.is_two_pass = ledger.announced_bytes, is_two_pass


class ByFlag(nn.Module):
    """A second layer that some batches do not pass through."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.has_second = False

    def forward(self, x):
        x = self.first(x)
        return self.second(torch.tanh(x)) if self.has_second else x
