import pytest
from onnx_operators import misjudged

OPERATORS = ["And", "Or", "Xor", "Not", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf"]


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []
