"""Weights of transformers from a folder or the hub: every one that the model has, from the file, or an error.

Every room that loads weights does it here. transformers draws what a file lacks at random and drops what the model has no
place for; its loading report says so, and here the report decides. What passes:

- a tied weight that is stored once;
- what transformers itself declares superfluous for an architecture (old buffers such as ``rotary_emb.inv_freq``, layers that
  predict further tokens and that the architecture does not have);
- the causal mask that old versions stored as ``attn.bias`` and ``attn.masked_bias``: constants that a model computes;
- what the caller names, such as the pooler of an encoder whose pooled output nobody reads.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from drpt.models.adapter_folder import ADAPTER_CONFIG_FILE

# An encoder's summary of a text, in files of models that read its tokens themselves.
POOLER = r"(^|\.)pooler\."
_NUM_LISTED = 8  # names of each kind in a message
_MASKS = r"(^|\.)(attn|attention)\.(bias|masked_bias)$"
# Heads on a trunk: which one there is tells what a model was saved as.
_HEADS = r"^(lm_head|embed_out|cls|score|pre_classifier|classifier|classification_head|qa_outputs|\w*(v|value|reward)_head)\."


class LoadingError(ValueError):
    """A folder's weights are not the model's, or not all of them; the message lists them."""


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
    """Load a model's weights from safetensors; the caller's random state is left as it was.

    Args:
        kind: Class of transformers with ``from_pretrained``.
        place: Hub name or folder.
        label: The option that named the place and its value, which a message begins with.
        seed: Of whatever the model's own code draws while it is built.
        revision: Branch, tag or commit on the hub; None = main.
        dtype: The parameters' dtype.
        superfluous: Regular expressions for names of weights that the file may hold and the model need not have.
        **options: Further arguments of ``from_pretrained``.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        LoadingError: A weight is missing, unexpected, of another shape or not finite; a file is torn; weights that the
            configuration ties differ; or the place holds an adapter.
        OSError: From transformers: there is no such model, or none in safetensors.
        ValueError: From transformers: the configuration is of no known model.
        RuntimeError: Whatever else transformers meets, such as too little memory.
    """
    refuse_adapter(place, revision, label=label)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model, report = kind.from_pretrained(
                place,
                revision=revision or "main",
                trust_remote_code=False,
                use_safetensors=True,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are listed below; transformers' own error names none
                **options,
            )
        except SafetensorError as error:
            raise LoadingError(
                f"{label}: {_torn_file(place) or 'a file of its weights'} is torn ({error}). Copy or download it again."
            ) from error
        except RuntimeError as error:
            if "conversion of the weights" not in str(error):
                raise
            raise LoadingError(
                f"{label}: its weights cannot be put together as {kind.__name__} stores them: one of several that belong "
                "together, such as the experts of a layer, is missing or of another shape. Copy or download the files again."
            ) from error
    passed = re.compile("|".join((_MASKS, *superfluous)))
    unexpected = sorted(name for name in report["unexpected_keys"] if not passed.search(name))
    _check_report(model, sorted(report["missing_keys"]), unexpected, sorted(report["mismatched_keys"]), label)
    _check_ties(model, label)
    _check_finite(model, label)
    return model


def refuse_adapter(place: str | Path, revision: str | None, *, label: str) -> None:
    """An adapter's place makes transformers load the model that the adapter names, and the adapter into it: not here.

    Args:
        place: Hub name or folder.
        revision: Branch, tag or commit on the hub; None = main.
        label: The option that named the place and its value.

    Raises:
        LoadingError: There is an adapter.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    if find_adapter_config_file(str(place), revision=revision or "main") is not None:
        raise LoadingError(
            f"{label}: there is an adapter ({ADAPTER_CONFIG_FILE}), not a model by itself. Name the model that it was trained "
            "on. Where that model is trained here, finetune.adapter=FOLDER continues the adapter (finetune=lora) or merges it "
            "(finetune.adapter_use=merge); elsewhere merge it first and save the merged model."
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no tables of transformers: what it would say of weights is an error here."""
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


def _torn_file(place: str | Path) -> str | None:
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
        faults.append(f"hold {len(unexpected)} that it has no place for ({_listed(unexpected)})")
    if mismatched:
        shapes = [f"{name} {tuple(there)} for {tuple(here)}" for name, there, here in mismatched]
        faults.append(f"hold {len(mismatched)} of another shape ({_listed(shapes)})")
    if faults:
        raise LoadingError(
            f"{label}: its files are not those of a {type(model).__name__} as config.json describes it: they "
            f"{'; they '.join(faults)}. {_way_out(type(model).__name__, missing, unexpected)}"
        )


def _way_out(kind: str, missing: list[str], unexpected: list[str]) -> str:
    if any(".lora_" in name for name in unexpected):
        return "They hold an adapter's weights besides: save the adapter by itself, and give its folder as finetune.adapter."
    prefix = _wrapper(missing, unexpected)
    if prefix:
        return f"The names begin with {prefix!r}, which a wrapper put there: save the model inside it."
    if all(re.search(_HEADS, name) for name in (*missing, *unexpected)):
        return f"They are of a model with another head, or with none: take one that was trained and saved as a {kind}."
    return "Take the folder that the model was saved to as a whole, with its own config.json."


def _wrapper(missing: Collection[str], unexpected: Collection[str]) -> str:
    """What stands before most missing names among the unexpected ones (not before tied ones); empty if nothing does."""
    if not missing:
        return ""
    name = max(missing, key=len)
    prefixes = [found.removesuffix(name) for found in unexpected if found.endswith(f".{name}")]
    return next((p for p in prefixes if 2 * sum(p + other in unexpected for other in missing) > len(missing)), "")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NUM_LISTED
    return ", ".join(names[:_NUM_LISTED]) + (f" and {more} more" if more > 0 else "")


def _check_ties(model: Any, label: str) -> None:
    """What the file holds twice and differently transformers unties, while the configuration still says that it is tied."""
    kept = set(model.all_tied_weights_keys)
    for name, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if name not in kept:
            raise LoadingError(
                f"{label}: {name} and {source} share their weights by config.json, and the file holds two that differ. Set "
                "tie_word_embeddings to false there, or save the model anew."
            )


@torch.no_grad()
def _check_finite(model: Any, label: str) -> None:
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            count = int((~parameter.isfinite()).sum())
            raise LoadingError(
                f"{label}: {count} of the {parameter.numel()} numbers of {name} are not finite. The model was saved after its "
                "training had failed, or the file is broken; take another."
            )
