"""Named features to a float32 vector in the declared order: numbers, categories, missing values.

Knows nothing of what the features mean.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import cast

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidInput
from attributor.inputs.numbers import number_fault
from attributor.jobs.model import Feature, InputSpec

#: Most names listed in one error: ours, so that the sentence stays readable with hundreds of features.
_LISTED_NAMES = 10


def decode_features(spec: InputSpec, value: Mapping[str, object], *, field: str) -> NDArray[np.float32]:
    """`{"mean radius": 17.99, "colour": "red", ...}` as an array of shape (elements,), in the order of `spec.features`.

    A feature that is left out or null takes the value that is declared for a missing one. Raises InvalidInput for one
    that is unknown, missing without such a value, no finite number within float32, or no category.
    """
    names = [feature.name for feature in spec.features]
    if unknown := [name for name in value if name not in set(names)]:
        raise InvalidInput(_unknown(unknown[0], names), field=f"{field}.{unknown[0]}")
    needed = [feature.name for feature in spec.features if not _may_be_missing(feature)]
    if missing := [name for name in needed if name not in value]:
        detail = f"{len(missing)} of {len(names)} features are missing: {listed(missing)}"
        raise InvalidInput(detail, field=f"{field}.{missing[0]}")
    elements: list[float] = []
    for feature in spec.features:
        elements += _elements(feature, value.get(feature.name), field=f"{field}.{feature.name}")
    return np.array(elements, dtype=np.float32)


def listed(names: Iterable[str]) -> str:
    """Names for a sentence, quoted; the first few where there are many."""
    quoted = [f'"{name}"' for name in names]
    shown = ", ".join(quoted[:_LISTED_NAMES])
    rest = len(quoted) - _LISTED_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown


def _may_be_missing(feature: Feature) -> bool:
    return (feature.missing_category if feature.categories else feature.missing) is not None


def _elements(feature: Feature, value: object, *, field: str) -> list[float]:
    """The numbers of one feature: one, or, one-hot, as many as it has categories."""
    if value is None:
        value = feature.missing_category if feature.categories else feature.missing
    if not feature.categories:
        if reason := number_fault(value):
            raise InvalidInput(reason, field=field)
        return [cast("float", value)]
    if not isinstance(value, str) or value not in feature.categories:
        raise InvalidInput(_no_category(feature, value), field=field)
    index = feature.categories.index(value)
    return [float(i == index) for i in range(len(feature.categories))] if feature.one_hot else [float(index)]


def _no_category(feature: Feature, value: object) -> str:
    known = f"its categories are {listed(feature.categories)}"
    if not isinstance(value, str):
        return f"must be the name of a category; {known}"
    if close := get_close_matches(value, feature.categories, n=1):
        return f'unknown category; did you mean "{close[0]}"? {known[0].upper()}{known[1:]}'
    return f"unknown category; {known}"


def _unknown(name: str, names: list[str]) -> str:
    if close := get_close_matches(name, names, n=1):
        return f'unknown feature; did you mean "{close[0]}"?'
    return f"unknown feature; the model takes {listed(names)}"
