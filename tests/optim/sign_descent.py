"""An optimizer from outside the package: the worked example of the documentation."""

# --8<-- [start:optimizer]
import torch


class SignDescent(torch.optim.Optimizer):
    """Every weight moves by the learning rate, against the sign of the smoothed update."""

    def __init__(self, params, lr, momentum: float = 0.9):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} must lie in [0, 1).")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                smoothed = self.state[parameter].setdefault("smoothed", torch.zeros_like(parameter))
                smoothed.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.sub_(group["lr"] * smoothed.sign())


# --8<-- [end:optimizer]
