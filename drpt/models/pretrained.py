"""Loads weights of transformers models strictly: every weight of the model comes from the file, or loading fails.

All weights are loaded by this module: those of trained models, classifiers and encoders. transformers itself initialises
missing weights at random and drops unexpected ones; here its loading report turns both into errors. Allowed are:

- tied weights that are stored once;
- weights that transformers declares superfluous for an architecture (old buffers such as ``rotary_emb.inv_freq``, layers for
  multi-token prediction that the architecture lacks);
- causal masks stored by old versions as ``attn.bias`` and ``attn.masked_bias``, which models compute themselves;
- weights named by the caller, such as the unused pooler of an encoder.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from drpt.models.adapter_folder import ADAPTER_CONFIG_FILE
from drpt.models.limits import LimitError

# Pooler of an encoder, unused by models that read the token states directly.
POOLER = r"(^|\.)pooler\."
_NUM_LISTED = 8  # names of each kind in a message
_MASKS = r"(^|\.)(attn|attention)\.(bias|masked_bias)$"
# Names of task heads, which reveal the class with which a model was saved.
_HEADS = r"^(lm_head|embed_out|cls|score|pre_classifier|classifier|classification_head|qa_outputs|\w*(v|value|reward)_head)\."


class LoadingError(ValueError):
    """A folder's weights are incomplete or do not fit the model; the message lists them."""


def load_pretrained(
    kind: Any,  # Any, as all through this file: transformers has no types
    place: str | Path,
    *,
    label: str,
    seed: int,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    superfluous: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Load a model's weights from safetensors; the caller's random state is unchanged.

    Args:
        kind: Class of transformers with ``from_pretrained``.
        place: Hub name or folder.
        label: Option that names the model, with its value, for messages.
        seed: Seed of random numbers drawn while the model is built.
        revision: Branch, tag or commit on the hub; None = main.
        dtype: Dtype of the parameters.
        superfluous: Regular expressions of weight names that the file may contain in addition to the model's.
        **options: Further arguments of ``from_pretrained``.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        LoadingError: A weight is missing, unexpected, of another shape or not finite; a file is damaged; weights that the
            configuration ties differ; or the folder contains an adapter.
        OSError: transformers finds no such model, or none in safetensors.
        ValueError: transformers does not know the architecture in the configuration.
        RuntimeError: transformers fails otherwise, for example for lack of memory.
    """
    refuse_adapter(place, revision, label=label)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, report = _read(kind, place, label, revision=revision or "main", dtype=dtype, **options)
    passed = re.compile("|".join((_MASKS, *superfluous)))
    unexpected = sorted(name for name in report["unexpected_keys"] if not passed.search(name))
    _check_report(model, sorted(report["missing_keys"]), unexpected, sorted(report["mismatched_keys"]), label)
    _check_ties(model, label)
    _check_finite(model, label)
    return model


def _read(kind: Any, place: str | Path, label: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model and transformers' loading report."""
    try:
        model, report = kind.from_pretrained(
            place,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # listed by `_check_report`; transformers' own error does not name the weights
            **options,
        )
    except SafetensorError as error:
        raise LoadingError(
            f"{label}: {_damaged_file(place) or 'a weight file'} is truncated or damaged ({error}). Copy or download it again."
        ) from error
    except RuntimeError as error:
        if "conversion of the weights" not in str(error):
            raise
        raise LoadingError(
            f"{label}: its weights cannot be assembled as {kind.__name__} stores them: one of a group of weights, such as the "
            "experts of a layer, is missing or of another shape. Copy or download the files again."
        ) from error
    return model, report


@contextmanager
def explained_loading(place: str | Path, revision: str | None, *, label: str, kind: str) -> Iterator[None]:
    """Replace errors of transformers by one that says what is needed; errors of drpt pass unchanged.

    Args:
        place: Hub name or folder.
        revision: Branch, tag or commit on the hub; None = main.
        label: Option that names the model, with its value, for messages.
        kind: Required kind of model, for messages: ``a causal language model``.

    Yields:
        Nothing.

    Raises:
        LimitError: The tokenizer or a length exceeds the model's limits.
        LoadingError: The weights do not fit, or there is an adapter.
        ValueError: transformers cannot load the model.
    """
    try:
        yield
    except (LimitError, LoadingError):
        raise
    except (OSError, ValueError) as error:
        refuse_adapter(place, revision, label=label)  # an adapter on the hub has no config.json
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{label}: cannot be loaded ({reason}). It must be {kind} of transformers with weights in safetensors that needs "
            "no code of its own: a hub name, or a folder with config.json, model.safetensors and tokenizer files."
        ) from error


def refuse_adapter(place: str | Path, revision: str | None, *, label: str) -> None:
    """Refuse the location of an adapter, for which transformers would load the adapter's base model as well.

    Args:
        place: Hub name or folder.
        revision: Branch, tag or commit on the hub; None = main.
        label: Option that names the model, with its value, for messages.

    Raises:
        LoadingError: There is an adapter.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    if find_adapter_config_file(str(place), revision=revision or "main") is not None:
        raise LoadingError(
            f"{label}: this is an adapter ({ADAPTER_CONFIG_FILE}), not a model by itself. Name the model on which it was "
            "trained. For the trained model, finetune.adapter=FOLDER continues the adapter (finetune=lora) or merges it "
            "(finetune.adapter_use=merge); for other models, merge it first and save the merged model."
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress progress bars and loading reports of transformers, whose complaints are errors here."""
    from transformers.utils import logging as transformers_logging

    was_enabled, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if was_enabled:
            transformers_logging.enable_progress_bar()


def _damaged_file(place: str | Path) -> str | None:
    for path in sorted(Path(place).glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError:
            return path.name
    return None


def _check_report(
    model: Any, missing: list[str], unexpected: list[str], mismatched: list[tuple[str, Any, Any]], label: str
) -> None:
    faults = []
    if missing:
        faults.append(f"lack {len(missing)} of its weights ({_listed(missing)}), which would be random")
    if unexpected:
        faults.append(f"contain {len(unexpected)} that the model does not have ({_listed(unexpected)})")
    if mismatched:
        shapes = [f"{name} {tuple(there)} for {tuple(here)}" for name, there, here in mismatched]
        faults.append(f"contain {len(mismatched)} of another shape ({_listed(shapes)})")
    if faults:
        raise LoadingError(
            f"{label}: its files do not fit the {type(model).__name__} that config.json describes: they "
            f"{'; they '.join(faults)}. {_way_out(type(model).__name__, missing, unexpected)}"
        )


def _way_out(kind: str, missing: list[str], unexpected: list[str]) -> str:
    if any(".lora_" in name for name in unexpected):
        return "They include an adapter's weights: save the adapter by itself, and give its folder as finetune.adapter."
    prefix = _wrapper(missing, unexpected)
    if prefix:
        return f"The names begin with {prefix!r}, the prefix of a wrapper: save the model inside the wrapper."
    names = (*missing, *unexpected)
    if names and all(re.search(_HEADS, name) for name in names):
        return f"They belong to a model with another head or none: use one that was trained and saved as a {kind}."
    return "Use the complete folder to which the model was saved, with its own config.json."


def _wrapper(missing: Collection[str], unexpected: Collection[str]) -> str:
    """Prefix with which most missing names (tied ones excepted) appear among the unexpected names; empty if there is none."""
    if not missing:
        return ""
    name = max(missing, key=len)
    prefixes = [found.removesuffix(name) for found in unexpected if found.endswith(f".{name}")]
    return next((p for p in prefixes if 2 * sum(p + other in unexpected for other in missing) > len(missing)), "")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NUM_LISTED
    return ", ".join(names[:_NUM_LISTED]) + (f" and {more} more" if more > 0 else "")


def _check_ties(model: Any, label: str) -> None:
    """Refuse weights that the configuration ties but the file stores with different values; transformers would untie them."""
    kept = set(model.all_tied_weights_keys)
    for name, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if name not in kept:
            raise LoadingError(
                f"{label}: {name} and {source} are tied in config.json, but the file contains different values for them. Set "
                "tie_word_embeddings to false there, or save the model again."
            )


@torch.no_grad()
def _check_finite(model: Any, label: str) -> None:
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            count = int((~parameter.isfinite()).sum())
            raise LoadingError(
                f"{label}: {count} of the {parameter.numel()} numbers of {name} are not finite. The model was saved after its "
                "training had failed, or the file is damaged; use another one."
            )
