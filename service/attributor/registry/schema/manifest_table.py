"""The form of manifest.toml as a whole, and what its tables must keep among each other.

Knows pydantic. Knows nothing of files on disk, of arrays, or of what becomes of a manifest.
"""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from attributor.registry.files import FILE_NAME, SEAL
from attributor.registry.schema.base import Entry, Key, ModelName, Table, Text, Version, require_distinct, wrong
from attributor.registry.schema.framework import FrameworkKeys, require_framework
from attributor.registry.schema.inputs import InputTable
from attributor.registry.schema.output import BaselineTable, FileTable, LayerTable, OutputTable, PathTable
from attributor.registry.schema.sources import SourceTable, require_equally_variable, require_sources

#: Most numbers of all inputs, times the baselines. Ours: a gigabyte of float32, written out.
MAX_BASELINE_ELEMENTS = 2**28
#: Of all that is wrong with a manifest, so many things are told; and so much of a key's name. Ours: a screen full.
_MOST_SENTENCES = 8
_MOST_CHARS = 60


def _whole(value: object) -> object:
    if type(value) is not int:  # true and 1.0 are 1 to Python
        raise wrong("Input should be 1")
    return value


class ManifestTable(Table):
    """The whole of manifest.toml, schema version 1."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole)]
    name: ModelName
    version: Version
    title: Text
    description: Text
    framework: Literal["torch", "onnx", "huggingface", "torch-export"]
    entry: Entry | None = None
    file: Text | None = None
    gradients: bool = True
    task: Literal["sentence-embedding", "sequence-classification", "token-classification", "causal-lm"] | None = None
    pooling: Literal["mean", "cls", "max"] | None = None
    unit_length: bool = False
    licence: Text
    source: Text
    sources: dict[Key, SourceTable] = Field(default_factory=dict)
    inputs: Annotated[list[InputTable], Field(min_length=1)]
    output: OutputTable
    baselines: Annotated[dict[Key, BaselineTable], Field(min_length=1)]
    default_baseline: str
    reference_set: dict[Key, str] = Field(default_factory=dict)
    paths: dict[Key, PathTable] = Field(default_factory=dict)
    layers: dict[Key, LayerTable] = Field(default_factory=dict)
    metadata: dict[Key, str] = Field(default_factory=dict)
    files: dict[str, FileTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        require_distinct([table.name for table in self.inputs], "names of inputs")
        if not any(table.attributed for table in self.inputs):
            raise wrong("inputs: at least one must be attributed")
        if self.default_baseline not in self.baselines:
            raise wrong(f"default_baseline must be one of {', '.join(self.baselines)}")
        if not self.files:
            raise wrong(f"files: it lists none; {SEAL}")
        for name in self.files:
            if not FILE_NAME.fullmatch(name):
                raise wrong(f"files.{name}: a file name is plain (letters, digits, dot, underscore, hyphen), no path")
        require_framework(self._framework_keys(), self.inputs, self.files)
        require_sources(self.sources, self.inputs)
        self._require_bounded()
        self._require_lengths()
        self._require_reference_set()
        self._require_files()
        return self

    def _framework_keys(self) -> FrameworkKeys:
        return FrameworkKeys(
            framework=self.framework,
            entry=self.entry,
            file=self.file,
            gradients=self.gradients,
            task=self.task,
            pooling=self.pooling,
            unit_length=self.unit_length,
            output_tensor=self.output.tensor,
            output_kind=self.output.kind,
            paths=tuple(self.paths),
            layers=tuple(self.layers),
        )

    def _require_bounded(self) -> None:
        if sum(prod(table.shape) for table in self.inputs) * len(self.baselines) > MAX_BASELINE_ELEMENTS:
            raise wrong(
                f"the shapes of the inputs and the {len(self.baselines)} baselines stand for more than "
                f"{MAX_BASELINE_ELEMENTS} numbers; declare fewer, or send them with requests"
            )

    def _require_lengths(self) -> None:
        require_equally_variable(self.inputs)
        variable = [table for table in self.inputs if table.variable]
        if variable and self.output.positions not in (None, variable[0].shape[0]):
            raise wrong(f"output.positions must be {variable[0].shape[0]}, the most positions of the variable inputs")

    def _require_reference_set(self) -> None:
        names = [table.name for table in self.inputs]
        if self.reference_set and any(table.variable for table in self.inputs):
            raise wrong("reference_set: its inputs have one length, so no input of the model may be variable")
        if self.reference_set and set(self.reference_set) != set(names):
            raise wrong(f"reference_set: one file for each of these inputs is needed: {', '.join(names)}")

    def _require_files(self) -> None:
        code = {f"paths.{name}": path.entry for name, path in self.paths.items()}
        if self.entry is not None:
            code["entry"] = self.entry
        named = {place: f"{entry.partition(':')[0]}.py" for place, entry in code.items()}
        named |= {f"reference_set.{name}": file for name, file in self.reference_set.items()}
        named |= {
            f"sources.{name}.tokenizer": table.tokenizer for name, table in self.sources.items() if table.tokenizer
        }
        for place, file in named.items():
            if file not in self.files:
                raise wrong(f"{place} names {file}, which files does not list; {SEAL}")


def validation_sentences(error: ValidationError) -> str:
    """What pydantic found, the first things of many, one clause each, with its dotted path."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [": ".join(filter(None, (_path(each["loc"]), each["msg"]))) for each in problems[:_MOST_SENTENCES]]
    more = len(problems) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)


def first_place(error: ValidationError) -> str | None:
    """The dotted path of the first thing wrong; None for the manifest as a whole."""
    return _path(error.errors(include_url=False)[0]["loc"]) or None


def _path(location: Sequence[int | str]) -> str:
    return ".".join(part if len(part) <= _MOST_CHARS else f"{part[:_MOST_CHARS]}..." for part in map(str, location))
