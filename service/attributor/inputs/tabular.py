"""Named features to a float32 vector in the declared order. Knows nothing of what the features mean."""

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidInput
from attributor.inputs.numbers import number_fault
from attributor.jobs.model import InputSpec

#: Most names listed in one error: ours, so that the sentence stays readable with hundreds of features.
_LISTED_NAMES = 10


def decode_features(spec: InputSpec, value: Mapping[str, object], *, field: str) -> NDArray[np.float32]:
    """`{"mean radius": 17.99, ...}` as an array of shape (features,), in the order of `spec.features`.

    Raises InvalidInput for a feature that is unknown, missing, or not a finite number within float32.
    """
    names = [feature.name for feature in spec.features]
    if unknown := [name for name in value if name not in set(names)]:
        raise InvalidInput(_unknown(unknown[0], names), field=f"{field}.{unknown[0]}")
    if missing := [name for name in names if name not in value]:
        detail = f"{len(missing)} of {len(names)} features are missing: {listed(missing)}"
        raise InvalidInput(detail, field=f"{field}.{missing[0]}")
    for name in names:
        if reason := number_fault(value[name]):
            raise InvalidInput(reason, field=f"{field}.{name}")
    return np.array([value[name] for name in names], dtype=np.float32)


def listed(names: list[str]) -> str:
    """Names for a sentence, quoted; the first few where there are many."""
    shown = ", ".join(f'"{name}"' for name in names[:_LISTED_NAMES])
    rest = len(names) - _LISTED_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown


def _unknown(name: str, names: list[str]) -> str:
    if close := get_close_matches(name, names, n=1):
        return f'unknown feature; did you mean "{close[0]}"?'
    return f"unknown feature; the model takes {listed(names)}"
