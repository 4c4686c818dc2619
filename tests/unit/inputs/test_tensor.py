import numpy as np
import pytest
from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.tensor import DATATYPES, decode_tensor
from attributor.jobs.model import InputKind, InputSpec

SPEC = InputSpec("signal", InputKind.TENSOR, (2, 3))
NESTED = [[1, 2, 3], [4, 5, 6]]


def tensor(**changes: object) -> dict[str, object]:
    return {"shape": [2, 3], "datatype": "FP32", "data": NESTED} | changes


@pytest.mark.parametrize(
    "value",
    [
        tensor(),
        tensor(data=[1, 2, 3, 4, 5, 6]),
        tensor(shape=[1, 2, 3], data=[NESTED]),
        tensor(shape=[1, 2, 3], data=[1, 2, 3, 4, 5, 6]),
        tensor(name="signal", parameters={"content_type": "np"}),
        {"shape": [2, 3], "data": NESTED},
    ],
)
def test_every_form_of_the_protocol_gives_the_declared_shape(value: dict[str, object]) -> None:
    array = decode_tensor(SPEC, value, field="x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array(NESTED, dtype=np.float32))


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_numeric_datatype_is_taken(datatype: str) -> None:
    assert decode_tensor(SPEC, tensor(datatype=datatype), field="x")[1, 2] == 6


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES", "fp32", "", 5, None])
def test_other_datatypes_are_refused_with_a_list(datatype: object) -> None:
    with pytest.raises(InvalidInput, match="FP32") as caught:
        decode_tensor(SPEC, tensor(datatype=datatype), field="x")
    assert caught.value.field == "x.datatype"


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("UINT8", 256), ("UINT8", -1), ("INT8", -129), ("INT64", 1.5), ("FP16", 70000.0)],
)
def test_a_number_that_is_not_of_its_datatype_is_refused(datatype: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=datatype) as caught:
        decode_tensor(SPEC, tensor(datatype=datatype, data=[[0, 0, 0], [0, value, 0]]), field="x")
    assert caught.value.field == "x.data.1.1"


@pytest.mark.parametrize("shape", [[3, 2], [6], [2, 2, 3], [], [2.0, 3], [True, 3], "2,3", None, [-1, 3]])
def test_a_wrong_shape_is_refused_and_the_right_one_named(shape: object) -> None:
    with pytest.raises(InvalidShape, match=r"\[2, 3\]") as caught:
        decode_tensor(SPEC, tensor(shape=shape), field="x")
    assert caught.value.field == "x.shape"


@pytest.mark.parametrize("data", [[1, 2, 3], [1, 2, 3, 4, 5, 6, 7], [[1, 2], [3, 4]], [[1, 2, 3]], []])
def test_a_wrong_count_is_refused(data: list[object]) -> None:
    with pytest.raises(InvalidShape) as caught:
        decode_tensor(SPEC, tensor(data=data), field="x")
    assert caught.value.field == "x.data"


@pytest.mark.parametrize("data", ["abc", 5, None, {"0": 1}])
def test_data_that_is_no_list_is_refused(data: object) -> None:
    with pytest.raises(InvalidInput, match="list"):
        decode_tensor(SPEC, tensor(data=data), field="x")


@pytest.mark.parametrize("key", ["shape", "data"])
def test_a_missing_key_is_named(key: str) -> None:
    value = tensor()
    del value[key]
    with pytest.raises(InvalidInput, match="missing") as caught:
        decode_tensor(SPEC, value, field="inputs.0.signal")
    assert caught.value.field == f"inputs.0.signal.{key}"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_tensor(SPEC, tensor(dtype="FP32"), field="x")
    assert caught.value.field == "x.dtype"
