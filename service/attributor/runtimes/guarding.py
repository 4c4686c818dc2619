"""Refuses tensors that a model's declaration does not allow, before they reach the device.

The API has done the same; a job may come from another release of it, and an id beyond an embedding ends a GPU's
process. Knows declarations and numpy.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from attributor.errors import InvalidInput, InvalidShape
from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, Tensors


def require_example(declared: Sequence[InputSpec], example: Tensors) -> None:
    """Raises InvalidInput, InvalidShape for an example that lacks an input, or has one that is not as declared."""
    for spec in declared:
        if spec.name not in example:
            raise InvalidInput(f"the input '{spec.name}' is missing", field=f"inputs.{spec.name}")
        require_fit(spec, example[spec.name])
    lengths = {spec.name: len(example[spec.name]) for spec in declared if spec.variable}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{length} of '{name}'" for name, length in lengths.items())
        name = next(reversed(lengths))
        raise InvalidShape(f"inputs that go together need equally many positions; got {listed}", field=f"inputs.{name}")


def require_fit(spec: InputSpec, values: NDArray[Any]) -> None:
    """Raises InvalidShape for another shape; InvalidInput for numbers that are not floats, or no ids of the
    vocabulary. In place of a token that is explained there may be none."""
    field = f"inputs.{spec.name}"
    if not spec.takes(values.shape):
        shape = ["1 to " + str(spec.shape[0]), *map(str, spec.shape[1:])] if spec.variable else map(str, spec.shape)
        raise InvalidShape(
            f"the input '{spec.name}' has shape [{', '.join(shape)}]; this one has {list(values.shape)}", field=field
        )
    if spec.kind is not InputKind.TOKENS:
        if values.dtype.kind != "f":
            raise InvalidInput(f"the input '{spec.name}' takes floats; these are {values.dtype}", field=field)
        return
    if values.dtype.kind not in "iu":
        raise InvalidInput(
            f"the input '{spec.name}' takes token ids, whole numbers; these are {values.dtype}", field=field
        )
    lowest, highest = int(values.min()), int(values.max())
    least = NO_TOKEN if spec.attributed else 0
    if lowest < least or (spec.vocabulary is not None and highest >= spec.vocabulary):
        wrong = lowest if lowest < least else highest
        last = "" if spec.vocabulary is None else f" to {spec.vocabulary - 1}"
        raise InvalidInput(f"the input '{spec.name}' takes token ids from 0{last}, not {wrong}", field=field)
