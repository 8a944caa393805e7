"""Rules that bind sections of a configuration together: those of every task, and those of the run's own."""

from drpt.capture.options import ChoiceScope
from drpt.tasks.errors import NotForTaskError
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.task import Task


def check_run(spec: RunSpec) -> RunSpec:
    """Check a configuration as a whole.

    Args:
        spec: Configuration whose sections are right by themselves.

    Returns:
        The same configuration.

    Raises:
        NotForTaskError: The task has no use for one of the choices.
        ValueError: There is no such task, or two values do not go together.
    """
    task = find_task(spec.task.name)
    _check_groups(spec, task)
    _check_encoder(spec, task)
    task.check(spec)
    _check_stopping(spec)
    _check_rows(spec, task)
    _check_micro_batches(spec, task)
    if spec.evaluation.num_generate > spec.data.num_eval:
        raise ValueError(
            f"evaluation.num_generate={spec.evaluation.num_generate} must be at most data.num_eval={spec.data.num_eval}: "
            "accuracy is measured on the held-out examples."
        )
    return spec


def _check_groups(spec: RunSpec, task: Task) -> None:
    """The groups `algorithm`, `rollout` and `reward`, and choices among responses, are for tasks that draw responses."""
    groups = {"algorithm": spec.algorithm, "rollout": spec.rollout, "reward": spec.reward}
    for name, section in groups.items():
        if task.draws_responses and section is None:
            raise ValueError(
                f"{name}=null: task={spec.task.name} needs the group {name}; `drpt train --help` lists its choices."
            )
        if not task.draws_responses and section is not None:
            raise NotForTaskError(
                f"{name} goes with a task that draws responses, such as task=rlvr or task=rlhf; task={spec.task.name} has "
                "none.",
                group=name,
            )
    if task.draws_responses:
        return
    if spec.regularizer.chooses_by_phase:
        raise NotForTaskError(
            f"regularizer.choice_scope=phase (as in regularizer=iif) chooses among the responses of a rollout phase, and "
            f"task={spec.task.name} draws none. Take choice_scope=step: regularizer=global_filter is the same choice in "
            f"every step.",
            group="regularizer",
        )
    if spec.evaluation.pass_k is not None:
        raise ValueError(f"evaluation.pass_k={spec.evaluation.pass_k} goes with a task that draws responses; leave it null.")


def _check_encoder(spec: RunSpec, task: Task) -> None:
    """The sentence encoder and its head go with a task that trains them, and with no other."""
    for group, choice, is_chosen in (
        ("model", "sentence_encoder", spec.model.source == "sentence_encoder"),
        ("finetune", "head", spec.finetune.method == "head"),
    ):
        if task.trains_encoder and not is_chosen:
            raise NotForTaskError(
                f"task={spec.task.name} trains a head on the sentence encoder: it needs {group}={choice}, its default; leave "
                "it so.",
                group=group,
            )
        if is_chosen and not task.trains_encoder:
            raise NotForTaskError(
                f"{group}={choice} goes with task=reward alone; task={spec.task.name} trains a causal language model.",
                group=group,
            )


def _check_stopping(spec: RunSpec) -> None:
    share, num_target, rows = spec.stopping_share, spec.data.num_target, spec.data.target_rows
    num_stopping = round(share * num_target)
    if share > 0 and not 1 <= num_stopping <= num_target - rows:
        raise ValueError(
            f"regularizer.stopping_share={share} of data.num_target={num_target} holds out {num_stopping} examples; it "
            f"must leave at least data.target_rows={rows} to train on and hold out at least one."
        )


def _check_rows(spec: RunSpec, task: Task) -> None:
    n, m = spec.data.general_rows, spec.data.target_rows
    # Of tasks that draw responses, rows are responses, of which a prompt has several.
    if not task.draws_responses and spec.data.num_general is not None and n > spec.data.num_general:
        raise ValueError(
            f"data.general_rows={n} must be at most data.num_general={spec.data.num_general}: a step takes each general "
            "example once."
        )
    if spec.regularizer.is_auto and m < 2:
        raise ValueError(
            f"data.target_rows={m}: an automatic dial of the regularizer looks at the spread among a step's target "
            "examples and needs at least 2."
        )
    entry = spec.regularizer.entry
    if entry is not None and entry.max_general is not None and n > entry.max_general:
        raise ValueError(
            f"data.general_rows={n}: the set {spec.regularizer.set!r} takes at most {entry.max_general} general examples a "
            "step; greedy_euclidean and hull have no such limit."
        )


def _check_micro_batches(spec: RunSpec, task: Task) -> None:
    count = spec.trainer.micro_batches
    rows = {"data.general_rows": spec.data.general_rows}
    if not task.draws_responses:  # else the target gradient is given, and no target example is in a batch
        rows["data.target_rows"] = spec.data.target_rows
    if spec.regularizer.choice_scope == ChoiceScope.MICRO.value:
        for option, value in rows.items():
            if value % count:
                raise ValueError(
                    f"{option}={value} must split into whole micro-batches of trainer.micro_batches={count} with "
                    "regularizer.choice_scope=micro, each of which chooses among its own; change one, or take "
                    "choice_scope=step."
                )
    elif count > sum(rows.values()):
        raise ValueError(f"trainer.micro_batches={count} is more than the step's {sum(rows.values())} examples.")
