"""What a manifest has to say of a folder that `transformers` or sentence-transformers saved, found out without weights.

For writing the manifest, before there is a bundle. Knows transformers and JSON files; loads no weights, runs no code.
"""

import attributor.registry.formats.offline  # noqa: F401 - before transformers is imported

# isort: split

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from attributor.errors import BundleError
from attributor.registry.foreign import describe
from attributor.registry.formats.huggingface_config import (
    CAUSAL_LM,
    CONFIG,
    IDS,
    INDEX,
    INPUTS,
    MASK,
    SEGMENTS,
    SENTENCE_EMBEDDING,
    SEQUENCE_CLASSIFICATION,
    TOKEN_CLASSIFICATION,
    model_class,
    read_config,
    read_table,
    weight_files,
)

TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
#: Of sentence-transformers: its parts, how it pools, and how long a text may be.
_MODULES, _POOLING, _SENTENCE = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"

_POOLING_FLAGS = {"cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens", "mean": "pooling_mode_mean_tokens"}

#: Ours: tokenizers of transformers say 10^30 where they know no limit.
_NO_LIMIT = 10**9

_TASK_OF_ENDING = {
    "ForSequenceClassification": SEQUENCE_CLASSIFICATION,
    "ForTokenClassification": TOKEN_CLASSIFICATION,
    "ForCausalLM": CAUSAL_LM,
    "LMHeadModel": CAUSAL_LM,
}


@dataclass(frozen=True, slots=True)
class HuggingFaceFacts:
    """Of a folder. `labels`: of the output's classes, empty where it has numbers only (`n_outputs` of them).

    `embedding`: the module's name as the loaded module has it. `most_positions`: of one text; None where neither the
    weights nor the tokenizer set a limit. `inputs`: names that the model takes, IDS first. `pooling`, `unit_length`: of
    a sentence embedding. `regression`: whether the outputs of a sequence classification are numbers, not logits.
    `files`: those of the folder that a bundle needs.
    """

    task: str
    labels: tuple[str, ...]
    n_outputs: int
    vocabulary: int
    embedding: str
    most_positions: int | None
    pad_id: int | None
    mask_id: int | None
    inputs: tuple[str, ...]
    pooling: str | None
    unit_length: bool
    regression: bool
    files: tuple[str, ...]


def describe_huggingface(folder: Path, task: str | None = None) -> HuggingFaceFacts:
    """`task`: what the folder is to be used for; None: what its weights were saved for.

    Raises BundleError for a folder that could not be served, with the reason.
    """
    config = read_config(_bytes(folder, CONFIG))
    task = task or _task(config)
    network = _skeleton(config, task)
    embedding, table = _embedding(network)
    of_tokenizer = _table(folder, _TOKENIZER_CONFIG)
    is_embedding = task == SENTENCE_EMBEDDING
    labels = () if is_embedding or task == CAUSAL_LM else _labels(config)
    return HuggingFaceFacts(
        task=task,
        labels=labels,
        n_outputs=len(labels) or int(config.hidden_size if is_embedding else config.vocab_size),
        vocabulary=table.num_embeddings,
        embedding=embedding,
        most_positions=_most_positions(folder, config, network, of_tokenizer),
        pad_id=_special(folder, of_tokenizer, "pad_token", config.pad_token_id),
        mask_id=_special(folder, of_tokenizer, "mask_token", None),
        inputs=_inputs(config, network, of_tokenizer),
        pooling=_pooling(folder) if is_embedding else None,
        unit_length=is_embedding and _normalises(folder),
        regression=task == SEQUENCE_CLASSIFICATION
        and (getattr(config, "problem_type", None) == "regression" or len(labels) == 1),
        files=_files(folder),
    )


def _task(config: PreTrainedConfig) -> str:
    for name in config.architectures or []:
        for ending, task in _TASK_OF_ENDING.items():
            if name.endswith(ending):
                return task
        if name.endswith("Model"):
            return SENTENCE_EMBEDDING
    raise BundleError(
        f"{CONFIG} names no architecture that is served ({', '.join(config.architectures or ['none'])}): "
        f"a base model (...Model) or one that ends in {', '.join(_TASK_OF_ENDING)}.",
        field=f"files.{CONFIG}",
    )


def _skeleton(config: PreTrainedConfig, task: str) -> PreTrainedModel:
    """The model without memory for its weights."""
    kind = model_class(config, task)
    try:
        with torch.device("meta"):
            made: PreTrainedModel = kind(config)
    except Exception as error:  # what a model raises at a configuration that does not fit is not ours to list
        raise BundleError(f"transformers cannot make the model: {describe(error)}.", field=f"files.{CONFIG}") from error
    return made


def _embedding(network: PreTrainedModel) -> tuple[str, nn.Embedding]:
    """Its name in the module that the loader makes, which holds the network as `network`."""
    table = network.get_input_embeddings()
    if not isinstance(table, nn.Embedding):
        raise BundleError(f"The model's input embedding is {type(table).__name__}, not one table of rows.")
    name = next(name for name, module in network.named_modules() if module is table)
    return f"network.{name}", table


def _labels(config: PreTrainedConfig) -> tuple[str, ...]:
    by_number: dict[Any, Any] = dict(config.id2label or {})
    return tuple(str(by_number[number]) for number in sorted(by_number))


def _most_positions(
    folder: Path, config: PreTrainedConfig, network: PreTrainedModel, of_tokenizer: dict[str, Any]
) -> int | None:
    """The least of what the weights, the tokenizer and sentence-transformers allow."""
    said = [
        getattr(config, "max_position_embeddings", None),
        of_tokenizer.get("model_max_length"),
        _table(folder, _SENTENCE).get("max_seq_length"),
    ]
    for name, module in network.named_modules():
        # Those of RoBERTa count from the row after the padding's.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            said.append(module.num_embeddings - module.padding_idx - 1)
    limits = [int(limit) for limit in said if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT]
    return min(limits, default=None)


def _special(folder: Path, of_tokenizer: dict[str, Any], kind: str, otherwise: int | None) -> int | None:
    """The id of a special token, which tokenizer_config.json names and tokenizer.json numbers."""
    named = of_tokenizer.get(kind)
    token = named.get("content") if isinstance(named, dict) else named
    if not isinstance(token, str) or not (folder / TOKENIZER).is_file():
        return otherwise
    found: int | None = Tokenizer.from_file(str(folder / TOKENIZER)).token_to_id(token)
    return otherwise if found is None else found


def _inputs(config: PreTrainedConfig, network: PreTrainedModel, of_tokenizer: dict[str, Any]) -> tuple[str, ...]:
    """Those that the tokenizer makes and the model takes; segments only where it has more than one kind of them."""
    made = of_tokenizer.get("model_input_names") or [IDS, MASK, SEGMENTS]
    taken = inspect.signature(network.forward).parameters
    several = getattr(config, "type_vocab_size", 0) > 1
    return tuple(
        name for name in INPUTS if name == IDS or (name in made and name in taken and (name != SEGMENTS or several))
    )


def _pooling(folder: Path) -> str:
    """By one of two spellings: `pooling_mode`, or a flag per way of pooling."""
    table = _table(folder, _POOLING)
    asked = {key for key, value in table.items() if value is True and key.startswith("pooling_mode_")}
    if not asked:
        asked = {table.get("pooling_mode", "mean")}
    found = [pooling for pooling, key in _POOLING_FLAGS.items() if asked in ({key}, {pooling})]
    if not found:
        raise BundleError(f"{_POOLING} pools in a way that is not served; one of mean, cls, max is.", field="pooling")
    return found[0]


def _normalises(folder: Path) -> bool:
    if not (folder / _MODULES).is_file():
        return False
    return b".Normalize" in (folder / _MODULES).read_bytes()


def _files(folder: Path) -> tuple[str, ...]:
    index = _bytes(folder, INDEX) if (folder / INDEX).is_file() else None
    weights = weight_files(index)
    for name in weights:
        if not (folder / name).is_file():
            raise BundleError(
                f"There is no {name} in {folder}. Weights in another form are to be saved anew: "
                "model.save_pretrained(folder, safe_serialization=True).",
                field=f"files.{name}",
            )
    others = [name for name in (TOKENIZER, _TOKENIZER_CONFIG) if (folder / name).is_file()]
    return (CONFIG, *([INDEX] if index else []), *weights, *others)


def _table(folder: Path, name: str) -> dict[str, Any]:
    """Empty where there is no such file."""
    return read_table(name, _bytes(folder, name)) if (folder / name).is_file() else {}


def _bytes(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        raise BundleError(f"There is no {name} in {folder}: give a folder that save_pretrained wrote.", field=name)
    return (folder / name).read_bytes()
