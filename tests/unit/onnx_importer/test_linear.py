import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from onnx import TensorProto, helper
from onnx_operators import misjudged, run_both, wrong_gradients

RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.normal(size=shape), dtype=np.float32)


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm", "Einsum"])
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm", "Einsum"])
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4)])
def test_the_third_operand_of_gemm_is_broadcast_in_every_version(shape: tuple[int, ...], opset: int) -> None:
    node = helper.make_node("Gemm", ["x", "b", "c"], ["y"], alpha=0.5, beta=-2.0, transA=1, transB=1)
    ours, theirs = run_both(node, opset, numbers(5, 3), {"b": numbers(4, 5), "c": numbers(*shape)}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_gemm_takes_matrices_only() -> None:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "b"], ["y"])],
        "one",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "b")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    module = import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    with pytest.raises(RuntimeError, match="Gemm takes matrices"):
        module(torch.ones(2, 3, 4), torch.ones(4, 2))
