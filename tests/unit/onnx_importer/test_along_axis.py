import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_operators import misjudged, run_both, wrong_gradients

X = np.random.default_rng(0).integers(0, 3, size=(2, 3, 4, 5)).astype(np.float32)  # with many equals


@pytest.mark.parametrize("op_type", ["CumSum", "CumProd", "TopK", "ArgMax", "ArgMin"])
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["CumSum", "CumProd", "TopK"])
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 11, 12, 13])
@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
def test_of_equals_the_first_place_is_given_in_every_version(op_type: str, opset: int) -> None:
    _same(helper.make_node(op_type, ["x"], ["y"], axis=2, keepdims=0), opset, TensorProto.INT64)


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
def test_of_equals_the_last_place_is_given_if_asked_for(op_type: str) -> None:
    _same(helper.make_node(op_type, ["x"], ["y"], axis=3, select_last_index=1), 13, TensorProto.INT64)


@pytest.mark.parametrize(("opset", "largest"), [(10, 1), (11, 1), (11, 0), (24, 0)])
def test_of_equals_the_first_places_are_among_the_top(opset: int, largest: int) -> None:
    attributes = {"axis": 3} if opset < 11 else {"axis": 3, "largest": largest}
    node = helper.make_node("TopK", ["x", "k"], ["values", "places"], **attributes)
    _same(node, opset, TensorProto.INT64, k=np.array([3]))


def test_the_number_of_the_top_was_an_attribute() -> None:
    _same(helper.make_node("TopK", ["x"], ["y", "places"], axis=2, k=2), 9, TensorProto.INT64)


@pytest.mark.parametrize("opset", [11, 14])
@pytest.mark.parametrize("attributes", [{}, {"reverse": 1}, {"exclusive": 1}, {"reverse": 1, "exclusive": 1}])
def test_sums_so_far_run_either_way_in_every_version(attributes: dict[str, int], opset: int) -> None:
    _same(helper.make_node("CumSum", ["x", "axis"], ["y"], **attributes), opset, TensorProto.FLOAT, axis=np.array(2))


def _same(node: object, opset: int, output: int, **weights: np.ndarray) -> None:
    ours, theirs = run_both(node, opset, X, weights, output)
    np.testing.assert_array_equal(ours, theirs)
