"""IIF: which responses of a phase are kept, against one backward pass a response."""

import pytest
import torch

from drpt.capture.target import target_gradient
from drpt.data.batch import StepBatch
from drpt.models.tiny import tiny_model
from drpt.models.value_head import PolicyWithValues
from drpt.modules.experience import Experience
from drpt.modules.phase_choice import PhaseChoice
from drpt.modules.policy_training import unregularized
from drpt.modules.scoring import score_batch
from drpt.objectives.policy import masked_mean
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

    return Experience(
        prompts=[ids(2 + row % 3) for row in range(ROWS)],
        responses=[ids(1 + row % 4) for row in range(ROWS)],
        advantages=torch.randn(ROWS, generator=random, dtype=torch.float64).tolist(),
    )


def losses(model, given, rows, tokens):
    """Of policy and value function, as PPO's: both reach the trunk."""
    scores = score_batch(model, tokens, 1.0)
    weights = torch.tensor([given.advantages[row] for row in rows], dtype=torch.float64)
    wanted = masked_mean((scores.values - 1).square(), tokens.loss_mask)
    return -weights * masked_mean(scores.tokens.logprobs, tokens.loss_mask) + 0.1 * wanted


def policy_grads(model, loss):
    names = [name for name, _ in model.named_parameters() if name.startswith("policy.")]
    parameters = dict(model.named_parameters())
    grads = torch.autograd.grad(loss, [parameters[name] for name in names], allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(parameters[n]) if g is None else g).flatten() for n, g in zip(names, grads, strict=True)]
    )


def target_loss(model, given):
    rows = [1, 4, 5]
    return losses(model, given, rows, given.tokens(rows, pad_token_id=0)).mean()


@pytest.mark.parametrize("parts", [[[*range(ROWS)]], [[0, 1, 2], [3, 4], [5, 6]]])
@pytest.mark.parametrize(("kind", "strength"), [("filter", 0.0), ("subset", 3 / 7)])
def test_kept_are_those_that_do_not_point_against_the_target(model, given, parts, kind, strength):
    choice = PhaseChoice(
        model,
        regularizer(kind, strength=strength, partition="global").with_options(unregularized=unregularized(model)),
    )
    weights = torch.tensor([0.1, 0.2, 0.1, 0.15, 0.15, 0.1, 0.2])
    batch = StepBatch(
        parts=[given.tokens(part, pad_token_id=0, places=part) for part in parts],
        example_ids=torch.arange(ROWS),
        loss_tokens=torch.tensor(given.num_tokens),
        num_target=0,
        step=0,
    )
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    target = target_gradient(parameters, lambda: target_loss(model, given).backward())
    kept = choice(model, batch, weights, target, lambda m, part: losses(m, given, part.examples, part))
    assert all(parameter.grad is None for parameter in model.parameters())
    v = policy_grads(model, target_loss(model, given))
    scores = []
    for row in range(ROWS):
        loss = losses(model, given, [row], given.tokens([row], pad_token_id=0)).sum()
        scores.append(float(policy_grads(model, loss) @ v))
    assert min(scores) < 0 < max(scores), "there is something to drop and to keep"
    if kind == "filter":
        assert kept == [row for row in range(ROWS) if scores[row] >= 0]
    else:
        ranked = sorted(range(ROWS), key=lambda row: -float(weights[row]) * scores[row])
        assert kept == sorted(ranked[:3])


def test_a_choice_at_random_needs_no_gradient(model, given):
    random = regularizer("subset", strength=3 / 7, partition="global", score="random")
    choice = PhaseChoice(model, random.with_options(unregularized=unregularized(model)))
    assert not choice.needs_target
    batch = StepBatch(
        parts=[given.tokens(range(ROWS), pad_token_id=0)],
        example_ids=torch.arange(ROWS),
        loss_tokens=torch.tensor(given.num_tokens),
        num_target=0,
        step=0,
    )
    kept = choice(model, batch, torch.full((ROWS,), 1 / ROWS), None, losses=lambda *_: pytest.fail("nothing to compute"))
    assert len(kept) == 3
