"""GPT-2's ``Conv1D`` of transformers: a linear layer whose weight is [inputs, outputs]."""

from drpt.capture.layers.linear import LinearRule


class Conv1dRule(LinearRule):
    """``transformers.pytorch_utils.Conv1D``: y = x W + b."""

    name = "conv1d"
    is_input_first = True
