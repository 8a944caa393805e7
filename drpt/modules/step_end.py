"""The end of a step: from there on a checkpoint can be written at any time, until the next update."""

from lightning.pytorch import Callback, LightningModule, Trainer


class StepEnd(Callback):
    """Tells the module that the trainer counts a step as taken.

    Callbacks that write what a checkpoint of the step must contain come earlier; callbacks that come later may be interrupted.
    """

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Let the module keep the state at the end of the step."""
        pl_module.end_step()
