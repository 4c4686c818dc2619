"""What a scaffold makes of an input of which it knows a name, a shape and whether its numbers are whole.

Knows the form of the [[inputs]] and [baselines] tables. Knows no framework.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from attributor.errors import BundleError
from attributor.jobs.model import NO_TOKEN
from attributor.registry.scaffold.drafts import Wishes
from attributor.registry.scaffold.manifest_text import Table
from attributor.registry.schema.inputs import MAX_ELEMENTS

#: Channels, height, width; grey or RGB.
_IMAGE_AXES = 3
_IMAGE_CHANNELS = (1, 3)

#: Names, as exporters of transformers write them, of what goes with ids and is not explained.
_MASK = re.compile(r"mask", re.IGNORECASE)
_POSITIONS = re.compile(r"position", re.IGNORECASE)
_SEGMENTS = re.compile(r"type|segment", re.IGNORECASE)

_PIXELS = (
    "input {name} is taken for a picture with values 0 to 1; if the model was trained on others, change value_range in "
    'its manifest, or put normalise = {{ mean = [...], std = [...] }} in its place; fit = "crop" takes other sizes'
)
_COLUMNS = (
    "input {name} is taken for numbers without names; if they are the columns of a table, --columns age,height,... or "
    "--columns-from-csv names them"
)
_APART = (
    "{count} inputs hold one number each, as of an export from a DataFrame; one table with named columns is easier to "
    "ask for and faster: fit and export from an array (to_onnx(model, rows[:1]) with float32 rows of numpy), and give "
    "--columns"
)
#: Inputs of one number each, from which on a table is meant. Ours: two may well be two numbers.
_MANY_COLUMNS = 3
_ZEROS = "the default baseline is zero; an average of your data is often better (values in [baselines.zero])"


@dataclass(frozen=True, slots=True)
class Seen:
    """An input as a model's file or a person describes it.

    `whole`: it takes whole numbers. `variable`: its first axis may be shorter. `lookup`: number of rows of the table
    where its ids are looked up, and the name of the embedding.
    """

    name: str
    shape: tuple[int, ...]
    whole: bool = False
    variable: bool = False
    lookup: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class DraftedInput:
    """An [[inputs]] table, the value of its baseline, and what a person should look at."""

    table: Table
    baseline: object
    remarks: tuple[str, ...] = ()

    def with_tensor(self, tensor: str) -> "DraftedInput":
        """The same, called otherwise in the graph."""
        return replace(self, table={"name": self.table["name"], "tensor": tensor, **self.table})


def key_of(name: str) -> str:
    """A name that a manifest takes: letters, digits, underscore, hyphen, a letter first."""
    key = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:64]
    return key if re.match(r"[A-Za-z]", key) else f"x{key}"[:64]


def drafted_input(seen: Seen, wishes: Wishes, columns: Sequence[str]) -> DraftedInput:
    """The table of one input. Raises BundleError with what to add if it cannot be told."""
    if prod(seen.shape) > MAX_ELEMENTS:
        raise BundleError(f"Input {seen.name} would take {prod(seen.shape)} numbers; at most {MAX_ELEMENTS} are taken.")
    if seen.whole:
        return _whole(seen, wishes)
    table: dict[str, object] = {"name": seen.name}
    if columns:
        if seen.shape != (len(columns),):
            raise BundleError(f"There are {len(columns)} columns; input {seen.name} takes shape {list(seen.shape)}.")
        features = [{"name": column} for column in columns]
        return DraftedInput(
            {**table, "kind": "tabular", "shape": list(seen.shape), "features": features}, 0.0, (_ZEROS,)
        )
    if len(seen.shape) == _IMAGE_AXES and seen.shape[0] in _IMAGE_CHANNELS:
        table |= {"kind": "image", "shape": list(seen.shape), "value_range": [0.0, 1.0]}
        return DraftedInput(table, "black", (_PIXELS.format(name=seen.name),))
    remarks = (_COLUMNS.format(name=seen.name), _ZEROS) if len(seen.shape) == 1 and seen.shape[0] > 1 else (_ZEROS,)
    return DraftedInput({**table, "kind": "tensor", "shape": list(seen.shape)}, 0.0, remarks)


def baselines_of(inputs: Sequence[DraftedInput]) -> Mapping[str, tuple[str, Mapping[str, object]]]:
    """The one baseline of a draft: absence, as far as the kinds of the inputs say what that is."""
    kinds = {each.table["kind"] for each in inputs if each.table.get("attributed", True)}
    values = {str(each.table["name"]): each.baseline for each in inputs}
    if kinds == {"tokens"}:
        return {"nothing": ("No token anywhere: in place of each, an embedding of zero.", values)}
    if kinds == {"image"}:
        return {"black": ("Black everywhere.", values)}
    return {"zero": (f"Zero everywhere{'; of pictures black' if 'image' in kinds else ''}.", values)}


def remarks_of(inputs: Sequence[DraftedInput]) -> list[str]:
    """What a person should look at, each once, however many inputs it is about."""
    columns = [each for each in inputs if each.table["kind"] == "tensor" and each.table["shape"] == [1]]
    found = [remark for each in inputs for remark in each.remarks]
    if len(columns) >= _MANY_COLUMNS:
        found.append(_APART.format(count=len(columns)))
    return list(dict.fromkeys(found))


def _whole(seen: Seen, wishes: Wishes) -> DraftedInput:
    if len(seen.shape) != 1:
        table = {"name": seen.name, "kind": "tensor", "shape": list(seen.shape), "attributed": False}
        remark = f"input {seen.name} takes whole numbers of several axes: it is given as it is, and never explained"
        return DraftedInput(table, 1.0 if _MASK.search(seen.name) else 0.0, (remark,))
    table = {"name": seen.name, "kind": "tokens", "shape": list(seen.shape)}
    if seen.variable:
        table["variable"] = True
    rows = wishes.vocabularies.get(seen.name) or (seen.lookup[0] if seen.lookup else None)
    if _MASK.search(seen.name):
        return DraftedInput({**table, "attributed": False, "vocabulary": rows or 2}, 1)
    if _POSITIONS.search(seen.name):
        places = list(range(seen.shape[0]))
        return DraftedInput({**table, "attributed": False, "vocabulary": rows or len(places)}, places)
    if _SEGMENTS.search(seen.name):
        return DraftedInput({**table, "attributed": False, "vocabulary": rows or 2}, 0)
    if rows is None:
        raise BundleError(
            f"Input {seen.name} takes whole numbers, and the graph looks them up in no table: add "
            f"--vocabulary {seen.name}=N, the number of different ids, if they are tokens; else export it with floats."
        )
    if seen.lookup is None:
        # Two ids that nothing looks up are a mask: with 0 everywhere a softmax would be over nothing.
        start = 1 if rows == 2 else 0
        return DraftedInput({**table, "attributed": False, "vocabulary": rows}, start, (_not_explained(seen.name),))
    return DraftedInput({**table, "vocabulary": rows, "embedding": seen.lookup[1]}, NO_TOKEN)


def _not_explained(name: str) -> str:
    return f"input {name} is not explained: no tensor of the graph is its embedding (embedding = in the manifest)"
