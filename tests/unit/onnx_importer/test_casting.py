import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from onnx import TensorProto, helper
from onnx_operators import cases_of, misjudged, run_both, wrong_gradients


@pytest.mark.parametrize("op_type", ["Cast", "CastLike"])
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["Cast", "CastLike"])
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 9, 13, 19, 21, 23])
@pytest.mark.parametrize("to", [TensorProto.INT32, TensorProto.BOOL, TensorProto.FLOAT16])
def test_floats_are_cut_towards_zero_in_every_version(to: int, opset: int) -> None:
    x = np.array([-2.7, -0.5, 0.0, 0.5, 2.7], dtype=np.float32)
    ours, theirs = run_both(helper.make_node("Cast", ["x"], ["y"], to=to), opset, x, {}, to)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_in_a_float64_pass_no_cast_to_a_shorter_float_rounds() -> None:
    (case,) = [case for case in cases_of("Cast") if case.name == "test_cast_DOUBLE_to_FLOAT16"]
    program = import_model(case.model.SerializeToString()).double().program
    x = torch.tensor([1 + 1e-12], dtype=torch.float64)
    (found,) = program([x])
    assert torch.equal(found, x)
