"""One entry of a request's `inputs` to the model's tensors: which names, and which reader for each value.

Knows the kinds of input, and leaves the values to `tabular`, `image`, `tokens` and `tensor`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from attributor.errors import InvalidInput
from attributor.inputs.image import decode_image
from attributor.inputs.tabular import decode_features, listed
from attributor.inputs.tensor import decode_tensor
from attributor.inputs.tokens import decode_ids
from attributor.jobs.model import InputKind, InputSpec, Tensors

#: What a value may be, per kind, for errors.
_FORMS = {
    InputKind.TABULAR: "an object of feature name to number, or a tensor object",
    InputKind.IMAGE: "a PNG or JPEG as base64 text, or a tensor object",
    InputKind.TENSOR: 'a tensor object {"shape": [...], "datatype": "FP32", "data": [...]}',
    InputKind.TOKENS: 'a list of token ids, or a tensor object {"shape": [...], "datatype": "INT64", "data": [...]}',
}


def decode_inputs(specs: Sequence[InputSpec], item: Mapping[str, object], *, field: str) -> Tensors:
    """Every input the model takes, by name, as an array of its declared shape: int64 for token ids, else float32.

    `field` is the item's place in the request, such as `inputs.0`. Raises InvalidInput, InvalidShape, InvalidImage,
    ImageTooLarge, InvalidBase64, each with the place of the first fault.
    """
    names = [spec.name for spec in specs]
    for name in item:
        if name not in names:
            raise InvalidInput(f"unknown input; the model takes {listed(names)}", field=f"{field}.{name}")
    for name in names:
        if name not in item:
            raise InvalidInput(f"is missing; the model takes {listed(names)}", field=f"{field}.{name}")
    return {spec.name: _decode(spec, item[spec.name], field=f"{field}.{spec.name}") for spec in specs}


def _decode(spec: InputSpec, value: object, *, field: str) -> NDArray[Any]:
    if isinstance(value, list) and spec.kind is InputKind.TOKENS:
        return decode_ids(spec, value, field=field)
    if isinstance(value, str) and spec.kind is InputKind.IMAGE:
        return decode_image(spec, value, field=field)
    if not isinstance(value, Mapping):
        raise InvalidInput(f"must be {_FORMS[spec.kind]}", field=field)
    if spec.kind is InputKind.TABULAR and not _is_tensor(spec, value):
        return decode_features(spec, value, field=field)
    return decode_tensor(spec, value, field=field)


def _is_tensor(spec: InputSpec, value: Mapping[str, object]) -> bool:
    """A table may have a column named "data": the object is a tensor only where that is not a feature."""
    return "data" in value and all(feature.name != "data" for feature in spec.features)
