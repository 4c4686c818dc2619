"""The form of the [sources] tables, and what inputs must keep among themselves: parts of a source, variable lengths.

Knows pydantic and the form of an input. Knows nothing of files on disk, and reads no text and no molecule.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from attributor.inputs.smiles import BOND_KINDS, atom_width
from attributor.jobs.model import Part
from attributor.registry.schema.base import Table, Text, require_distinct, wrong
from attributor.registry.schema.inputs import InputTable

#: The parts of each kind of source, the first of which says what the others go with: their kind of input, whether
#: they are explained (None: as the model wants it).
_PARTS: Mapping[str, Mapping[str, tuple[str, bool | None]]] = {
    "text": {Part.IDS: ("tokens", None), Part.MASK: ("tokens", False), Part.SEGMENTS: ("tokens", False)},
    "smiles": {Part.ATOMS: ("tensor", None), Part.BONDS: ("tensor", None), Part.ATOM_MASK: ("tensor", False)},
}

_AXES = {Part.ATOMS: 2, Part.BONDS: 3, Part.ATOM_MASK: 1}
_SHAPES = {Part.ATOMS: "[atoms, features]", Part.BONDS: "[atoms, atoms, bond types]", Part.ATOM_MASK: "[atoms]"}

_Symbol = Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")]


class SourceTable(Table):
    """What a person gives in one piece, from which several tensors are made."""

    kind: Literal["text", "smiles"]
    tokenizer: Text | None = None
    elements: Annotated[list[_Symbol], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.kind == "text") != (self.tokenizer is not None):
            raise wrong("tokenizer, the name of a file of the bundle, is for sources of kind text, which need it")
        if (self.kind == "smiles") != (self.elements is not None):
            raise wrong(
                'elements = ["C", "N", ...], which the model knows, is for sources of kind smiles, which need it'
            )
        require_distinct(self.elements or [], "elements")
        return self


def require_sources(sources: Mapping[str, SourceTable], inputs: Sequence[InputTable]) -> None:
    """Raises unless inputs and sources name each other, and the parts of each source fit together."""
    for index, table in enumerate(inputs):
        if table.name in sources:
            raise wrong(f"inputs.{index}.name: a source is called {table.name}, too; a request must tell them apart")
        if table.source is not None and table.source not in sources:
            raise wrong(f"inputs.{index}.source: there is no [sources.{table.source}]")
    for name, source in sources.items():
        of_source = {str(table.part): (index, table) for index, table in enumerate(inputs) if table.source == name}
        if sum(table.source == name for table in inputs) != len(of_source):
            raise wrong(f"sources.{name}: two inputs are the same part of it")
        for part, (index, table) in of_source.items():
            _require_part(f"inputs.{index}", part, table, source.kind)
        first = next(iter(_PARTS[source.kind]))
        if first not in of_source:
            raise wrong(f"sources.{name}: an input with part = {str(first)!r} is needed")
        parts = [table for _, table in of_source.values()]
        if len({table.shape[0] for table in parts}) > 1 or len({table.variable for table in parts}) > 1:
            raise wrong(f"sources.{name}: its inputs must have equally many positions (or atoms), all variable or none")
        if source.kind == "smiles":
            _require_widths(source.elements or [], of_source)


def require_equally_variable(inputs: Sequence[InputTable]) -> None:
    """Raises unless all variable inputs have equally many positions, and one of them is tokens."""
    variable = [table for table in inputs if table.variable]
    if not variable:
        return
    if len({table.shape[0] for table in variable}) > 1:
        names = ", ".join(f"{table.name} {table.shape}" for table in variable)
        raise wrong(f"inputs: all with variable = true must have equally many positions at most, not {names}")
    if not any(table.kind == "tokens" for table in variable):
        raise wrong("inputs: variable = true is for tokens; a tensor is variable only beside them")


def _require_part(place: str, part: str, table: InputTable, kind: str) -> None:
    parts = _PARTS[kind]
    if part not in parts:
        raise wrong(f"{place}.part: a source of kind {kind} has the parts {', '.join(parts)}, not {part}")
    needed, attributed = parts[part]
    if table.kind != needed:
        raise wrong(f"{place}.kind: {part} of a source are an input of kind {needed}")
    if attributed is not None and table.attributed != attributed:
        raise wrong(f"{place}.attributed: {part} are given and never explained: attributed = false is needed")
    if part == Part.IDS and not table.variable and table.pad_id is None:
        raise wrong(
            f"{place}.pad_id: a text is filled up to {table.shape[0]} tokens: pad_id or variable = true is needed"
        )
    if part in _AXES:
        _require_axes(place, Part(part), table.shape)


def _require_axes(place: str, part: Part, shape: Sequence[int]) -> None:
    if len(shape) != _AXES[part] or (part is Part.BONDS and shape[0] != shape[1]):
        raise wrong(f"{place}.shape: {part.value} need shape {_SHAPES[part]}")


def _require_widths(elements: Sequence[str], parts: Mapping[str, tuple[int, InputTable]]) -> None:
    """Raises unless the tensors of a molecule are as wide as its reader makes them."""
    for part, width, what in (
        (Part.ATOMS, atom_width(elements), "numbers for each atom, with these elements"),
        (Part.BONDS, len(BOND_KINDS), f"kinds of bonds ({', '.join(BOND_KINDS)})"),
    ):
        if part in parts and parts[part][1].shape[-1] != width:
            index, table = parts[part]
            raise wrong(f"inputs.{index}.shape: there are {width} {what}; {table.shape} says {table.shape[-1]}")
