from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import AttributorError, InvalidInput, InvalidShape
from attributor.inputs.decode import decode_inputs
from attributor.jobs.model import InputKind, InputSpec

VARIABLE = InputSpec("ids", InputKind.TOKENS, (4,), vocabulary=9, embedding="embedding", pad_id=7, variable=True)
PADDED = InputSpec("ids", InputKind.TOKENS, (4,), vocabulary=30_000_000, embedding="embedding", pad_id=7)
EXACT = replace(PADDED, pad_id=None)


def ids(spec: InputSpec, value: object) -> np.ndarray:
    return decode_inputs([spec], {}, {"ids": value}, field="inputs.0")[0]["ids"]


@pytest.mark.parametrize(
    "value",
    [
        [1, 0, 29_999_999, 16_777_217],
        [1, 0, 29_999_999, 16_777_217.0],
        {"shape": [4], "datatype": "INT64", "data": [1, 0, 29_999_999, 16_777_217]},
        {"shape": [1, 4], "datatype": "UINT32", "data": [[1, 0, 29_999_999, 16_777_217]]},
        {"shape": [4], "data": [1, 0, 29_999_999, 16_777_217]},
    ],
)
def test_ids_are_read_exactly_also_beyond_float32(value: object) -> None:
    array = ids(EXACT, value)
    assert array.dtype == np.int64
    np.testing.assert_array_equal(array, [1, 0, 29_999_999, 16_777_217])


@pytest.mark.parametrize(
    "value",
    [
        [3, 5],
        {"shape": [2], "datatype": "INT64", "data": [3, 5]},
        {"shape": [1, 2], "datatype": "INT64", "data": [[3, 5]]},
    ],
)
def test_ids_of_variable_length_stay_as_long_as_they_are(value: object) -> None:
    np.testing.assert_array_equal(ids(VARIABLE, value), [3, 5])


def test_a_short_list_is_filled_up_with_padding() -> None:
    np.testing.assert_array_equal(ids(PADDED, [3, 5]), [3, 5, 7, 7])


@pytest.mark.parametrize(
    ("spec", "value", "error", "field", "words"),
    [
        (VARIABLE, [1, 2, 3, 4, 5], InvalidShape, "inputs.0.ids", "5 token ids; the model takes 1 to 4"),
        (VARIABLE, [], InvalidShape, "inputs.0.ids", "0 token ids"),
        (VARIABLE, [1, 9], InvalidInput, "inputs.0.ids.1", "from 0 to 8"),
        (VARIABLE, {"shape": [5], "data": [1] * 5}, InvalidShape, "inputs.0.ids.shape", r"takes \[1 to 4\]"),
        (VARIABLE, {"shape": [0], "data": []}, InvalidShape, "inputs.0.ids.shape", r"takes \[1 to 4\]"),
        (VARIABLE, {"shape": [2], "data": [1, 9]}, InvalidInput, "inputs.0.ids.data.1", "from 0 to 8"),
        (VARIABLE, {"shape": [2], "datatype": "FP32", "data": [1, 2]}, InvalidInput, "inputs.0.ids.datatype", "token"),
        (PADDED, [1, 2, 3, 4, 5], InvalidShape, "inputs.0.ids", "5 token ids; the model takes 1 to 4"),
        (PADDED, [], InvalidShape, "inputs.0.ids", "0 token ids"),
        (EXACT, [1, 2], InvalidShape, "inputs.0.ids", "exactly 4, and has no padding"),
        (EXACT, [[1], [2], [3], [4]], InvalidShape, "inputs.0.ids", "nested"),
        (EXACT, [1, 2, 3, 30_000_000], InvalidInput, "inputs.0.ids.3", "from 0 to 29999999, not 30000000"),
        (PADDED, [1, -1], InvalidInput, "inputs.0.ids.1", "whole number from 0"),
        (PADDED, [1, 1.5], InvalidInput, "inputs.0.ids.1", "not 1.5"),
        (PADDED, [1, "the"], InvalidInput, "inputs.0.ids.1", "'the'"),
        (PADDED, [1, True], InvalidInput, "inputs.0.ids.1", "true"),
        (PADDED, [1, None], InvalidInput, "inputs.0.ids.1", "null"),
        (PADDED, "the cat", InvalidInput, "inputs.0.ids", "a list of token ids"),
        (PADDED, {"shape": [2], "data": [1, 2]}, InvalidShape, "inputs.0.ids.shape", r"\[4\]"),
        (PADDED, {"shape": [4], "data": [1, 2, 3, -4]}, InvalidInput, "inputs.0.ids.data.3", "not -4"),
        (PADDED, {"shape": [4], "datatype": "FP32", "data": [1] * 4}, InvalidInput, "inputs.0.ids.datatype", "INT64"),
        (
            PADDED,
            {"shape": [4], "datatype": "INT8", "data": [1, 2, 3, 200]},
            InvalidInput,
            "inputs.0.ids.data.3",
            "INT8",
        ),
    ],
)
def test_what_is_no_list_of_ids_is_refused_at_its_place(
    spec: InputSpec, value: object, error: type[AttributorError], field: str, words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        ids(spec, value)
    assert caught.value.field == field


def test_a_mask_of_floats_stands_beside_the_ids() -> None:
    mask = InputSpec("mask", InputKind.TENSOR, (4,), attributed=False)
    item = {"ids": [1, 2, 3, 4], "mask": {"shape": [4], "data": [1, 1, 1, 0]}}
    tensors, _ = decode_inputs([EXACT, mask], {}, item, field="inputs.0")
    assert [array.dtype for array in tensors.values()] == [np.int64, np.float32]
