import math

import pytest
import torch

from drpt.data.chat import encode_examples
from drpt.data.example import Example, Message
from drpt.evaluation.held_out import answer_greedily, measure_accuracy, measure_loss
from drpt.models.tiny import byte_tokenizer, tiny_model
from drpt.objectives.language_modeling import token_losses

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return tiny_model(seed=3)


@pytest.fixture(scope="module")
def pool():
    pairs = [("Hi", "Hello"), ("2+2", "4"), ("What is the longest question here?", "This one"), ("Bye", "See you")]
    examples = [
        Example(messages=(Message(role="user", content=q), Message(role="assistant", content=a)), source=q) for q, a in pairs
    ]
    return encode_examples(byte_tokenizer(), examples, max_length=128).examples


def test_loss_is_the_mean_over_all_tokens_whatever_the_batches(model, pool):
    nats = count = 0
    model.eval()
    with torch.no_grad():
        for row in pool:
            ids, mask = torch.tensor([row.token_ids]), torch.tensor([row.loss_mask])
            nats += float(token_losses(model(ids).logits, ids, mask).sum())
            count += sum(row.loss_mask)
    for batch_rows in (1, 3, 10):
        found = measure_loss(model, pool, pad_token_id=256, batch_rows=batch_rows, device=CPU)
        assert found["loss/mean"] == pytest.approx(nats / count, rel=1e-5)  # float32, padding changes the order of sums
        assert found["perplexity/mean"] == pytest.approx(math.exp(nats / count), rel=1e-4)
        assert 0 < found["loss/stderr"] < found["loss/mean"]


def test_mode_of_the_model_is_put_back(model, pool):
    model.train()
    measure_loss(model, pool, pad_token_id=256, batch_rows=2, device=CPU)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_answers_do_not_depend_on_the_batch(model, pool):
    """Left padding is masked: a row answers as it would alone."""
    tokenizer = byte_tokenizer()

    def answers(rows):
        return answer_greedily(model, tokenizer, pool, batch_rows=rows, max_new_tokens=6, device=CPU)

    assert answers(1) == answers(4)
    assert len(answers(3)) == 4


def test_accuracy_and_its_error_by_hand(pool):
    found = measure_accuracy(pool, ["Hello", "5", "This one", "no"], lambda example, answer: answer == example.response)
    assert found == {"accuracy/mean": 0.5, "accuracy/stderr": 0.25}
