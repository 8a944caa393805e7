"""What the engines are compared with: transformers' own log-probs, and disturbed models."""

import torch

from drpt.models.tiny import byte_tokenizer
from drpt.rollouts.protocol import Sampling

EOS = byte_tokenizer().eos_token_id
LONG = [(7 * i) % 250 for i in range(300)]  # several blocks, so that their cache is used again
PROMPTS = [[5, 6, 7], [100], LONG]


def sampling(**changes):
    values = {"num_responses": 2, "max_tokens": 24, "temperature": 0.8, "seed": 11, "stop_token_ids": (EOS,)}
    return Sampling(**(values | changes))


def disturbed(model, size=0.05, seed=3):
    """The model, every parameter moved; in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)
    return model


@torch.no_grad()
def trainer_logprobs(model, prompts, groups, temperature):
    """Of every drawn token, one response a forward pass: nothing padded, nothing cached."""
    rows = []
    for prompt, group in zip(prompts, groups, strict=True):
        for response in group:
            ids = torch.tensor([[*prompt, *response.token_ids]])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float() / (temperature or 1.0)
            rows.append(logits.log_softmax(dim=-1).gather(1, ids[0, len(prompt) :, None])[:, 0].tolist())
    return rows


def engine_logprobs(groups):
    return [list(response.logprobs) for group in groups for response in group]


def largest_difference(model, prompts, groups, temperature=0.8):
    own = trainer_logprobs(model, prompts, groups, temperature)
    pairs = zip(engine_logprobs(groups), own, strict=True)
    return max(abs(a - b) for row, others in pairs for a, b in zip(row, others, strict=True))
