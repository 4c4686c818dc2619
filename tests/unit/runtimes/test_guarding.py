"""What a job of another release of the API might bring, and must not reach the device."""

import numpy as np
import pytest
from attributor.errors import InvalidInput, InvalidShape, RequestError
from attributor.jobs.explanation import Target
from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, Tensors
from attributor.model_port import CurveSpec, RouteSpec
from attributor.runtimes.guarding import require_example, require_fit
from attributor.runtimes.torch_runtime import TorchModel
from nets_of_text import ENCODER_INFO, IDS, MASK, Encoder, text

ROW = InputSpec("x", InputKind.TENSOR, (2,))
FINE = text(1, 2, 3)

#: (spec, values, error, in the detail)
WRONG = [
    (IDS, np.array([1, 11]), InvalidInput, "ids from 0 to 10, not 11"),
    (IDS, np.array([-2, 1]), InvalidInput, "not -2"),
    (MASK, np.array([NO_TOKEN, 1]), InvalidInput, "not -1"),
    (IDS, np.array([1.0, 2.0]), InvalidInput, "whole numbers; these are float64"),
    (IDS, np.zeros(0, np.int64), InvalidShape, r"shape \[1 to 9\]; this one has \[0\]"),
    (IDS, np.zeros(10, np.int64), InvalidShape, r"this one has \[10\]"),
    (IDS, np.zeros((1, 3), np.int64), InvalidShape, r"this one has \[1, 3\]"),
    (ROW, np.array([1, 2]), InvalidInput, "takes floats; these are int64"),
    (ROW, np.array([1j, 2j]), InvalidInput, "complex"),
    (ROW, np.zeros(3, np.float32), InvalidShape, r"shape \[2\]; this one has \[3\]"),
]


@pytest.mark.parametrize(("spec", "values", "error", "words"), WRONG)
def test_values_that_are_not_as_declared_are_refused_with_their_field(spec, values, error, words):
    with pytest.raises(error, match=words) as refused:
        require_fit(spec, values)
    assert refused.value.field == f"inputs.{spec.name}"


@pytest.mark.parametrize(
    ("spec", "values"),
    [(IDS, np.array([0, 10, NO_TOKEN])), (IDS, np.array([3], np.int32)), (ROW, np.zeros(2)), (MASK, np.array([0, 1]))],
)
def test_values_as_declared_are_taken(spec, values):
    require_fit(spec, values)


@pytest.mark.parametrize(
    ("example", "field"),
    [({"ids": FINE["ids"]}, "inputs.mask"), ({**FINE, "mask": np.ones(2, np.int64)}, "inputs.mask")],
)
def test_an_example_lacks_no_input_and_all_its_lengths_are_equal(example, field):
    with pytest.raises(RequestError) as refused:
        require_example(ENCODER_INFO.inputs, example)
    assert refused.value.field == field


def opened(example: Tensors) -> TorchModel:
    model = TorchModel(Encoder(), ENCODER_INFO)
    model.open("p", RouteSpec(example, (Target(),)))
    return model


def test_no_id_beyond_the_embedding_reaches_the_model():
    with pytest.raises(InvalidInput, match="not 99") as refused:
        opened({**FINE, "ids": np.array([1, 99, 3])})
    assert refused.value.field == "inputs.ids"
    model = opened(FINE)
    seen = len(model._network.module.rows)
    with pytest.raises(InvalidInput, match="not 99"):
        model.add_curve("p", CurveSpec({**FINE, "ids": np.array([1, 99, 3])}, FINE))
    assert len(model._network.module.rows) == seen
