"""The plain pass: one weighted loss gives the update, and the model runs as it is."""

from torch import Tensor

from drpt.capture.passes.choosing import Chooser
from drpt.capture.passes.replay import Replay
from drpt.capture.passes.request import StepRequest
from drpt.capture.passes.updates import backward_of_mean
from drpt.geometry.products import Coefficients


class PlainPass:
    """A step whose coefficients depend on no gradient and are the same in all blocks.

    Args:
        request: What the step was opened with.
        chooser: Chooses the coefficients.
    """

    is_two_pass = False

    def __init__(self, request: StepRequest, chooser: Chooser) -> None:
        self._request = request
        self._chooser = chooser

    def backward(self, losses: Tensor, replay: Replay, *, is_last: bool) -> None:
        """Add the gradient of one micro-batch's weighted loss to ``.grad``.

        Args:
            losses: Losses of the micro-batch's examples [example], in nats.
            replay: Where these examples are in the micro-batch.
            is_last: Not used.
        """
        request = self._request
        coefficients = request.rows.coefficients_of_examples(self._choice())
        of_examples = coefficients[0, list(replay.layout.examples)]
        backward_of_mean(request.plan, losses, of_examples * request.scale)

    def finish_without_examples(self) -> None:
        """Leave the share of a target gradient given by the caller."""
        self._choice()

    def forget(self) -> None:
        """Nothing is kept."""

    def _choice(self) -> Coefficients:
        """The coefficients that all blocks have in common."""
        if self._chooser.groups:
            return self._chooser.groups[0].coefficients
        chosen = self._chooser.choose(None, [0])
        everywhere = range(len(self._request.plan.blocks))
        self._chooser.add_target(everywhere, chosen.target.expand(len(everywhere)))
        return chosen
