"""What a folder of `transformers` says of its model: read from its JSON files, with nothing that could run code.

Knows transformers' configurations and which class stands for which task. Loads no weights.
"""

import attributor.registry.formats.offline  # noqa: F401 - before transformers is imported

# isort: split

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from attributor.errors import BundleError
from attributor.registry.foreign import describe

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

SENTENCE_EMBEDDING = "sentence-embedding"
SEQUENCE_CLASSIFICATION = "sequence-classification"
TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 - no secret
CAUSAL_LM = "causal-lm"

_CLASSES: Mapping[str, Mapping[type, Any]] = {
    SENTENCE_EMBEDDING: MODEL_MAPPING,
    SEQUENCE_CLASSIFICATION: MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    TOKEN_CLASSIFICATION: MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    CAUSAL_LM: MODEL_FOR_CAUSAL_LM_MAPPING,
}
TASKS = tuple(_CLASSES)

#: What a bundle may feed a model of text, by transformers' own names.
IDS, MASK, SEGMENTS = "input_ids", "attention_mask", "token_type_ids"
INPUTS = (IDS, MASK, SEGMENTS)

#: Models of text that a test of ours builds small, loads, proves and differentiates twice. Of the hundreds of others
#: some fetch parts from a hub while they are built, and most are no models of text.
_TESTED = """
    albert bert biogpt bloom camembert cohere cohere2 convbert data2vec-text deberta deberta-v2 distilbert electra ernie
    esm eurobert falcon gemma gemma2 gemma3_text glm glm4 gpt2 gpt_bigcode gpt_neo gpt_neox gptj granite helium llama
    megatron-bert ministral mistral mixtral mobilebert modernbert modernbert-decoder mpnet mpt nemotron nomic_bert
    nystromformer olmo olmo2 olmo3 openai-gpt opt persimmon phi phi3 qwen2 qwen2_moe qwen3 qwen3_moe rembert roberta
    roberta-prelayernorm roformer smollm3 stablelm starcoder2 xglm xlm-roberta xlm-roberta-xl
"""
MODEL_TYPES = frozenset(_TESTED.split())

#: Keys by which transformers fetches a part of a model from elsewhere. Every other one beginning so is refused too.
_BACKBONE = "backbone"
_BACKBONES = frozenset({"use_pretrained_backbone", "use_timm_backbone"})

#: Characters of a key or a value that a refusal shows. Ours: a line's worth.
_SHOWN = 80

#: Endings of files that run code when they are loaded, or are code.
_CODE = (".py", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack")


def require_no_code(files: Collection[str]) -> None:
    """Raises BundleError for files that hold code or pickles, and for an adapter, which is no model."""
    for name in files:
        if name.endswith(_CODE):
            raise BundleError(
                f"{name} holds code or a pickle, which a Hugging Face bundle may not: save the model with "
                "save_pretrained(..., safe_serialization=True) and leave the rest out.",
                field=f"files.{name}",
            )
    if "adapter_config.json" in files:
        raise BundleError(
            "The folder holds an adapter; merge it into its model (merge_and_unload) and save that.",
            field="files.adapter_config.json",
        )


def read_config(data: bytes) -> PreTrainedConfig:
    """The configuration in the bytes of config.json.

    Raises BundleError for one that names code of its own or a part that lies elsewhere, a model that is none of
    MODEL_TYPES, one with an encoder and a decoder, or quantised weights.
    """
    table = read_table(CONFIG, data)
    for key in _keys(table):
        _require_plain(key)
    name = table.get("model_type")
    if not isinstance(name, str) or name not in MODEL_TYPES:
        raise _wrong(f"has model_type {repr(name)[:_SHOWN]}, not one of those served: {', '.join(sorted(MODEL_TYPES))}")
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[name].from_dict(table)
        twofold = config.is_encoder_decoder
    except Exception as error:  # each model checks its own configuration in its own way
        raise _wrong(f"is refused by transformers: {describe(error)}") from error
    if twofold:
        raise _wrong("is of a model with an encoder and a decoder, which is not served: its tokens come in twice")
    # Keys and values kept for the next token are of no use to one pass, and have gradients of their own.
    config.use_cache = False
    return config


def read_table(name: str, data: bytes) -> dict[str, Any]:
    """The object in a JSON file. Raises BundleError."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is not JSON: {error}.", field=f"files.{name}") from None
    if not isinstance(table, dict):
        raise BundleError(f"{name} holds no JSON object.", field=f"files.{name}")
    return table


def weight_files(index: bytes | None) -> tuple[str, ...]:
    """The files of the weights: those that model.safetensors.index.json names, if it is there."""
    if index is None:
        return (WEIGHTS,)
    shards = read_table(INDEX, index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise BundleError(f"{INDEX} has no weight_map from weights to files.", field=f"files.{INDEX}")
    return tuple(sorted(set(shards.values())))


def model_class(config: PreTrainedConfig, task: str | None) -> type[PreTrainedModel]:
    """The class of transformers for a task. Raises BundleError for a task that there is none for."""
    if task is None or task not in _CLASSES:
        raise BundleError(f"task must be one of {', '.join(_CLASSES)}.", field="task")
    try:
        found = _CLASSES[task].get(type(config), None)
    except Exception as error:  # the class's module is only now imported, and may miss a library
        raise BundleError(f"transformers cannot make {config.model_type}: {describe(error)}.", field="task") from error
    if isinstance(found, tuple):
        found = found[0]
    if found is None:
        raise BundleError(f"transformers has no {task} model of type {config.model_type}.", field="task")
    made: type[PreTrainedModel] = found
    return made


def _keys(table: Mapping[str, Any]) -> Iterator[str]:
    """Of the table and of every table in it."""
    waiting: list[Any] = [table]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _require_plain(key: str) -> None:
    if key == "auto_map":
        raise _wrong("has auto_map, which names Python code to run; only models that transformers itself has are taken")
    if key == "quantization_config":
        raise _wrong("has quantization_config; quantised weights have no gradients to speak of, so save float ones")
    if key.startswith(_BACKBONE) or key in _BACKBONES:
        raise _wrong(f"has {key[:_SHOWN]}, by which a part of the model would be fetched from elsewhere")


def _wrong(what: str) -> BundleError:
    return BundleError(f"{CONFIG} {what}.", field=f"files.{CONFIG}")
