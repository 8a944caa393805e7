"""The output head on the positions that count: the same logits, losses and gradients as on all of them."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from drpt.data.batch import TokenBatch, pack_rows, pad_rows
from drpt.models.predictions import predict
from drpt.models.value_head import PolicyWithValues
from drpt.objectives.counted import at_places, predicting_places, spread
from tests import zoo
from tests.texts import encoded

MASK = torch.tensor([[0, 0, 0, 1, 1, 0], [1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()
ARCHITECTURES = ("Llama", "Qwen2", "GPT2", "GPTNeoX", "Gemma", "Gemma3")


def batch():
    lengths = torch.tensor([5, 6, 3])
    real = torch.arange(6) < lengths[:, None]
    ids = torch.randint(1, zoo.TOKENS, (3, 6), generator=torch.Generator().manual_seed(0))
    owners = torch.where(real, torch.arange(3)[:, None], -1)
    return TokenBatch(
        token_ids=torch.where(real, ids, 0),
        attention_mask=real.long(),
        position_ids=None,
        loss_mask=MASK & real,
        example_of_token=owners,
    )


def policy(architecture="Llama", *, values=False):
    torch.manual_seed(0)
    model = get_peft_model(
        zoo.family(architecture).double().lm, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    ).double()
    if not values:
        return model
    both = PolicyWithValues(model).double()
    nn.init.normal_(both.value_head.weight)
    return both


def asked(model, tokens):
    return predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask))


def grads_of(model, loss):
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.autograd.grad(loss, trained)


def rows_seen_by_the_head(model, run):
    seen = []
    head = getattr(model, "policy", model).get_output_embeddings()
    handle = head.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[:-1])))
    run()
    handle.remove()
    return seen


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")  # peft sets it by itself
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("values", [False, True])
def test_logits_values_and_gradients_are_those_of_the_whole_output(architecture, values):
    model, tokens = policy(architecture, values=values), batch()
    output = model(**tokens.model_inputs(), use_cache=False)
    expected = at_places(output.logits, predicting_places(tokens.loss_mask))
    found = asked(model, tokens)
    torch.testing.assert_close(found.logits, expected, rtol=1e-10, atol=1e-12)
    weights = torch.randn_like(expected)
    losses = [(weights * logits).sum() for logits in (found.logits, expected)]
    if values:
        torch.testing.assert_close(found.values, output.values, rtol=1e-10, atol=1e-12)
        losses = [loss + each.square().sum() for loss, each in zip(losses, (found.values, output.values), strict=True)]
    for own, all_of_it in zip(*(grads_of(model, loss) for loss in losses), strict=True):
        torch.testing.assert_close(own, all_of_it, rtol=1e-9, atol=1e-11)


def test_the_head_sees_nothing_else_unless_it_is_trained():
    tokens = batch()
    num = int(tokens.loss_mask[:, 1:].sum())
    frozen, whole = policy(values=True), zoo.llama(tied=True).double().lm
    assert rows_seen_by_the_head(frozen, lambda: asked(frozen, tokens)) == [(1, num)]
    assert rows_seen_by_the_head(whole, lambda: asked(whole, tokens)) == [(3, 6)]
    with torch.no_grad():
        assert rows_seen_by_the_head(whole, lambda: asked(whole, tokens)) == [(1, num)]
    head = frozen.policy.get_output_embeddings()
    assert not head._forward_pre_hooks, "nothing is left on the model"


def test_a_model_that_names_no_head_gives_the_same():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.lm = zoo.llama(tied=True).double().lm

        def forward(self, **inputs):
            return self.lm(**inputs)

    torch.manual_seed(0)
    model, tokens = Named(), batch()
    torch.testing.assert_close(
        asked(model, tokens).logits,
        asked(model.lm, tokens).logits,
        rtol=1e-10,
        atol=1e-12,
    )


def test_a_model_that_calls_its_head_otherwise_is_refused():
    class InHalves(nn.Module):
        def __init__(self):
            super().__init__()
            self.lm = zoo.llama(tied=True).double().lm.requires_grad_(False)

        def get_output_embeddings(self):
            return self.lm.lm_head

        def forward(self, **inputs):
            output = self.lm.model(**inputs)
            halves = [self.lm.lm_head(half) for half in output.last_hidden_state.chunk(2)]
            return SimpleNamespace(logits=torch.cat(halves))

    with pytest.raises(RuntimeError, match="does not call its output head exactly once"):
        asked(InHalves(), batch())


@pytest.mark.parametrize("values", [False, True])
def test_under_autocast_and_in_bfloat16(values):
    tokens = batch()
    for model, context in (
        (policy(values=values).float(), torch.autocast("cpu", torch.bfloat16)),
        (policy(values=values).bfloat16(), nullcontext()),
    ):
        with context, torch.no_grad():
            output = model(**tokens.model_inputs(), use_cache=False)
            found = asked(model, tokens)
        assert found.logits.dtype == torch.bfloat16
        expected = at_places(output.logits, predicting_places(tokens.loss_mask))
        torch.testing.assert_close(found.logits, expected, rtol=2e-2, atol=2e-2)  # of three digits
        if values:
            torch.testing.assert_close(found.values, output.values, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "Gemma3"])
def test_packed_rows(architecture):
    model = policy(architecture)
    rows = [encoded([3, 5, 7, 2], [False, False, True, True]), encoded([4, 4, 1], [False, True, True])]
    packed, padded = pack_rows(rows, pad_token_id=0, max_length=8), pad_rows(rows, pad_token_id=0)
    assert len(packed.token_ids) == 1
    torch.testing.assert_close(asked(model, packed).logits, asked(model, padded).logits, rtol=1e-9, atol=1e-11)


def test_other_places_in_any_order():
    model, tokens = policy(), batch()
    with torch.no_grad():
        logits = model(**tokens.model_inputs(), use_cache=False).logits
        found = predict(model, tokens.model_inputs(), torch.tensor([8, 0, 2]))
    torch.testing.assert_close(found.logits, logits[[1, 0, 0], [2, 0, 2]], rtol=1e-10, atol=1e-12)
    assert found.values is None


def test_numbers_of_counted_tokens_stand_where_the_tokens_do():
    """Position 0 is predicted by nothing: its mask is left out."""
    assert predicting_places(MASK).tolist() == [2, 3, 7, 8, 9, 10]
    found = spread(torch.arange(1.0, 7.0), MASK)
    assert found.tolist() == [[0, 0, 0, 1, 2, 0], [0, 0, 3, 4, 5, 6], [0] * 6]
