"""Which keys of a manifest belong to which framework.

Knows the frameworks' rules as sentences. Knows nothing of files on disk, and loads none of the frameworks.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from attributor.registry.files import SEAL
from attributor.registry.schema.base import wrong
from attributor.registry.schema.inputs import InputTable

#: What each task of a Hugging Face model may return.
_KINDS_OF_TASK: Mapping[str, Collection[str]] = {
    "sentence-embedding": ("values",),
    "sequence-classification": ("classes", "values"),
    "token-classification": ("sequence",),
    "causal-lm": ("sequence",),
}
_EMBEDDING_TASK = "sentence-embedding"

#: How the one file of a framework ends.
_ENDINGS: Mapping[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}


@dataclass(frozen=True, slots=True)
class FrameworkKeys:
    """What a manifest says of how its model is made and run."""

    framework: str
    entry: str | None
    file: str | None
    gradients: bool
    task: str | None
    pooling: str | None
    unit_length: bool
    output_tensor: str | None
    output_kind: str
    paths: Sequence[str]
    layers: Sequence[str]


def require_framework(keys: FrameworkKeys, inputs: Sequence[InputTable], files: Collection[str]) -> None:
    """Raises for a key that belongs to another framework, or one that is missing."""
    if (keys.framework == "torch") != (keys.entry is not None):
        raise wrong('entry = "model:build", the code that makes the module, is for framework torch, which needs it')
    _require_file(keys, files)
    _require_onnx_keys(keys, inputs)
    _require_task(keys)
    if keys.framework == "huggingface" and "config.json" not in files:
        raise wrong(f"framework huggingface needs config.json, which files does not list; {SEAL}")
    if keys.paths and keys.framework != "torch":
        raise wrong(f"paths.{keys.paths[0]}: paths are code, which only a bundle of framework torch brings along")


def _require_file(keys: FrameworkKeys, files: Collection[str]) -> None:
    ending = _ENDINGS.get(keys.framework)
    if (ending is not None) != (keys.file is not None):
        raise wrong("file, the name of the model's file, is for frameworks onnx and torch-export, which need it")
    if keys.file is None or ending is None:
        return
    if not keys.file.endswith(ending):
        raise wrong(f"file must end in {ending} for framework {keys.framework}, not be {keys.file}")
    if keys.file not in files:
        raise wrong(f"file names {keys.file}, which files does not list; {SEAL}")


def _require_onnx_keys(keys: FrameworkKeys, inputs: Sequence[InputTable]) -> None:
    if keys.framework != "onnx":
        if not keys.gradients:
            raise wrong("gradients = false is for framework onnx")
        if keys.output_tensor is not None:
            raise wrong("output.tensor is for framework onnx")
        if named := [index for index, table in enumerate(inputs) if table.tensor is not None]:
            raise wrong(f"inputs.{named[0]}.tensor is for framework onnx")
    if keys.gradients:
        return
    if keys.layers:
        raise wrong(f"layers.{keys.layers[0]}: a model with gradients = false has no layers to attribute")
    if tokens := [index for index, table in enumerate(inputs) if table.attributed and table.kind == "tokens"]:
        raise wrong(f"inputs.{tokens[0]}: tokens are explained through their embedding, which needs gradients")


def _require_task(keys: FrameworkKeys) -> None:
    if (keys.framework == "huggingface") != (keys.task is not None):
        raise wrong(f"task, one of {', '.join(_KINDS_OF_TASK)}, is for framework huggingface, which needs it")
    if keys.task != _EMBEDDING_TASK and (keys.pooling is not None or keys.unit_length):
        raise wrong(f"pooling and unit_length are for task {_EMBEDDING_TASK}")
    if keys.task is not None and keys.output_kind not in _KINDS_OF_TASK[keys.task]:
        raise wrong(f"output.kind must be {' or '.join(_KINDS_OF_TASK[keys.task])} for task {keys.task}")
