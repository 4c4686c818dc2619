"""Inputs that are read together are what they are one by one, and whatever is not plain is left alone."""

from typing import Any

import numpy as np
import pytest
from attributor.errors import AttributorError
from attributor.inputs import together
from attributor.inputs.decode import decode_inputs
from attributor.inputs.together import decode_tensors
from attributor.jobs.model import Feature, InputKind, InputSpec
from hypothesis import given
from hypothesis import strategies as st

TABLE = InputSpec("x", InputKind.TABULAR, (2,), (Feature("a"), Feature("b")))
IMAGE = InputSpec("x", InputKind.IMAGE, (1, 2, 2), value_range=(0.0, 1.0))
TENSOR = InputSpec("x", InputKind.TENSOR, (2, 2))


def tensor(**changes: Any) -> dict[str, Any]:
    return {"x": {"shape": [2], "datatype": "FP32", "data": [0.1, 2]} | changes}


@pytest.mark.parametrize(
    ("spec", "items"),
    [
        (TABLE, [tensor(), tensor(data=[1e-40, -3.0]), tensor(shape=[1, 2])]),
        (IMAGE, [tensor(shape=[1, 2, 2], data=[0, 0.5, 1, 2.5]), tensor(shape=[1, 1, 2, 2], data=[0.0] * 4)]),
        (TENSOR, [{"x": {"data": [1, 2, 3, 10**30], "shape": [2, 2]}}]),
    ],
)
def test_inputs_read_together_are_what_they_are_one_by_one(spec, items):
    found = decode_tensors([spec], items)
    assert found is not None
    for one, item in zip(found, items, strict=True):
        alone, _ = decode_inputs([spec], {}, item, field="inputs.0")
        assert one.keys() == alone.keys()
        assert (one["x"].dtype, one["x"].shape) == (alone["x"].dtype, alone["x"].shape)
        np.testing.assert_array_equal(one["x"], alone["x"])


def test_more_than_are_read_at_once_come_in_their_order(monkeypatch):
    monkeypatch.setattr(together, "_MOST_NUMBERS", 6)
    found = decode_tensors([TABLE], [tensor(data=[n, n]) for n in range(8)])
    assert found is not None
    assert [one["x"].tolist() for one in found] == [[n, n] for n in range(8)]


@pytest.mark.parametrize(
    "item",
    [
        {"x": {"a": 1.0, "b": 2.0}},
        {"y": tensor()["x"]},
        tensor() | {"y": 1},
        tensor(data=[1.0]),
        tensor(data=[[1.0], [2.0]]),
        tensor(data=[1.0, True]),
        tensor(data=[1.0, "2"]),
        tensor(data=[1.0, None]),
        tensor(data=[1.0, float("nan")]),
        tensor(data=[1.0, 1e39]),
        tensor(data="ab"),
        tensor(shape=[2.0]),
        tensor(shape=[True, 2]),
        tensor(shape=[3]),
        tensor(shape=2),
        tensor(datatype="FP64"),
        tensor(datatype=["FP32"]),
        tensor(name="x"),
    ],
)
def test_what_is_not_plain_is_left_alone(item):
    assert decode_tensors([TABLE], [tensor(), item]) is None


@pytest.mark.parametrize(
    "specs",
    [
        [TABLE, TENSOR],
        [InputSpec("x", InputKind.TOKENS, (2,), vocabulary=9)],
        [InputSpec("x", InputKind.TENSOR, (2,), variable=True)],
        [InputSpec("x", InputKind.TABULAR, (2,), (Feature("data"), Feature("shape")))],
    ],
)
def test_inputs_of_other_kinds_are_left_alone(specs):
    assert decode_tensors(specs, [tensor(data=[1, 2])]) is None


_values = st.sampled_from([0.5, 1, True, None, "1", [1], float("inf"), 1e300, -(10**40)])


@given(
    st.lists(_values, max_size=3),
    st.sampled_from([[2], [1, 2], [2.0], [True, 2], 2, None, [3]]),
    st.sampled_from(["FP32", "INT8", None, 1]),
)
def test_nothing_is_read_that_one_by_one_would_be_refused(data, shape, datatype):
    item = {"x": {"shape": shape, "datatype": datatype, "data": data}}
    found = decode_tensors([TABLE], [item])
    try:
        alone, _ = decode_inputs([TABLE], {}, item, field="inputs.0")
    except AttributorError:
        assert found is None
        return
    if found is not None:
        np.testing.assert_array_equal(found[0]["x"], alone["x"])
