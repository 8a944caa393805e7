"""Loss, perplexity and accuracy on held-out examples, which training never sees."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from drpt.data.batch import pad_rows
from drpt.data.chat import EncodedExample
from drpt.data.example import Example
from drpt.models.predictions import predict
from drpt.objectives.counted import predicting_places
from drpt.objectives.language_modeling import counted_losses

Item = TypeVar("Item")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch the model to evaluation mode without gradients, and restore its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def measure_loss(
    model: Any,  # Any: transformers has no types
    examples: Sequence[EncodedExample],
    *,
    pad_token_id: int,
    batch_rows: int,
    device: torch.device,
) -> dict[str, float]:
    """Cross-entropy of the assistant's tokens.

    Args:
        model: Causal language model.
        examples: Encoded examples, at least one.
        pad_token_id: Token used for padding; masked.
        batch_rows: Number of examples in a forward pass; affects the result by rounding only.
        device: Device of the model.

    Returns:
        ``loss/mean``: nats per token, over all tokens of all examples; ``loss/stderr``: its standard error over examples
        (a ratio of sums, by linearisation; NaN for one example); ``perplexity/mean``: ``exp`` of the loss.
    """
    nats, counts = [], []
    with evaluating(model):
        # Longest first: memory freed by one batch is large enough for the next.
        for rows in _batches(sorted(examples, key=lambda row: -len(row.token_ids)), batch_rows):
            tokens = pad_rows(rows, pad_token_id=pad_token_id).to(device)
            logits = predict(model, tokens.model_inputs(), predicting_places(tokens.loss_mask)).logits
            nats.append(counted_losses(logits, tokens.token_ids, tokens.loss_mask).double().sum(dim=1).cpu())
            counts.append(tokens.loss_mask[:, 1:].sum(dim=1).double().cpu())
    nats_of_row, tokens_of_row = torch.cat(nats), torch.cat(counts)
    loss = float(nats_of_row.sum() / tokens_of_row.sum())
    residuals = nats_of_row - loss * tokens_of_row
    num = len(examples)
    stderr = math.sqrt(num / (num - 1) * float(residuals.square().sum())) if num > 1 else math.nan
    return {
        "loss/mean": loss,
        "loss/stderr": stderr / float(tokens_of_row.sum()),
        "perplexity/mean": math.exp(loss) if loss < 700 else math.inf,
    }


def answer_greedily(
    model: Any,  # Any: transformers has no types
    tokenizer: Any,
    examples: Sequence[EncodedExample],
    *,
    batch_rows: int,
    max_new_tokens: int,
    device: torch.device,
) -> list[str]:
    """Answer prompts by greedy generation.

    Args:
        model: Causal language model.
        tokenizer: Tokenizer of the model.
        examples: Encoded examples, of which only the prompts are used.
        batch_rows: Number of examples in a batch.
        max_new_tokens: Largest number of tokens in an answer.
        device: Device of the model.

    Returns:
        Texts of the answers [example], in the order of the examples, without special tokens.
    """
    pad, ends = tokenizer.pad_token_id, end_tokens(model, tokenizer, examples)
    answers: dict[int, str] = {}
    by_length = sorted(range(len(examples)), key=lambda i: -len(examples[i].prompt_ids))
    with evaluating(model):
        for batch in _batches(by_length, batch_rows):
            prompts = [examples[i].prompt_ids for i in batch]
            length = max(map(len, prompts))
            padded = [[pad] * (length - len(prompt)) + prompt for prompt in prompts]
            mask = [[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts]
            generated = model.generate(
                input_ids=torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=max_new_tokens,
                pad_token_id=pad,
                eos_token_id=ends,
                use_cache=True,
                # Override the model's own generation settings, which may sample or penalise repetition.
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
            )
            for i, row in zip(batch, generated[:, length:].tolist(), strict=True):
                answers[i] = tokenizer.decode(row, skip_special_tokens=True)
    return [answers[i] for i in range(len(examples))]


def end_tokens(model: Any, tokenizer: Any, examples: Sequence[EncodedExample]) -> list[int]:
    """Tokens that end an answer: the end of text of the tokenizer and of the model, and the template's end of a turn.

    Args:
        model: Causal language model of transformers.
        tokenizer: Tokenizer of the model.
        examples: Encoded conversations, each with the token that ends a turn under its template.

    Returns:
        Token ids, ascending.
    """
    own = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    ends |= {row.end_token_id for row in examples}
    return sorted(ends - {None})


def measure_accuracy(
    examples: Sequence[EncodedExample], answers: Sequence[str], is_correct: Callable[[Example, str], bool]
) -> dict[str, float]:
    """Share of answers that solve their example, with its binomial standard error.

    Args:
        examples: Encoded examples that were answered.
        answers: Texts of the answers [example], in the order of ``examples``.
        is_correct: Verifier of the data source.

    Returns:
        ``accuracy/mean`` and ``accuracy/stderr``, shares in [0, 1].
    """
    solved = [is_correct(row.example, answer) for row, answer in zip(examples, answers, strict=True)]
    share = sum(solved) / len(solved)
    return {"accuracy/mean": share, "accuracy/stderr": math.sqrt(share * (1 - share) / len(solved))}


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
