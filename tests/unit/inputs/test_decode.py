import base64
from io import BytesIO

import numpy as np
import pytest
from attributor.errors import InvalidInput
from attributor.inputs.decode import decode_inputs
from attributor.jobs.model import Feature, InputKind, InputSpec
from PIL import Image

TABLE = InputSpec("features", InputKind.TABULAR, (2,), (Feature("age"), Feature("dose")))
PHOTO = InputSpec("image", InputKind.IMAGE, (1, 2, 3), value_range=(0.0, 1.0))
SIGNAL = InputSpec("signal", InputKind.TENSOR, (2,))
SIGNAL_VALUE = {"shape": [2], "datatype": "FP64", "data": [0.5, 1]}


def png() -> str:
    file = BytesIO()
    Image.new("L", (3, 2), 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_each_kind_is_read_in_its_own_form() -> None:
    item = {"signal": SIGNAL_VALUE, "features": {"age": 40, "dose": 2.5}, "image": png()}
    tensors = decode_inputs([TABLE, PHOTO, SIGNAL], item, field="inputs.0")
    assert list(tensors) == ["features", "image", "signal"]
    np.testing.assert_array_equal(tensors["features"], np.array([40, 2.5], dtype=np.float32))
    np.testing.assert_array_equal(tensors["image"], np.ones((1, 2, 3), dtype=np.float32))
    np.testing.assert_array_equal(tensors["signal"], np.array([0.5, 1], dtype=np.float32))


@pytest.mark.parametrize("spec", [TABLE, PHOTO, SIGNAL])
def test_every_kind_takes_a_tensor(spec: InputSpec) -> None:
    count = int(np.prod(spec.shape))
    value = {"shape": list(spec.shape), "datatype": "FP32", "data": list(range(count))}
    array = decode_inputs([spec], {spec.name: value}, field="inputs.0")[spec.name]
    np.testing.assert_array_equal(array, np.arange(count, dtype=np.float32).reshape(spec.shape))


def test_a_column_called_data_does_not_make_a_table_a_tensor() -> None:
    spec = InputSpec("t", InputKind.TABULAR, (2,), (Feature("data"), Feature("shape")))
    array = decode_inputs([spec], {"t": {"data": 1, "shape": 2}}, field="inputs.0")["t"]
    np.testing.assert_array_equal(array, np.array([1, 2], dtype=np.float32))


def test_an_unknown_input_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(InvalidInput, match='the model takes "features"') as caught:
        decode_inputs([TABLE], {"feature": {}}, field="inputs.3")
    assert caught.value.field == "inputs.3.feature"


def test_a_missing_input_is_named() -> None:
    with pytest.raises(InvalidInput, match="missing") as caught:
        decode_inputs([TABLE, SIGNAL], {"signal": SIGNAL_VALUE}, field="inputs.1")
    assert caught.value.field == "inputs.1.features"


@pytest.mark.parametrize(
    ("spec", "value", "said"),
    [
        (TABLE, [1, 2], "feature name to number"),
        (TABLE, "1,2", "feature name to number"),
        (TABLE, None, "feature name to number"),
        (PHOTO, [1], "base64"),
        (PHOTO, 5, "base64"),
        (SIGNAL, [0.5, 1], "datatype"),
        (SIGNAL, "0.5", "datatype"),
    ],
)
def test_a_value_of_another_form_is_told_the_right_one(spec: InputSpec, value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        decode_inputs([spec], {spec.name: value}, field="inputs.0")
    assert caught.value.field == f"inputs.0.{spec.name}"
