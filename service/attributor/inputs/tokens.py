"""A plain list of token ids to an int64 array of a declared shape. Knows no words: a vocabulary is a number here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidShape
from attributor.inputs.numbers import whole_int64
from attributor.jobs.model import InputSpec


def decode_ids(spec: InputSpec, value: Sequence[object], *, field: str) -> NDArray[np.int64]:
    """`[101, 2023, ...]` as an array of shape (positions,). Where the length is fixed, a shorter list is filled up with
    `pad_id`; where it is variable, the array is as long as the list.

    Raises InvalidInput for what is no id of the vocabulary, InvalidShape for a wrong count of them.
    """
    (positions,), count = spec.shape, len(value)
    shorter_fits = spec.variable or spec.pad_id is not None
    if not 0 < count <= positions or (count < positions and not shorter_fits):
        taken = f"1 to {positions}" if shorter_fits else f"exactly {positions}, and has no padding"
        raise InvalidShape(f"has {count} token ids; the model takes {taken}", field=field)
    ids = whole_int64(value, 0, (spec.vocabulary or 0) - 1, field=field)
    if ids.ndim != 1:
        raise InvalidShape("is nested; a list of token ids is flat", field=field)
    return ids if spec.variable else padded(ids, positions, spec.pad_id or 0)


def padded(ids: NDArray[np.int64], positions: int, filling: int) -> NDArray[np.int64]:
    """`ids`, shape (n,), with `filling` behind them: shape (positions,)."""
    return np.pad(ids, (0, positions - len(ids)), constant_values=filling)
