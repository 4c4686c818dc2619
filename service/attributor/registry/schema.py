"""The form of manifest.toml, table by table, and what each must keep by itself or among its neighbours.

Knows pydantic. Knows nothing of files on disk, of arrays, or of what becomes of a manifest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from attributor.registry.files import FILE_NAME

#: Grey or RGB.
_IMAGE_CHANNELS = (1, 3)
#: Channels, height, width.
_IMAGE_AXES = 3

_Text = Annotated[str, Field(min_length=1)]
#: No underscore in names and versions, so that `attributor_bundle_<name>_<version>` tells any two apart.
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
_Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+(\.[0-9A-Za-z]+)*$", max_length=32)]
_Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
_Entry = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*$")]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]
_TokenId = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    """A manifest is typed by TOML and holds nothing that we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FeatureTable(_Table):
    """A named column of a tabular input."""

    name: _Text
    unit: _Text | None = None
    minimum: _Number | None = None
    maximum: _Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise _wrong("minimum must not be above maximum")
        return self


class InputTable(_Table):
    """A named tensor that the model takes; `shape` without the batch axis."""

    name: _Key
    kind: Literal["tabular", "image", "tensor", "tokens"]
    shape: Annotated[list[_Count], Field(min_length=1)]
    features: list[FeatureTable] = []
    value_range: Annotated[list[_Number], Field(min_length=2, max_length=2)] | None = None
    attributed: bool = True
    vocabulary: _Count | None = None
    embedding: _Text | None = None
    pad_id: _TokenId | None = None
    mask_id: _TokenId | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        _require_table(self)
        _require_image(self)
        _require_tokens(self)
        if not self.attributed and self.kind not in ("tensor", "tokens"):
            raise _wrong("attributed = false is for inputs of kind tensor or tokens")
        return self


class OutputTable(_Table):
    """Logits of a classifier, numbers of a regression, or logits per position of a sequence."""

    name: _Key
    kind: Literal["classes", "values", "sequence"] = "classes"
    labels: Annotated[list[_Text], Field(min_length=1)] | None = None
    classes: _Count | None = None
    positions: _Count | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.labels is None) == (self.classes is None):
            raise _wrong("either labels or classes is needed (classes = n stands for the labels 0 to n - 1)")
        if (self.kind == "sequence") != (self.positions is not None):
            raise _wrong("positions, the length of the sequence, is for outputs of kind sequence, which need it")
        _require_distinct(self.all_labels, "labels")
        return self

    @property
    def all_labels(self) -> tuple[str, ...]:
        """One per class or value, also where only their number is given."""
        return tuple(map(str, range(self.classes or 0))) if self.labels is None else tuple(self.labels)


class BaselineTable(_Table):
    """A named x'. `values`: per input one number for all elements, or nested lists of the input's shape."""

    description: _Text
    values: dict[_Key, _Number | list[Any]]


class PathTable(_Table):
    """A path object that the bundle registers: `module:function`."""

    entry: _Entry


class FileTable(_Table):
    """A file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]


class ManifestTable(_Table):
    """The whole of manifest.toml, schema version 1."""

    schema_version: Literal[1]
    name: _Name
    version: _Version
    title: _Text
    description: _Text
    framework: Literal["torch"]
    entry: _Entry
    licence: _Text
    source: _Text
    inputs: Annotated[list[InputTable], Field(min_length=1)]
    output: OutputTable
    baselines: Annotated[dict[_Key, BaselineTable], Field(min_length=1)]
    default_baseline: str
    reference_set: dict[_Key, str] = {}
    paths: dict[_Key, PathTable] = {}
    metadata: dict[_Key, str] = {}
    files: dict[str, FileTable]

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        _require_distinct([table.name for table in self.inputs], "names of inputs")
        if not any(table.attributed for table in self.inputs):
            raise _wrong("inputs: at least one must be attributed")
        if self.default_baseline not in self.baselines:
            raise _wrong(f"default_baseline must be one of {', '.join(self.baselines)}")
        for name in self.files:
            if not FILE_NAME.fullmatch(name):
                raise _wrong(f"files.{name}: a file name is plain (letters, digits, dot, underscore, hyphen), no path")
        self._require_reference_set()
        for place, entry in {
            "entry": self.entry,
            **{f"paths.{name}": path.entry for name, path in self.paths.items()},
        }.items():
            self._require_file(place, f"{entry.partition(':')[0]}.py")
        return self

    def _require_reference_set(self) -> None:
        names = [table.name for table in self.inputs]
        if self.reference_set and set(self.reference_set) != set(names):
            raise _wrong(f"reference_set: one file for each of these inputs is needed: {', '.join(names)}")
        for name, file in self.reference_set.items():
            self._require_file(f"reference_set.{name}", file)

    def _require_file(self, place: str, file: str) -> None:
        if file not in self.files:
            raise _wrong(f"{place} names {file}, which files does not list")


def validation_sentences(error: ValidationError) -> str:
    """All that pydantic found, one clause each, with its dotted path."""
    problems = error.errors(include_url=False)
    return "; ".join(": ".join(filter(None, (_path(problem["loc"]), problem["msg"]))) for problem in problems)


def first_place(error: ValidationError) -> str | None:
    """The dotted path of the first thing wrong; None for the manifest as a whole."""
    return _path(error.errors(include_url=False)[0]["loc"]) or None


def _require_table(table: InputTable) -> None:
    if table.kind == "tabular":
        if table.shape != [len(table.features)]:
            raise _wrong(f"a tabular input needs shape [{len(table.features)}], one feature per element")
        _require_distinct([feature.name for feature in table.features], "feature names")
    elif table.features:
        raise _wrong("only a tabular input has features")


def _require_image(table: InputTable) -> None:
    if table.kind == "image":
        if len(table.shape) != _IMAGE_AXES or table.shape[0] not in _IMAGE_CHANNELS:
            raise _wrong("an image needs shape [channels, height, width] with 1 or 3 channels")
        if table.value_range is None or table.value_range[0] >= table.value_range[1]:
            raise _wrong("an image needs value_range = [value of pixel 0, value of pixel 255], ascending")
    elif table.value_range is not None:
        raise _wrong("only an image has a value_range")


def _require_tokens(table: InputTable) -> None:
    special = {"pad_id": table.pad_id, "mask_id": table.mask_id}
    if table.kind != "tokens":
        given: Mapping[str, object] = {"vocabulary": table.vocabulary, "embedding": table.embedding, **special}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise _wrong(f"only an input of kind tokens has {wrong[0]}")
        return
    if len(table.shape) != 1:
        raise _wrong("tokens need shape [positions]")
    if table.vocabulary is None:
        raise _wrong("tokens need vocabulary = the number of different ids, which run from 0")
    if table.attributed != (table.embedding is not None):
        raise _wrong("tokens that are attributed need embedding = the name of their embedding module, others have none")
    for name, value in special.items():
        if value is not None and value >= table.vocabulary:
            raise _wrong(f"{name} must be within the vocabulary: 0 to {table.vocabulary - 1}")


def _require_distinct(names: Sequence[str], what: str) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise _wrong(f"{what} must differ; repeated: {', '.join(repeated)}")


def _wrong(what: str) -> PydanticCustomError:
    # The text goes in as a value: as a template, braces in a user's name would be taken for placeholders.
    return PydanticCustomError("manifest", "{what}", {"what": what})


def _path(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location)
