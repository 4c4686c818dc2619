"""Framework huggingface: a folder of `transformers` as a torch module, read from verified bytes, offline.

Knows transformers and bundles, no requests. Nothing here reaches a hub, unpickles, or runs code of the folder.
"""

import attributor.registry.formats.offline  # noqa: F401 - before transformers is imported

# isort: split

import inspect
from collections.abc import Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from attributor.errors import BundleError
from attributor.registry.catalog import Bundle
from attributor.registry.files import read_verified
from attributor.registry.foreign import describe
from attributor.registry.formats.huggingface_config import (
    CONFIG,
    IDS,
    INDEX,
    INPUTS,
    MASK,
    SENTENCE_EMBEDDING,
    model_class,
    read_config,
    require_no_code,
    weight_files,
)

#: Written out in elementary operations: the fused kernel has no second derivative, which conductance and
#: integrated Hessians need, and none in forward mode.
ATTENTION = "eager"

#: The head of a base model, which embeds no sentence; weights for it may be missing, and it is left out.
_POOLER = "pooler"

#: Names of weights listed in a refusal. Ours: a line's worth.
_NAMES_SHOWN = 5


class HuggingFaceModel(nn.Module):
    """A model of transformers, called by position; logits out. Its layers are those of `network`."""

    def __init__(self, network: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Logits, (rows, labels) or (rows, positions, labels)."""
        return _tensor(self.network(**_keywords(self._names, tensors)).logits)


class SentenceEmbedding(nn.Module):
    """A model of transformers whose last hidden states are pooled over the positions that its mask has."""

    def __init__(self, network: PreTrainedModel, names: Sequence[str], pooling: str, *, unit_length: bool) -> None:
        super().__init__()
        self.network = network
        self._names = tuple(names)
        self._pooling = pooling
        self._unit_length = unit_length

    def forward(self, *tensors: Tensor) -> Tensor:
        """Embeddings, (rows, hidden size)."""
        given = _keywords(self._names, tensors)
        states = _tensor(self.network(**given).last_hidden_state)
        mask = given.get(MASK, torch.ones_like(given[IDS]))
        pooled = pool(states, mask, self._pooling)
        return nn.functional.normalize(pooled, dim=1) if self._unit_length else pooled


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector per row: of states (rows, positions, size) and their mask (rows, positions)."""
    if pooling == "cls":
        return states[:, 0]
    there = mask.unsqueeze(-1).bool()
    if pooling == "max":
        return states.masked_fill(~there, -torch.inf).amax(1)
    return (states * there).sum(1) / there.sum(1).clamp(min=1)


def load(bundle: Bundle) -> nn.Module:
    """The model of a bundle's task.

    Raises BundleError for a file that changed, what `huggingface_config` refuses, weights that do not fit or are
    missing, and inputs that the model does not take.
    """
    _be_quiet()
    manifest = bundle.manifest
    require_no_code(manifest.files)
    network = _network(bundle)
    names = [spec.name for spec in bundle.info.inputs]
    _require_inputs(network, names)
    if manifest.task != SENTENCE_EMBEDDING:
        return HuggingFaceModel(network, names)
    if getattr(network, _POOLER, None) is not None:
        setattr(network, _POOLER, None)
    return SentenceEmbedding(network, names, manifest.pooling or "mean", unit_length=manifest.unit_length)


def _be_quiet() -> None:
    """What matters of transformers' reports is said in errors; its bars and tables are not for a service's log."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _network(bundle: Bundle) -> PreTrainedModel:
    config = read_config(_read(bundle, CONFIG))
    weights = _weights(bundle)
    made = model_class(config, bundle.manifest.task)
    # Under no name, only with what was verified: so that transformers opens no file itself.
    try:
        loaded: Any = made.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            # Found out below, by name: transformers' own error only points to its log.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # what a model raises at weights that do not fit is not ours to list
        raise BundleError(f"transformers cannot load the model: {describe(error)}.", field="files") from error
    network: PreTrainedModel = loaded[0]
    _require_all_weights(loaded[1], bundle.manifest.task)
    return network


def _weights(bundle: Bundle) -> dict[str, Tensor]:
    index = _read(bundle, INDEX) if INDEX in bundle.manifest.files else None
    found: dict[str, Tensor] = {}
    for name in weight_files(index):
        data = _read(bundle, name)
        try:
            found |= safetensors.torch.load(data)
        except Exception as error:  # beside SafetensorError, a KeyError for a type of number that torch has not
            raise BundleError(f"{name} is no safetensors file: {describe(error)}.", field=f"files.{name}") from error
    return found


def _read(bundle: Bundle, name: str) -> bytes:
    if name not in bundle.manifest.files:
        raise BundleError(f"A Hugging Face bundle needs {name}, which files does not list.", field="files")
    return read_verified(bundle.folder, name, bundle.manifest.files[name])


def _require_all_weights(found: dict[str, Any], task: str | None) -> None:
    """transformers would fill in what is missing by chance."""
    missing = sorted(
        name for name in found["missing_keys"] if not (task == SENTENCE_EMBEDDING and name.partition(".")[0] == _POOLER)
    )
    if missing or found["mismatched_keys"]:
        names = missing or sorted(str(key[0]) for key in found["mismatched_keys"])
        what = "are missing" if missing else "have another shape than config.json says"
        raise BundleError(
            f"Weights {what}: {', '.join(names[:_NAMES_SHOWN])}{' and more' if len(names) > _NAMES_SHOWN else ''}. "
            f"Is this folder a {task} model?",
            field="task",
        )


def _require_inputs(network: PreTrainedModel, names: Sequence[str]) -> None:
    taken = inspect.signature(network.forward).parameters
    known = [name for name in INPUTS if name in taken]
    for name in names:
        if name not in known:
            raise BundleError(f"The model has no input {name!r}; it takes {', '.join(known)}.", field=f"inputs.{name}")
    if IDS not in names:
        raise BundleError(f"The model needs an input {IDS!r}.", field="inputs")


def _keywords(names: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """All int64: a mask may have been declared as a tensor of floats."""
    return {name: tensor.long() for name, tensor in zip(names, tensors, strict=True)}


def _tensor(found: Any) -> Tensor:
    tensor: Tensor = found
    return tensor
