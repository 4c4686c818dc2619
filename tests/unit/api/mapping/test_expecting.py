from dataclasses import asdict
from typing import Any

import pytest
from attributor.api.mapping.budget import MOST_VECTOR_BYTES
from attributor.api.mapping.expecting import NOT_MEASURED, OF_A_COMPARATOR, Expected, expected
from attributor.api.mapping.specs import attribution_spec
from attributor.api.schemas.bodies import AttributionBody
from attributor.jobs.model import ModelReport, Readiness
from unit.api.models import INPUTS, LAYERS, MODELS

MEASURED = ModelReport(
    "digits@1", "d", Readiness.READY, None, LAYERS, {}, 0.0, seconds_per_evaluation=0.001, seconds_per_forward=0.0004,
    points_per_pass=100, bytes_per_point=1_000,
)  # fmt: skip


def found(name: str = "digits", n_inputs: int = 1, report: ModelReport | None = MEASURED, **fields: Any) -> Expected:
    body = AttributionBody.model_validate({"model": name, "inputs": [INPUTS[name]] * n_inputs, **fields})
    spec = attribution_spec(body, MODELS[name], tenant="t", layers=LAYERS)
    return expected(body, spec, MODELS[name], report)


def test_the_default_rule_begins_with_its_first_nodes_and_may_take_its_budget():
    one = found().per_input
    assert 15 <= one.evaluations.expected < 25
    assert one.evaluations.at_most == 500
    assert 7 <= one.forwards.expected - one.evaluations.expected <= 8
    assert found(tolerance=0.05).per_input.evaluations.expected == 9


def test_inputs_multiply_the_whole():
    many = found(n_inputs=40)
    assert many.total == many.per_input.times(40)
    assert many.per_input == found().per_input
    assert many.seconds.expected == pytest.approx(40 * found().seconds.expected)


def test_seconds_are_those_of_gradients_of_scores_and_of_further_targets():
    assert found(rule="midpoint", n_steps=10).seconds.expected == pytest.approx(10 * 0.001 + 2 * 0.0004)
    three = found(rule="midpoint", n_steps=10, target={"top": 3}).seconds
    assert three.expected == pytest.approx(10 * (0.001 + 2 * 0.0006) + 2 * 0.0004)


@pytest.mark.parametrize(
    ("fields", "report", "reason"),
    [({}, None, NOT_MEASURED), ({"method": "lime"}, MEASURED, OF_A_COMPARATOR)],
)
def test_without_a_measurement_there_are_no_seconds_and_a_reason(fields, report, reason):
    told = found(report=report, **fields)
    assert (told.seconds, told.reason) == (None, reason)


def test_a_pass_is_as_large_as_the_job_can_fill_it():
    assert found(n_inputs=64).memory.one_pass == 100 * 1_000
    assert found(method="saliency").memory.one_pass == 1_000
    assert found(report=None).memory.one_pass is None


def test_vectors_are_bounded():
    large = found("large", 60, tolerance=1e-4, target={"top": 2})
    assert large.memory.vectors == MOST_VECTOR_BYTES
    assert found("large", 2, rule="midpoint", n_steps=500).memory.vectors == MOST_VECTOR_BYTES
    assert found("large", 2, rule="midpoint", n_steps=50).memory.vectors == 2 * 50 * 3 * 224 * 224 * 4
    assert asdict(found().memory)["vectors"] == found().per_input.evaluations.expected * 64 * 4


def test_an_answer_grows_with_inputs_and_targets():
    assert found(n_inputs=2, target={"top": 3}).answer_bytes == 6 * found().answer_bytes > 6 * 2 * 64 * 4
