"""A task from outside the package: supervised fine-tuning whose runs are compared by how short their answers are."""

# --8<-- [start:task]
from dataclasses import replace
from statistics import fmean

from drpt.tasks.sft.metrics import SFT
from drpt.tasks.sft.task import SupervisedTask
from drpt.tasks.task import Task
from drpt.tasks.task_metrics import Column, Quantity

METRIC = "target/answer_characters/mean"
LENGTH = Column(
    title="answer characters",
    short="chars",
    key="answer_characters",
    metric=METRIC,
    section="final",
    digits=1,
    best="lowest",
    has_error=False,
)


class ShortAnswers(SupervisedTask):
    """Trains as supervised fine-tuning does, and measures the length of the held-out answers besides."""

    metrics = replace(
        SFT,
        task="short_answers",
        columns=(LENGTH, *SFT.columns),
        primary=Quantity(metric=METRIC, name="answer length", short="length", axis="characters of an answer"),
        progress=(("length", METRIC),),
        note="<b>answer characters</b>: mean length of the held-out answers.",
    )

    def check(self, spec):
        """Without answers there is nothing to measure."""
        if spec.evaluation.num_generate < 1:
            raise ValueError("evaluation.num_generate=0: the length of answers is measured; give at least 1.")

    def assemble(self, parts):
        """The parts of supervised fine-tuning, and a longer evaluation."""
        from drpt.modules.evaluation import HeldOutEvaluation

        class WithLengths(HeldOutEvaluation):
            def measure(self, module):
                metrics = super().measure(module)
                return metrics | {METRIC: fmean(len(sample["answer"]) for sample in self.samples)}

        assembly = super().assemble(parts)
        own = (parts.loaded.tokenizer, parts.source.is_correct, parts.spec.evaluation)
        return replace(assembly, evaluation=WithLengths(assembly.data, *own, **parts.steps))


# --8<-- [end:task]
class Unfinished(Task):
    """Declares metrics and cannot be assembled."""

    metrics = SFT


class Unmeasured(SupervisedTask):
    """Has no metrics."""

    metrics = None


class NoTask:
    """Any other class."""
