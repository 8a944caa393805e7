"""The end of a step: from there on a checkpoint can be written at any time, until the next update."""

from lightning.pytorch import Callback, LightningModule, Trainer


class StepEnd(Callback):
    """Tells the module that the trainer counts a step as taken.

    What must be in a checkpoint of the step is written by callbacks that come earlier; what comes later may be interrupted.
    """

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """The module remembers what the next step changes before its update."""
        pl_module.end_step()
