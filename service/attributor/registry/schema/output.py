"""The form of the tables of a manifest that describe no input: output, baselines, paths, layers, files.

Knows pydantic. Knows nothing of inputs or of files on disk.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from attributor.registry.schema.base import Count, Entry, Key, Number, Table, Text, require_distinct, wrong

#: Most classes of one output. Ours: above the largest vocabularies in use, and small enough to name them all.
_MAX_CLASSES = 2**20
#: Fewer are no choice.
_MIN_PROBABILITIES = 2


class OutputTable(Table):
    """Logits or probabilities of a classifier, numbers that stand for themselves, or logits per position."""

    name: Key
    tensor: Text | None = None
    kind: Literal["classes", "probabilities", "values", "sequence"] = "classes"
    labels: Annotated[list[Text], Field(min_length=1, max_length=_MAX_CLASSES)] | None = None
    classes: Annotated[int, Field(ge=1, le=_MAX_CLASSES)] | None = None
    positions: Count | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.labels is None) == (self.classes is None):
            raise wrong("either labels or classes is needed (classes = n stands for the labels 0 to n - 1)")
        if (self.kind == "sequence") != (self.positions is not None):
            raise wrong("positions, the length of the sequence, is for outputs of kind sequence, which need it")
        if self.kind == "probabilities" and len(self.all_labels) < _MIN_PROBABILITIES:
            raise wrong(f"probabilities need labels or classes for at least {_MIN_PROBABILITIES}")
        require_distinct(self.all_labels, "labels")
        return self

    @property
    def all_labels(self) -> tuple[str, ...]:
        """One per class or value, also where only their number is given."""
        return tuple(map(str, range(self.classes or 0))) if self.labels is None else tuple(self.labels)


class BaselineTable(Table):
    """A named x'. `values`: per input one number for all elements, or nested lists of the input's shape; of a picture
    also `black` or `white`, pixel 0 or 255 as the model sees it."""

    description: Text
    values: dict[Key, Number | Text | list[Any]]


class PathTable(Table):
    """A path object that the bundle registers: `module:function`."""

    entry: Entry


class LayerTable(Table):
    """A name of the manifest's own for a layer: `module`, as the model calls it."""

    module: Text
    description: str = ""


class FileTable(Table):
    """A file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]
