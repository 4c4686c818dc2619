"""The form of the [[inputs]] tables, and what each must keep by itself.

Knows pydantic. Knows nothing of other inputs, of sources, or of files on disk.
"""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from attributor.jobs.model import Feature
from attributor.registry.schema.base import Count, Key, Number, Table, Text, TokenId, require_distinct, wrong

#: Grey or RGB.
_IMAGE_CHANNELS = (1, 3)
#: Channels, height, width.
_IMAGE_AXES = 3
#: Most numbers of one input. Ours: 256 MB as float32, which a worker holds many times over.
MAX_ELEMENTS = 2**26
#: Ours: what numpy 1 takes; their product stays a number that can be written down.
_MOST_AXES = 32
#: A mask says yes or no.
_MASK_IDS = 2


class FeatureTable(Table):
    """A named column of a tabular input: a number, or one of `categories`."""

    name: Text
    unit: Text | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    categories: Annotated[list[Text], Field(min_length=2)] | None = None
    one_hot: bool = False
    missing: Number | Text | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.categories is not None:
            self._require_categories(self.categories)
        elif self.one_hot:
            raise wrong("one_hot is for a column with categories")
        elif isinstance(self.missing, str):
            raise wrong("missing must be a number: this column has no categories")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise wrong("minimum must not be above maximum")
        return self

    def _require_categories(self, categories: list[str]) -> None:
        require_distinct(categories, "categories")
        if self.minimum is not None or self.maximum is not None:
            raise wrong("minimum and maximum are for columns of numbers; this one has categories")
        if self.missing is not None and self.missing not in categories:
            raise wrong(f"missing must be one of the categories: {', '.join(categories)}")

    @property
    def feature(self) -> Feature:
        """The column as a plain value."""
        return Feature(
            name=self.name,
            unit=self.unit,
            minimum=self.minimum,
            maximum=self.maximum,
            categories=tuple(self.categories or ()),
            one_hot=self.one_hot,
            missing=None if isinstance(self.missing, str) else self.missing,
            missing_category=self.missing if isinstance(self.missing, str) else None,
        )


class NormaliseTable(Table):
    """Mean and standard deviation of each channel, of pixels from 0 to 1: the model's value is (pixel - mean) / std."""

    mean: Annotated[list[Number], Field(min_length=1)]
    std: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1)]


class InputTable(Table):
    """A named tensor that the model takes; `shape` without the batch axis."""

    name: Key
    tensor: Text | None = None
    kind: Literal["tabular", "image", "tensor", "tokens"]
    shape: Annotated[list[Count], Field(min_length=1, max_length=_MOST_AXES)]
    variable: bool = False
    source: Key | None = None
    part: Literal["ids", "mask", "segments", "atoms", "bonds", "atom_mask"] | None = None
    features: list[FeatureTable] = Field(default_factory=list)
    groups: dict[Text, Annotated[list[Text], Field(min_length=1)]] = Field(default_factory=dict)
    value_range: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    normalise: NormaliseTable | None = None
    fit: Literal["stretch", "crop"] | None = None
    attributed: bool = True
    vocabulary: Count | None = None
    embedding: Text | None = None
    pad_id: TokenId | None = None
    mask_id: TokenId | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (count := prod(self.shape)) > MAX_ELEMENTS:
            raise wrong(f"shape stands for {count} numbers; at most {MAX_ELEMENTS} are taken")
        _require_table(self)
        _require_image(self)
        _require_tokens(self)
        _require_variable(self)
        if not self.attributed and self.kind not in ("tensor", "tokens"):
            raise wrong("attributed = false is for inputs of kind tensor or tokens")
        if (self.source is None) != (self.part is None):
            raise wrong("source and part go together: which source, and which of its tensors this input is")
        return self


def _require_table(table: InputTable) -> None:
    if table.kind != "tabular":
        if table.features or table.groups:
            raise wrong("only a tabular input has features, and groups of them")
        return
    elements = [element.name for column in table.features for element in column.feature.elements]
    if table.shape != [len(elements)]:
        raise wrong(
            f"a tabular input needs shape [{len(elements)}], one element for each feature (with one_hot: for each "
            "of its categories)"
        )
    names = [column.name for column in table.features]
    require_distinct(names, "feature names")
    require_distinct(elements, "names of elements")
    for group, members in table.groups.items():
        require_distinct(members, f"groups.{group}: features")
        if unknown := [name for name in members if name not in names]:
            raise wrong(f"groups.{group}: there is no feature {unknown[0]!r}")


def _require_image(table: InputTable) -> None:
    if table.kind != "image":
        given = {"value_range": table.value_range, "normalise": table.normalise, "fit": table.fit}
        if surplus := [name for name, value in given.items() if value is not None]:
            raise wrong(f"only an image has {surplus[0]}")
        return
    if len(table.shape) != _IMAGE_AXES or table.shape[0] not in _IMAGE_CHANNELS:
        raise wrong("an image needs shape [channels, height, width] with 1 or 3 channels")
    if (table.value_range is None) == (table.normalise is None):
        raise wrong("an image needs either value_range = [value of pixel 0, value of pixel 255] or normalise")
    if table.value_range is not None and table.value_range[0] >= table.value_range[1]:
        raise wrong("an image needs value_range = [value of pixel 0, value of pixel 255], ascending")
    if table.normalise is not None:
        channels = table.shape[0]
        if {len(table.normalise.mean), len(table.normalise.std)} != {channels}:
            raise wrong(f"normalise needs a mean and a std for each of the channels, which are {channels}")


def _require_tokens(table: InputTable) -> None:
    special = {"pad_id": table.pad_id, "mask_id": table.mask_id}
    if table.kind != "tokens":
        given: Mapping[str, object] = {"vocabulary": table.vocabulary, "embedding": table.embedding, **special}
        if surplus := [name for name, value in given.items() if value is not None]:
            raise wrong(f"only an input of kind tokens has {surplus[0]}")
        return
    if len(table.shape) != 1:
        raise wrong("tokens need shape [positions]")
    if table.vocabulary is None:
        raise wrong("tokens need vocabulary = the number of different ids, which run from 0")
    if table.attributed != (table.embedding is not None):
        raise wrong("tokens that are attributed need embedding = the name of their embedding module, others have none")
    for name, value in special.items():
        if value is not None and value >= table.vocabulary:
            raise wrong(f"{name} must be within the vocabulary: 0 to {table.vocabulary - 1}")
    if table.part == "mask" and table.vocabulary < _MASK_IDS:
        raise wrong(f"a mask of tokens needs vocabulary = {_MASK_IDS}: 1 for a token, 0 for padding")


def _require_variable(table: InputTable) -> None:
    if table.variable and table.kind != "tokens" and not (table.kind == "tensor" and not table.attributed):
        raise wrong("variable = true is for tokens, and for tensors that go with them and have attributed = false")
