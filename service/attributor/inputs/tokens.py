"""A plain list of token ids to an int64 array of the declared shape. Knows no words: a vocabulary is a number here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidShape
from attributor.inputs.numbers import whole_int64
from attributor.jobs.model import InputSpec


def decode_ids(spec: InputSpec, value: Sequence[object], *, field: str) -> NDArray[np.int64]:
    """`[101, 2023, ...]` as an array of shape (positions,); a shorter list is filled up with `pad_id`.

    Raises InvalidInput for what is no id of the vocabulary, InvalidShape for a wrong count of them.
    """
    (positions,), count = spec.shape, len(value)
    if not 0 < count <= positions or (count < positions and spec.pad_id is None):
        taken = f"exactly {positions}, and has no padding" if spec.pad_id is None else f"1 to {positions}"
        raise InvalidShape(f"has {count} token ids; the model takes {taken}", field=field)
    ids = whole_int64(value, 0, (spec.vocabulary or 0) - 1, field=field)
    if ids.ndim != 1:
        raise InvalidShape("is nested; a list of token ids is flat", field=field)
    filled = np.full(spec.shape, spec.pad_id or 0, dtype=np.int64)
    filled[:count] = ids
    return filled
