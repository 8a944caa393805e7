"""A progress bar with loss and time left."""

from collections.abc import Callable, Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from drpt.modules.evaluation import Evaluation


class TrainingProgress(Callback):
    """Shows steps, training loss, held-out figures and the time left; on a dumb terminal, one line for each evaluation.

    Args:
        description: Text in front of the bar.
        evaluation: Evaluation whose latest figures are shown.
        figures: Words and metrics of the held-out figures; the bar has room for the first alone.
        num_steps: Optimizer steps of the whole run.
        console: Console to draw on.
        after_step: Callback that is given the number of steps taken in this process, and of those that will be taken; a text
            that it returns is shown as a line.
    """

    def __init__(
        self,
        description: str,
        evaluation: Evaluation,
        figures: Sequence[tuple[str, str]],
        *,
        num_steps: int,
        console: Console | None = None,
        after_step: Callable[[int, int], str | None] | None = None,
    ) -> None:
        self._description = description
        self._evaluation = evaluation
        self._shown_figures = tuple(figures)
        self._num_steps = num_steps
        self._console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._shown: dict[str, float] = {}
        self._after_step = after_step
        self._first_step = self._told = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar where training starts."""
        self._first_step = self._told = trainer.global_step
        if not self._console.is_terminal:
            self._print_line(trainer.global_step)
            return
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._console,
            transient=False,
        )
        self._progress.start()
        self._task = self._progress.add_task(
            self._description, total=self._num_steps, completed=trainer.global_step, figures=self._figures(trainer)
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Move the bar."""
        if trainer.global_step > self._told:
            self._told = trainer.global_step
            if self._after_step is not None:
                line = self._after_step(self._told - self._first_step, self._num_steps - self._first_step)
                if line is not None:
                    self._console.print(line, highlight=False, soft_wrap=True)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=trainer.global_step, figures=self._figures(trainer))
        elif self._evaluation.latest is not self._shown:
            self._print_line(trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the terminal as it was, also after an error."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _figures(self, trainer: Trainer) -> str:
        train = trainer.callback_metrics.get("train_loss")
        parts = [] if train is None else [f"train {float(train):.2f}"]
        latest = self._evaluation.latest
        parts += [f"held-out {word} {latest[metric]:.3f}" for word, metric in self._shown_figures[:1] if metric in latest]
        return " ".join(parts)

    def _print_line(self, step: int) -> None:
        self._shown = self._evaluation.latest
        figures = [f"{word} {self._shown[metric]:.3f}" for word, metric in self._shown_figures if metric in self._shown]
        self._console.print(f"{self._description}: step {step}/{self._num_steps}, held-out {', '.join(figures)}")
