"""IIF: which responses of a phase are kept, against one backward pass a response."""

import pytest
import torch

from drpt.capture.rows import StepRows
from drpt.capture.target import target_gradient
from drpt.geometry.products import GeneralRows
from drpt.models.tiny import tiny_model
from drpt.models.value_head import PolicyWithValues
from drpt.objectives.policy import masked_mean
from drpt.rl.batches import token_batch
from drpt.rl.phase_choice import PhaseChoice
from drpt.rl.scoring import score_batch
from drpt.rl.trajectory import Trajectory
from tests.capture.helpers import regularizer

ROWS = 7


@pytest.fixture
def model():
    torch.manual_seed(0)
    both = PolicyWithValues(tiny_model()).double().eval()
    torch.nn.init.normal_(both.value_head.weight, std=0.01)
    return both


@pytest.fixture
def given():
    random = torch.Generator().manual_seed(1)

    def ids(count):
        return torch.randint(3, 250, (count,), generator=random).tolist()

    prompts = [ids(2 + row % 3) for row in range(ROWS)]
    responses = [ids(1 + row % 4) for row in range(ROWS)]
    advantages = torch.randn(ROWS, generator=random, dtype=torch.float64).tolist()
    columns = zip(prompts, responses, advantages, strict=True)
    return [Trajectory(prompt=p, response=r, advantages=[a] * len(r)) for p, r, a in columns]


def losses(model, some, tokens):
    """Losses of policy and value function, as PPO's: both reach the trunk."""
    scores = score_batch(model, tokens, 1.0)
    weights = torch.tensor([one.advantages[0] for one in some], dtype=torch.float64)
    wanted = masked_mean((scores.values - 1).square(), tokens.loss_mask)
    return -weights * masked_mean(scores.tokens.logprobs, tokens.loss_mask) + 0.1 * wanted


def step_rows(weights):
    general = GeneralRows(base_weights=weights, example_ids=torch.arange(ROWS), step_index=0)
    return StepRows(general=general, num_target=0)


def policy_grads(model, loss):
    names = [name for name, _ in model.named_parameters() if name.startswith("policy.")]
    parameters = dict(model.named_parameters())
    grads = torch.autograd.grad(loss, [parameters[name] for name in names], allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(parameters[n]) if g is None else g).flatten() for n, g in zip(names, grads, strict=True)]
    )


def target_loss(model, given):
    some = [given[row] for row in (1, 4, 5)]
    return losses(model, some, token_batch(some, pad_token_id=0)).mean()


@pytest.mark.parametrize("split", [[[*range(ROWS)]], [[0, 1, 2], [3, 4], [5, 6]]])
@pytest.mark.parametrize(("kind", "strength"), [("filter", 0.0), ("subset", 3 / 7)])
def test_kept_are_those_that_do_not_point_against_the_target(model, given, split, kind, strength):
    choice = PhaseChoice(
        model,
        regularizer(kind, strength=strength, partition="global").with_options(unregularized=("value_head.*",)),
    )
    weights = torch.tensor([0.1, 0.2, 0.1, 0.15, 0.15, 0.1, 0.2])
    micro_batches = [token_batch([given[row] for row in own], pad_token_id=0, examples=own) for own in split]
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    target = target_gradient(parameters, lambda: target_loss(model, given).backward())
    kept = choice(
        step_rows(weights), micro_batches, target, lambda own: losses(model, [given[row] for row in own.examples], own)
    )
    assert all(parameter.grad is None for parameter in model.parameters())
    v = policy_grads(model, target_loss(model, given))
    scores = []
    for one in given:
        loss = losses(model, [one], token_batch([one], pad_token_id=0)).sum()
        scores.append(float(policy_grads(model, loss) @ v))
    assert min(scores) < 0 < max(scores), "there is something to drop and to keep"
    if kind == "filter":
        assert kept == [row for row in range(ROWS) if scores[row] >= 0]
    else:
        ranked = sorted(range(ROWS), key=lambda row: -float(weights[row]) * scores[row])
        assert kept == sorted(ranked[:3])


def test_a_choice_at_random_needs_no_gradient(model, given):
    random = regularizer("subset", strength=3 / 7, partition="global", score="random")
    choice = PhaseChoice(model, random)
    assert not choice.needs_target
    tokens = token_batch(given, pad_token_id=0)
    kept = choice(step_rows(torch.full((ROWS,), 1 / ROWS)), [tokens], None, losses=lambda *_: pytest.fail("nothing to compute"))
    assert len(kept) == 3
