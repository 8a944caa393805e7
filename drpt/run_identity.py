"""The identity of a run: which settings can change its result, which cannot, and which one distinguishes replicates. No torch.

Run folders are named by it, so that a finished job is found again; tables and `drpt outcome` group by it, so that runs are
averaged if and only if they differ in their seed alone; W&B groups by it. Every key of `drpt.tasks.run_spec.RunSpec` is in
exactly one of the lists below (a test checks this).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from drpt.capture.options import ProductsMethod
from drpt.geometry.catalogue import SETS
from drpt.renamed import read_back
from drpt.rl.choices import KlControl

# The seed of target examples, example order, initial adapters, dropout and responses. Runs that differ in it alone are
# replicates.
REPLICATE = "seed"

# Keys that can change a result, or that name a point in tables. `data.source`, `reward.terms` and `reward.judges` include all
# keys below them.
RESULT: Mapping[str, tuple[str, ...]] = {
    "task": ("name", "default_dropout"),
    "model": ("source", "name", "revision", "chat_template", "chat_template_kwargs", "gradient_checkpointing"),
    "finetune": ("method", "rank", "alpha", "dropout", "target_modules", "default_lr", "adapter", "adapter_use"),
    "data": (
        *("name", "source", "num_target", "num_general", "num_eval", "general_rows", "target_rows", "max_length"),
        *("packing", "split_seed", "near_duplicates"),
        *("general.name", "general.source", "target.name", "target.source"),
    ),
    "regularizer": (
        *("name", "set", "partition", "score", "strength", "relaxation", "step_size", "auto_memory", "products", "parameters"),
        *("choice_scope", "base_weights", "stopping_share"),
    ),
    "sketch": ("kind", "left_width", "right_width", "seed", "refresh_steps"),
    "optimizer": ("lr", "betas", "eps", "weight_decay", "schedule", "warmup_share", "clip_norm", "name", "arguments"),
    "trainer": ("max_steps", "accelerator", "precision", "micro_batches", "layer_rules"),
    "evaluation": ("every_steps", "batch_rows", "num_generate", "max_new_tokens", "pass_k"),
    "algorithm": (
        *("name", "normalisation", "clip_low", "clip_high", "epochs", "old_logprobs", "importance_cap"),
        *("target.source", "target.objective", "target.refresh_steps"),
        *("advantage", "kl_coefficient", "kl_gradient", "zero_variance", "resample_rounds"),
        *("discount", "gae_lambda", "whiten_rewards", "whiten_advantages", "entropy_coefficient"),
        *("kl.control", "kl.coefficient", "kl.target", "kl.horizon", "kl.estimator", "kl.stop"),
        *("value.coefficient", "value.clip", "value.lr", "score.scaling", "score.clip"),
    ),
    "rollout": ("engine", "dtype", "num_prompts", "num_responses", "max_tokens", "temperature", "top_p", "top_k", "arguments"),
    "reward": ("name", "terms", "judges"),
}

# Keys that change no result, each with the reason.
NO_RESULT: Mapping[str, str] = {
    "sweep": "where results go",
    "runs_folder": "where results go",
    "logger.name": "where results are shown",
    "logger.mode": "where results are shown",
    "logger.project": "where results are shown",
    "logger.entity": "where results are shown",
    "trainer.activation_budget_mib": "a second pass computes the same update",
    "trainer.check_capture": "checks updates without changing them",
    "trainer.score_check_steps": "checks scores without changing them",
    "trainer.checkpoint_every_steps": "a resumed run equals one that never stopped",
    "trainer.keep_steps": "which checkpoints are kept",
    "rollout.parity_every_phases": "looks at log-probabilities and leaves them as they are",
    "rollout.parity_responses": "looks at log-probabilities and leaves them as they are",
    "rollout.parity_bound": "ends a run or leaves it as it is",
    "rollout.kv_cache_mib": "the engine's memory",
    "rollout.threads": "the engine's speed",
    "rollout.url": "where the engine is",
    "rollout.token_variable": "how the engine is reached",
    "rollout.weights_folder": "how the engine is reached",
}

# Keys that were added later, with the value at which a run equals one from before the key existed.
_LATER: Mapping[str, object] = {
    "model.chat_template_kwargs": {},
    "finetune.adapter": None,
    "finetune.adapter_use": None,
    "data.source.needs_response": True,
    "data.source.format": "auto",
    "data.near_duplicates": 0.7,
    "reward.judges": {},
    "optimizer.name": "adamw",
    "optimizer.arguments": {},
    "trainer.layer_rules": [],
    "rollout.arguments": {},
    "reward.terms.correct.unreadable": "error",
}
# Keys without effect that are still part of folder names for compatibility, with their default at that time.
_ONCE_IN_NAMES: Mapping[str, object] = {"trainer.checkpoint_every_steps": 50, "trainer.keep_steps": []}

_NUM_DIGITS = 10  # hexadecimal digits of a checksum in a name


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings that can change a run's result, the seed included.

    Left out are sections of other tasks (null), options that other options make ineffective (``sketch`` without sketched
    products, the target of a fixed KL coefficient, the strength of a set that has none, the common data source where general
    and target data have their own) and later options at their neutral values. Two configurations that compute the same thus
    have the same identity.

    Args:
        config: Configuration in plain values, interpolations resolved. Keys outside the lists are ignored; keys that an
            earlier version did not have may be missing.

    Returns:
        Plain values, nested as in the configuration.
    """
    identity: dict[str, Any] = {REPLICATE: config[REPLICATE]}
    for section, keys in RESULT.items():
        values = config.get(section)
        if values is None:
            continue
        for key in keys:
            found, value = _look_up(values, key)
            if found:
                _put(identity, f"{section}.{key}", _plain(value))
    data = identity.get("data", {})
    if {"general", "target"} <= set(data):  # both have a source of their own: the common source is not used
        for key in ("name", "source"):
            data.pop(key, None)
    regularizer = identity.get("regularizer", {})
    if regularizer.get("set") in SETS and SETS[regularizer["set"]].strength is None:
        regularizer["strength"] = None
    for dial in ("strength", "relaxation"):  # 1 and 1.0 are the same number
        if isinstance(regularizer.get(dial), int):
            regularizer[dial] = float(regularizer[dial])
    if regularizer.get("products") != ProductsMethod.SKETCH.value:
        identity.pop("sketch", None)
    if identity.get("algorithm", {}).get("kl", {}).get("control") == KlControl.FIXED:
        for option in ("target", "horizon"):
            identity["algorithm"]["kl"].pop(option, None)
    for key, neutral in _LATER.items():
        section, _, option = key.rpartition(".")
        found, values = _look_up(identity, section)
        if found and isinstance(values, dict) and values.get(option, object()) == neutral:
            del values[option]
    return identity


def settings_of(config: Mapping[str, Any]) -> dict[str, object]:
    """The settings that the replicates of one point share.

    Args:
        config: Configuration in plain values, as for `identity_of`.

    Returns:
        The identity without the seed, flattened: ``{"optimizer.lr": 1e-3, …}``.
    """
    return dict(_flattened({key: value for key, value in identity_of(config).items() if key != REPLICATE}, ""))


def point_of(config: Mapping[str, Any]) -> str:
    """A short checksum of the settings that the replicates of one point share.

    Args:
        config: Configuration in plain values, as for `identity_of`.

    Returns:
        10 hexadecimal digits, the same for runs that differ in their seed alone.
    """
    identity = {key: value for key, value in identity_of(config).items() if key != REPLICATE}
    return checksum(dict(_flattened(read_back(identity), "")))[:_NUM_DIGITS]


def job_name(config: Mapping[str, Any]) -> str:
    """The name of a run's folder: readable, with a short checksum of the identity.

    Args:
        config: Configuration in plain values, as for `identity_of`.

    Returns:
        A name such as ``layerwise_subset-0.5-seed0-3fa91c05b7``.
    """
    identity = identity_of(config)
    regularizer = identity["regularizer"]
    relaxation = regularizer["relaxation"]
    rho = f"rho{relaxation}" if isinstance(relaxation, str) else f"rho{relaxation:g}"
    dials = [regularizer["strength"], rho if relaxation else None]
    parts = [regularizer["name"], *(str(dial) for dial in dials if dial is not None), f"seed{identity[REPLICATE]}"]
    for key, value in _ONCE_IN_NAMES.items():
        _put(identity, key, value)
    return re.sub(r"[^\w.+-]+", "_", "-".join([*parts, checksum(read_back(identity))[:_NUM_DIGITS]]))


def checksum(values: Mapping[str, Any]) -> str:
    """A checksum of plain values.

    Args:
        values: Mapping that JSON can hold; the order of its keys does not matter.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _look_up(values: Mapping[str, Any], path: str) -> tuple[bool, Any]:  # Any: a configuration's values
    for key in path.split("."):
        if not isinstance(values, Mapping) or key not in values:
            return False, None
        values = values[key]
    return True, values


def _put(values: dict[str, Any], path: str, value: object) -> None:
    *sections, last = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value


def _plain(value: object) -> object:
    """A deep copy with plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _flattened(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
