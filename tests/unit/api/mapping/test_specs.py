from typing import Any

import pytest
from attributor.api.mapping.budget import DEFAULT_STEPS
from attributor.api.mapping.specs import attribution_spec, fingerprint, prediction_spec
from attributor.api.schemas.bodies import AttributionBody, PredictionBody
from attributor.errors import InvalidRequest, RequestError, UnsupportedVisualization
from attributor.jobs.explanation import Explanation, Method, Precision, SmoothForm, Smoothing
from attributor.jobs.job import JobKind, Polarity, RuleName, VisualizationKind
from unit.api.models import INPUTS, PATIENTS, PRICES, spec

HOUSE = INPUTS["prices"]


def body(**changes: Any) -> AttributionBody:
    return AttributionBody.model_validate({"model": "prices", "inputs": [HOUSE], **changes})


def test_a_bare_request_gets_the_documented_defaults():
    made = spec("prices")
    assert (made.kind, made.ref, made.digest, made.tenant) == (JobKind.ATTRIBUTION, "prices@1", PRICES.digest, "t")
    assert made.inputs[0]["house"].tolist() == [4, 90]
    quadrature = made.quadrature
    assert (quadrature.rule, quadrature.tolerance, quadrature.max_evaluations) == (RuleName.ADAPTIVE, 0.01, 500)
    assert (quadrature.n_steps, quadrature.attribution_tolerance) == (None, None)
    explanation = made.explanation
    assert explanation.method is Method.INTEGRATED_GRADIENTS
    assert (explanation.gamma, explanation.layer, explanation.smoothing, explanation.saturation) == (
        {},
        None,
        None,
        None,
    )
    assert (explanation.interior_alphas, explanation.seed, explanation.options) == ((), 0, {})


def test_several_inputs_keep_their_order():
    made = spec("prices", inputs=[{"house": {"rooms": i, "area": 0}} for i in range(3)])
    assert [tensors["house"][0] for tensors in made.inputs] == [0, 1, 2]


def test_fixed_rules_have_steps_and_the_adaptive_one_has_none():
    assert spec(rule="midpoint").quadrature.n_steps == DEFAULT_STEPS
    assert spec(rule="trapezoid", n_steps=2).quadrature.n_steps == 2
    for wrong in ({"n_steps": 5}, {"rule": "trapezoid", "n_steps": 1}):
        with pytest.raises(InvalidRequest) as refused:
            spec(**wrong)
        assert refused.value.field == "n_steps"


def test_the_attribution_tolerance_may_decide_alone_or_along():
    alone = spec(tolerance=None, attribution_tolerance=0.05).quadrature
    assert (alone.tolerance, alone.attribution_tolerance) == (None, 0.05)
    both = spec(attribution_tolerance=0.05).quadrature
    assert (both.tolerance, both.attribution_tolerance) == (0.01, 0.05)


def test_diagnostics_and_smoothing_are_passed_on():
    made = spec(saturation={"alphas": [0.5], "layers": ["classifier.1"]}, seed=9).explanation
    assert (made.saturation.alphas, made.saturation.layers, made.seed) == ((0.5,), ("classifier.1",), 9)
    assert spec(interior={}).explanation.interior_alphas == (0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert spec(interior={"alphas": [1, 0]}).explanation.interior_alphas == (1.0, 0.0)
    assert spec(smoothing={}).explanation.smoothing == Smoothing()
    squared = {"form": "squared", "samples": 4, "noise": 0.3}
    assert spec(smoothing=squared).explanation.smoothing == Smoothing(SmoothForm.SQUARED, 4, 0.3)
    assert spec(method="saliency", absolute=False).explanation.absolute is False
    assert spec(method="occlusion", options={"window": 2}).explanation.options == {"window": 2}


def test_pictures_are_those_that_can_be_drawn():
    (view,) = spec("prices", visualizations=[{"kind": "bars", "polarity": "negative", "max_bars": 4}]).visualizations
    assert (view.kind, view.polarity, view.max_bars) == (VisualizationKind.BARS, Polarity.NEGATIVE, 4)
    with pytest.raises(UnsupportedVisualization) as refused:
        spec("prices", visualizations=[{"kind": "bars"}, {"kind": "heatmap"}])
    assert refused.value.field == "visualizations.1.kind"


def test_a_picture_is_of_the_first_input_that_can_be_drawn_or_of_the_one_named():
    kinds = [{"kind": "overlay"}, {"kind": "bars", "input": "record"}]
    assert [view.input for view in spec("photo-and-record", visualizations=kinds).visualizations] == [None, "record"]


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("photo-and-record", {"visualizations": [{"kind": "overlay", "input": "record"}]}, "visualizations.0.kind"),
        ("photo-and-record", {"visualizations": [{"kind": "bars", "input": "x"}]}, "visualizations.0.input"),
        ("reviews", {"visualizations": [{"kind": "bars"}]}, "visualizations.0.kind"),
        ("masked", {"visualizations": [{"kind": "bars", "input": "mask"}]}, "visualizations.0.input"),
        (
            "digits",
            {"layer": {"name": "classifier.1"}, "visualizations": [{"kind": "heatmap"}]},
            "visualizations",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(name, fields, field):
    with pytest.raises(UnsupportedVisualization) as refused:
        spec(name, **fields)
    assert refused.value.field == field


def test_pictures_are_counted_with_inputs_and_targets():
    views = [{"kind": "heatmap"}] * 16
    spec(target={"top": 4}, visualizations=views)
    with pytest.raises(InvalidRequest) as refused:
        spec(target={"top": 5}, visualizations=views)
    assert refused.value.field == "visualizations"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"inputs": [HOUSE, {}]}, "inputs.1.house"),
        ({"inputs": [{"house": {"rooms": 1}}]}, "inputs.0.house.area"),
        ({"baseline": {"house": {"rooms": 1}}}, "baseline.house.area"),
    ],
)
def test_a_faulty_tensor_is_named_by_its_place(changes, field):
    with pytest.raises(RequestError) as refused:
        spec("prices", **changes)
    assert refused.value.field == field


def test_a_prediction_goes_first_and_has_no_path():
    made = prediction_spec(PredictionBody(inputs=[HOUSE]), PRICES, tenant="t")
    assert (made.kind, made.priority, made.explanation.baselines) == (JobKind.PREDICTION, 0, ())
    assert made.priority < spec("prices").priority


def test_a_job_carries_its_place_its_deadline_and_its_numbers():
    plain = spec()
    assert (plain.priority, plain.deadline_s, plain.explanation.precision) == (1, None, Precision.FLOAT32)
    asked = spec(priority="low", deadline_s=1.5, precision="bfloat16")
    assert (asked.priority, asked.deadline_s, asked.explanation.precision) == (2, 1.5, Precision.BFLOAT16)
    assert spec(priority="high").priority == 0


def test_a_fingerprint_is_of_the_meaning_not_of_the_spelling():
    swapped = {"house": {"area": 90, "rooms": 4}}
    same = [body(inputs=[swapped]), body(tolerance=0.01), body(target={"class": None})]
    assert {fingerprint(other) for other in same} == {fingerprint(body())}
    different = [
        body(tolerance=0.02),
        body(inputs=[HOUSE, HOUSE]),
        body(target={"class": 0}),
        body(target=[{"class": 0}]),
        body(baseline="none"),
        body(baseline={"kind": "zero"}),
        body(path={"kind": "straight"}),
        body(seed=1),
    ]
    assert len({fingerprint(other) for other in (body(), *different)}) == 9


@pytest.mark.parametrize("odd", [10**30, "\ud800"])
def test_a_fingerprint_takes_all_that_json_can_hold(odd):
    one, other = body(inputs=[{"house": {"a": odd}}]), body(inputs=[{"house": {"a": odd, "b": 1}}])
    assert fingerprint(one) == fingerprint(one.model_copy())
    assert fingerprint(one) != fingerprint(other)


def test_absurd_nesting_is_refused():
    nested: list = []
    for _ in range(2_000):
        nested = [nested]
    with pytest.raises(InvalidRequest):
        fingerprint(body(inputs=[{"house": nested}]))


def test_layers_are_not_checked_while_no_worker_has_told_them():
    unchecked = AttributionBody.model_validate(
        {"model": "photo-and-record", "inputs": [INPUTS["photo-and-record"]], "layer": {"name": "anything"}}
    )
    made = attribution_spec(unchecked, PATIENTS, tenant="t")
    assert isinstance(made.explanation, Explanation)
    assert made.explanation.layer.name == "anything"
