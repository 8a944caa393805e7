import pytest
import torch

from drpt.data.chat import encode_examples
from drpt.data.example import Example, Message
from drpt.evaluation.answer_logits import answer_logits, answers_of, cut_into_chunks
from drpt.evaluation.held_out import evaluating, measure_loss
from drpt.models.tiny import byte_tokenizer, tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pool():
    pairs = [("Hi", "Hello"), ("2+2", "4"), ("What is the longest question here?", "This one"), ("Bye", "See you")]
    examples = [
        Example(messages=(Message(role="user", content=q), Message(role="assistant", content=a)), source=q) for q, a in pairs
    ]
    return encode_examples(byte_tokenizer(), examples, max_length=128).examples


@pytest.mark.parametrize("max_tokens", [1, 5, 9, 1000])
def test_chunks_hold_every_token_once_and_no_more_than_they_may(pool, max_tokens):
    chunks = cut_into_chunks(pool, max_tokens)
    assert all(0 < sum(map(len, chunk)) <= max_tokens for chunk in chunks)
    found = sorted((piece.example, t) for chunk in chunks for piece in chunk for t in piece.positions)
    assert found == [(i, t) for i, row in enumerate(pool) for t, counts in enumerate(row.loss_mask) if counts]
    assert (len(chunks) == 1) == (max_tokens == 1000)


@pytest.mark.parametrize("max_tokens", [3, 1000])
@pytest.mark.parametrize("batch_rows", [1, 3])
def test_their_loss_is_that_of_the_evaluation(pool, max_tokens, batch_rows):
    model = tiny_model(seed=3)
    nats, count = 0.0, 0
    with evaluating(model):
        for chunk in cut_into_chunks(pool, max_tokens):
            blocks = list(answer_logits(model, pool, chunk, pad_token_id=256, batch_rows=batch_rows, device=CPU))
            losses = torch.nn.functional.cross_entropy(torch.cat(blocks), answers_of(pool, chunk), reduction="none")
            nats, count = nats + float(losses.sum()), count + len(losses)
    expected = measure_loss(model, pool, pad_token_id=256, batch_rows=2, device=CPU)["loss/mean"]
    assert nats / count == pytest.approx(expected, rel=1e-5)  # float32, padding changes the order of sums
