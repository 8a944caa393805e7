"""What a page says of the settings that the runs of a sweep have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from drpt.analysis.run import Run


def common_settings(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Names and values of the settings that a reader asks for first, as the first run has them.

    Args:
        runs: Of one task.

    Returns:
        In the order of reading.
    """
    config = runs[0].config
    model, source = config["model"], config["data"]["source"]
    pairs = {
        "task": config["task"]["name"],
        "model": model["name"] or {"embedded": "SmolLM2-135M-Instruct"}.get(model["source"], model["source"]),
        "fine-tuning": config["finetune"]["method"],
        "target": _name_of(source.get("target", "of a source of your own")),
        **(_of_responses(config) if config.get("rollout") else _of_examples(config)),
        "steps": config["trainer"]["max_steps"],
        "learning rate": f"{config['optimizer']['lr']:g}",
        "precision": config["trainer"]["precision"],
    }
    return [(key, str(value)) for key, value in pairs.items()]


def _name_of(target: object) -> object:
    return target.get("path", "") if isinstance(target, dict) else target


def _of_examples(config: Mapping[str, Any]) -> dict[str, object]:
    data = config["data"]
    return {
        "target examples": data["num_target"],
        "held-out examples": data["num_eval"],
        "rows a step": f"{data['general_rows']} general, {data['target_rows']} target",
    }


def _of_responses(config: Mapping[str, Any]) -> dict[str, object]:
    data, rollout, algorithm = config["data"], config["rollout"], config["algorithm"]
    return {
        "target prompts": data["num_target"],
        "held-out prompts": config["evaluation"]["num_generate"],
        "algorithm": algorithm["name"],
        "reward": ", ".join(config["reward"]["terms"]),
        "a phase": f"{rollout['num_prompts']} × {rollout['num_responses']} responses{_target_prompts(config)}",
        "target gradient": f"of {algorithm['target']['objective']}, {_TARGET_SOURCES[algorithm['target']['source']]}",
        "responses a step": data["general_rows"],
        "longest response": f"{rollout['max_tokens']} tokens",
        "KL coefficient": _kl_coefficient(algorithm),
        "engine": f"{rollout['engine']}, {rollout['dtype']}",
    }


_TARGET_SOURCES = {"prompts": "on target prompts", "self": "on the phase's own responses"}


def _target_prompts(config: Mapping[str, Any]) -> str:
    is_asked = config["algorithm"]["target"]["source"] == "prompts"
    return f", {config['data']['target_rows']} target prompts" if is_asked else ""


def _kl_coefficient(algorithm: Mapping[str, Any]) -> str:
    if "kl_coefficient" in algorithm:
        return f"{algorithm['kl_coefficient']:g}"
    kl = algorithm["kl"]
    aim = f", adaptive towards {kl['target']:g} nats a response" if kl["control"] == "adaptive" else ""
    return f"{kl['coefficient']:g}{aim}"


def left_out(runs: Sequence[Run]) -> list[tuple[str, int]]:
    """Examples cut or left out, the most that any run counted, by reason.

    Args:
        runs: Of one task.

    Returns:
        Reasons in words and counts, without those that never occurred.
    """
    counts: dict[str, int] = {}
    for run in runs:
        for name, count in run.summary.get("data_counts", {}).items():
            if count:
                counts[name.replace("_", " ")] = max(count, counts.get(name.replace("_", " "), 0))
    return sorted(counts.items())
