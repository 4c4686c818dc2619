import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import TensorProto, helper, numpy_helper
from onnx_operators import cases_of, misjudged, wrong_gradients


def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be() -> None:
    assert misjudged("DequantizeLinear") == []


def test_gradients_are_those_of_central_differences() -> None:
    assert wrong_gradients("DequantizeLinear") == []


@pytest.mark.parametrize("op_type", ["QuantizeLinear", "DynamicQuantizeLinear"])
def test_rounding_is_refused_with_the_reason(op_type: str) -> None:
    for case in cases_of(op_type):
        with pytest.raises(Refused, match=r"derivative is 0 everywhere|which no request can give|not computed"):
            import_model(case.model.SerializeToString(), output=case.model.graph.output[0].name)


@pytest.mark.parametrize("opset", [13, 19, 21, 23])
def test_stored_whole_weights_become_floats(opset: int) -> None:
    weights, scale, zero = np.array([[1, -2], [3, 4]], dtype=np.int8), np.array([0.5, 2.0]), np.array([1, 0])
    module = import_model(_weighted(opset, weights, scale.astype(np.float32), zero.astype(np.int8)))
    expected = torch.tensor([[0.0, -4.0], [1.0, 8.0]])
    torch.testing.assert_close(module(torch.eye(2)), expected)


def test_a_block_larger_than_the_axis_takes_no_memory() -> None:
    weights, scale, zero = np.array([[1, -2], [3, 4]]), np.array([[0.5, 2.0]]), np.array([[1, 0]])
    data = _weighted(21, weights.astype(np.int8), scale.astype(np.float32), zero.astype(np.int8), 0, 2**40)
    torch.testing.assert_close(import_model(data)(torch.eye(2)), torch.tensor([[0.0, -4.0], [1.0, 8.0]]))


def test_version_10_has_one_scale_for_a_tensor() -> None:
    weights, scale, zero = np.ones((2, 2), dtype=np.int8), np.ones(2, dtype=np.float32), np.zeros(2, dtype=np.int8)
    with pytest.raises(Refused, match="version 10 has one for the whole tensor"):
        import_model(_weighted(10, weights, scale, zero))


def _weighted(opset: int, weights: np.ndarray, scale: np.ndarray, zero: np.ndarray, *blocks: int) -> bytes:
    attributes = dict(zip(("axis", "block_size"), blocks, strict=False))
    stored = {"w": weights, "s": scale, "z": zero}
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], **attributes),
            helper.make_node("Add", ["x", "d"], ["a"]),
            helper.make_node("Sub", ["a", "x"], ["y"]),
        ],
        "weighted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
