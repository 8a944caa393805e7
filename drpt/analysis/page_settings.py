"""The settings section of report.html: what the runs of a sweep share, and how many examples they used."""

from collections.abc import Callable, Mapping, Sequence

from drpt.analysis.run import Run


def common_settings(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The most important settings, from the first run.

    Args:
        runs: Runs of one task.

    Returns:
        Pairs of name and value, in the order of display.
    """
    config = runs[0].config

    def value(path: str) -> object:
        """The value of an option; None if it is missing, as in a run of another version."""
        found: object = config
        for key in path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    pairs = {
        "task": value("task.name"),
        "model": value("model.name") or _MODELS.get(str(value("model.source")), value("model.source")),
        "fine-tuning": value("finetune.method"),
        "target": _name_of(value("data.target.source") or value("data.source.target") or "of a source of your own"),
        **(_of_responses(value, runs) if config.get("rollout") else _of_examples(value, runs)),
        "steps": value("trainer.max_steps"),
        "learning rate": _number(value("optimizer.lr")),
        "precision": value("trainer.precision"),
    }
    return [(key, str(found)) for key, found in pairs.items() if found is not None]


_MODELS = {"embedded": "SmolLM2-135M-Instruct"}


def _name_of(target: object) -> object:
    if not isinstance(target, dict):
        return target
    table = target.get("table")
    place = table if isinstance(table, dict) else target
    return place.get("path") or ", ".join(map(str, place.get("families", ()))) or "of a source of your own"


def drawn(runs: Sequence[Run], pool: str) -> str | None:
    """Number of examples that were drawn from a pool, which may be fewer than configured.

    Args:
        runs: Runs of one task.
        pool: Name of the pool: ``general``, ``target``, ``stopping`` or ``evaluation``.

    Returns:
        A number, or a range if runs differ; None if the pool is empty or no run recorded it.
    """
    sizes = [found.get(pool) for run in runs if isinstance(found := run.summary.get("data_sizes"), dict)]
    known = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    if not known or not max(known):
        return None
    return f"{min(known):,}" if min(known) == max(known) else f"{min(known):,} to {max(known):,}"


def _number(value: object) -> str | None:
    return f"{value:g}" if isinstance(value, int | float) else None


def _of_examples(value: Callable[[str], object], runs: Sequence[Run]) -> dict[str, object]:
    return {
        "target examples": drawn(runs, "target") or value("data.num_target"),
        "to choose when to stop": drawn(runs, "stopping"),
        "general examples": drawn(runs, "general"),
        "held-out examples": drawn(runs, "evaluation") or value("data.num_eval"),
        "rows a step": f"{value('data.general_rows')} general, {value('data.target_rows')} target",
    }


def _of_responses(value: Callable[[str], object], runs: Sequence[Run]) -> dict[str, object]:
    source, terms = value("algorithm.target.source"), value("reward.terms")
    asked = f", {value('data.target_rows')} target prompts" if source == "prompts" else ""
    return {
        "target prompts": drawn(runs, "target") or value("data.num_target"),
        "general prompts": drawn(runs, "general"),
        "held-out prompts": value("evaluation.num_generate"),
        "algorithm": value("algorithm.name"),
        "reward": ", ".join(map(str, terms)) if isinstance(terms, Mapping) else None,
        "a phase": f"{value('rollout.num_prompts')} × {value('rollout.num_responses')} responses{asked}",
        "target gradient": f"of {value('algorithm.target.objective')}, {_TARGET_SOURCES.get(str(source), source)}",
        "responses a step": value("data.general_rows"),
        "longest response": f"{value('rollout.max_tokens')} tokens",
        "KL coefficient": _kl_coefficient(value),
        "engine": f"{value('rollout.engine')}, {value('rollout.dtype')}",
    }


_TARGET_SOURCES = {"prompts": "on target prompts", "self": "on the phase's own responses"}


def _kl_coefficient(value: Callable[[str], object]) -> str | None:
    if (fixed := _number(value("algorithm.kl_coefficient"))) is not None:
        return fixed
    aim = _number(value("algorithm.kl.target")) if value("algorithm.kl.control") == "adaptive" else None
    own = _number(value("algorithm.kl.coefficient"))
    return own if aim is None else f"{own}, adaptive towards {aim} nats a response"


def left_out(runs: Sequence[Run]) -> list[tuple[str, int]]:
    """Numbers of examples that were cut or left out, by reason; the largest number of any run.

    Args:
        runs: Runs of one task.

    Returns:
        Pairs of reason and positive number.
    """
    counts: dict[str, int] = {}
    for run in runs:
        found = run.summary.get("data_counts")
        for name, count in found.items() if isinstance(found, dict) else ():
            if isinstance(count, int) and count:
                counts[name.replace("_", " ")] = max(count, counts.get(name.replace("_", " "), 0))
    return sorted(counts.items())
