import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_operators import misjudged, run_both, wrong_gradients

OPERATORS = ("Softmax", "LogSoftmax", "Hardmax")


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize(
    ("opset", "axis"), [(7, None), (7, 0), (11, 1), (11, 2), (12, 3), (12, -2), (13, 1), (13, None)]
)
def test_before_opset_13_all_axes_from_the_axis_on_are_one(op_type: str, opset: int, axis: int | None) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    node = helper.make_node(op_type, ["x"], ["y"], **({} if axis is None else {"axis": axis}))
    ours, theirs = run_both(node, opset, x, {}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
