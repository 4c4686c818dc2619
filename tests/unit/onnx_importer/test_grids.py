import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_operators import misjudged, run_both, wrong_gradients

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("op_type", ["GridSample", "AffineGrid"])
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["GridSample", "AffineGrid"])
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(("opset", "mode"), [(16, "bilinear"), (16, "bicubic"), (20, "linear"), (22, "cubic")])
def test_values_between_pixels_are_those_of_onnxruntime(opset: int, mode: str, padding: str, align: int) -> None:
    node = helper.make_node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding, align_corners=align)
    x = np.asarray(RANDOM.normal(size=(2, 3, 5, 4)), dtype=np.float32)
    grid = np.asarray(RANDOM.uniform(-1.4, 1.4, size=(2, 6, 5, 2)), dtype=np.float32)
    ours, theirs = run_both(node, opset, x, {"g": grid}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
