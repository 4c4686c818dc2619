from typing import Any

import numpy as np
import pytest
from attributor.api.mapping import CUSTOM_BASELINE, DEFAULT_STEPS, attribution_spec, fingerprint, prediction_spec
from attributor.api.schemas import AttributionBody, PredictionBody
from attributor.errors import InvalidRequest, RequestError, UnknownBaseline, UnknownClass, UnsupportedVisualization
from attributor.jobs.job import JobKind, JobSpec, Polarity, RuleName, VisualizationKind
from attributor.jobs.model import Baseline, Feature, InputKind, InputSpec, ModelInfo, OutputScale, OutputSpec

INFO = ModelInfo(
    name="iris",
    version="2",
    digest="d" * 64,
    title="",
    description="",
    licence="",
    source="",
    inputs=(InputSpec("flower", InputKind.TABULAR, (2,), (Feature("petal"), Feature("sepal"))),),
    output=OutputSpec("logits", ("setosa", "virginica", "7")),
    baselines={
        name: Baseline(name, "", {"flower": np.full(2, value, np.float32)})
        for name, value in (("mean", 3), ("zero", 0))
    },
    default_baseline="mean",
)
FLOWER = {"flower": {"petal": 1, "sepal": 2.5}}


def body(**changes: Any) -> AttributionBody:
    return AttributionBody.model_validate({"model": "iris", "inputs": [FLOWER], **changes})


def spec(**changes: Any) -> JobSpec:
    return attribution_spec(body(**changes), INFO, tenant="t")


def test_a_bare_request_gets_the_documented_defaults():
    made = spec()
    assert (made.kind, made.ref, made.digest, made.tenant) == (JobKind.ATTRIBUTION, "iris@2", INFO.digest, "t")
    assert made.inputs[0]["flower"].tolist() == [1, 2.5]
    assert made.baseline_name == "mean"
    assert made.baseline["flower"].tolist() == [3, 3]
    assert (made.target.class_index, made.target.scale) == (None, OutputScale.PROBABILITY)
    quadrature = made.quadrature
    assert (quadrature.rule, quadrature.tolerance, quadrature.max_evaluations) == (RuleName.ADAPTIVE, 0.01, 500)
    assert quadrature.n_steps is None


def test_several_inputs_keep_their_order():
    made = spec(inputs=[{"flower": {"petal": i, "sepal": 0}} for i in range(3)])
    assert [tensors["flower"][0] for tensors in made.inputs] == [0, 1, 2]


@pytest.mark.parametrize(("wanted", "index"), [(1, 1), ("virginica", 1), ("7", 2), (0, 0), (None, None)])
def test_a_class_is_an_index_or_a_label(wanted, index):
    assert spec(target={"class": wanted, "scale": "logit"}).target.class_index == index


@pytest.mark.parametrize(("wanted", "hint"), [(3, "0 to 2"), (-1, "0 to 2"), ("virginca", "virginica"), (7, "0 to 2")])
def test_a_class_that_is_not_there_is_refused_with_a_hint(wanted, hint):
    with pytest.raises(UnknownClass) as refused:
        spec(target={"class": wanted})
    assert (refused.value.field, hint in refused.value.detail) == ("target.class", True)


def test_a_baseline_is_named_or_sent():
    assert spec(baseline="zero").baseline["flower"].tolist() == [0, 0]
    made = spec(baseline=FLOWER)
    assert (made.baseline_name, made.baseline["flower"].tolist()) == (CUSTOM_BASELINE, [1, 2.5])


@pytest.mark.parametrize("name", ["nought", ""])
def test_a_baseline_of_no_name_is_refused(name):
    with pytest.raises(UnknownBaseline) as refused:
        spec(baseline=name)
    assert "mean, zero" in refused.value.detail


def test_fixed_rules_have_steps_and_the_adaptive_one_has_none():
    assert spec(rule="midpoint").quadrature.n_steps == DEFAULT_STEPS
    assert spec(rule="trapezoid", n_steps=2).quadrature.n_steps == 2
    for wrong in ({"n_steps": 5}, {"rule": "trapezoid", "n_steps": 1}):
        with pytest.raises(InvalidRequest) as refused:
            spec(**wrong)
        assert refused.value.field == "n_steps"


def test_pictures_are_those_that_can_be_drawn():
    (view,) = spec(visualizations=[{"kind": "bars", "polarity": "negative", "max_bars": 4}]).visualizations
    assert (view.kind, view.polarity, view.max_bars) == (VisualizationKind.BARS, Polarity.NEGATIVE, 4)
    with pytest.raises(UnsupportedVisualization) as refused:
        spec(visualizations=[{"kind": "bars"}, {"kind": "heatmap"}])
    assert refused.value.field == "visualizations.1.kind"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"inputs": [FLOWER, {}]}, "inputs.1.flower"),
        ({"inputs": [{"flower": {"petal": 1}}]}, "inputs.0.flower.sepal"),
        ({"baseline": {"flower": {"petal": 1}}}, "baseline.flower.sepal"),
    ],
)
def test_a_faulty_tensor_is_named_by_its_place(changes, field):
    with pytest.raises(RequestError) as refused:
        spec(**changes)
    assert refused.value.field == field


def test_a_prediction_goes_first_and_has_no_path():
    made = prediction_spec(PredictionBody(inputs=[FLOWER]), INFO, tenant="t")
    assert (made.kind, made.priority, made.baseline) == (JobKind.PREDICTION, 0, None)
    assert made.priority < spec().priority


def test_a_fingerprint_is_of_the_meaning_not_of_the_spelling():
    swapped = {"flower": {"sepal": 2.5, "petal": 1}}
    assert fingerprint(body()) == fingerprint(body(inputs=[swapped])) == fingerprint(body(tolerance=0.01))
    different = [body(tolerance=0.02), body(inputs=[FLOWER, FLOWER]), body(target={"class": 0}), body(baseline="mean")]
    assert len({fingerprint(other) for other in (body(), *different)}) == 5


@pytest.mark.parametrize("odd", [10**30, "\ud800"])
def test_a_fingerprint_takes_all_that_json_can_hold(odd):
    one, other = body(inputs=[{"flower": {"a": odd}}]), body(inputs=[{"flower": {"a": odd, "b": 1}}])
    assert fingerprint(one) == fingerprint(one.model_copy())
    assert fingerprint(one) != fingerprint(other)


def test_absurd_nesting_is_refused():
    nested: list = []
    for _ in range(2_000):
        nested = [nested]
    with pytest.raises(InvalidRequest):
        fingerprint(body(inputs=[{"flower": nested}]))
