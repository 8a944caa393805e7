"""A rollout engine from outside the package: the worked example of the documentation."""

# --8<-- [start:engine]
import torch

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.protocol import Response


class PlainRollout:
    """One response after another, one token after another, without a cache: slow, and short enough to read."""

    def __init__(self, *, model_folder, dtype, max_model_len, device):
        from transformers import AutoModelForCausalLM

        self.dtype = dtype
        self._max_model_len = max_model_len
        self._model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=getattr(torch, dtype)).to(device).eval()

    @torch.no_grad()
    def sync(self, weights):
        own = dict(self._model.named_parameters())
        for name, values in weights:
            own[name].copy_(values)

    def generate(self, prompts, sampling):
        if sampling.top_p < 1 or sampling.top_k:
            raise RolloutError("rollout.engine=PlainRollout draws from all tokens: take rollout.top_p=1 and rollout.top_k=0.")
        if any(len(prompt) + sampling.max_tokens > self._max_model_len for prompt in prompts):
            raise RolloutError(f"a prompt and its response are longer than data.max_length={self._max_model_len}.")
        return [
            [
                self._draw(list(prompt), sampling, torch.Generator().manual_seed(sampling.seed + place * 1000 + number))
                for number in range(sampling.num_responses)
            ]
            for place, prompt in enumerate(prompts)
        ]

    @torch.no_grad()
    def _draw(self, prompt, sampling, generator):
        tokens, logprobs = [], []
        while len(tokens) < sampling.max_tokens and not (tokens and tokens[-1] in sampling.stop_token_ids):
            row = torch.tensor([prompt + tokens], device=self._model.device)
            logits = self._model(input_ids=row).logits[0, -1].float().cpu()
            found = (logits / (sampling.temperature or 1.0)).log_softmax(dim=-1)
            if sampling.temperature == 0:
                token = int(found.argmax())
            else:
                token = int(torch.multinomial(found.exp(), 1, generator=generator))
            tokens.append(token)
            logprobs.append(float(found[token]))
        is_finished = tokens[-1] in sampling.stop_token_ids
        return Response(token_ids=tuple(tokens), logprobs=tuple(logprobs), is_finished=is_finished)

    def close(self):
        self._model = None


# --8<-- [end:engine]


class Mute:
    """Takes what an engine is given, and generates nothing."""

    def __init__(self, **keys):
        pass

    def sync(self, weights):
        pass

    def close(self):
        pass


class Homeless(PlainRollout):
    """Does not take the model's folder."""

    def __init__(self, *, dtype, max_model_len, device):
        pass


class Untyped(PlainRollout):
    """Does not say what it computes in."""

    def __init__(self, *, model_folder, dtype, max_model_len, device, words: int = 1):
        pass
