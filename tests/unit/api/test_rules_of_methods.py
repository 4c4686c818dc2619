from dataclasses import replace

import pytest
from attributor.api.mapping.specs import attribution_spec
from attributor.api.rules_of_methods import RULES, methods_for, unfit
from attributor.api.schemas.bodies import AttributionBody
from attributor.errors import InvalidRequest, UnsupportedByModel
from attributor.jobs.explanation import COMPARATORS, Method
from attributor.jobs.model import Framework, OutputKind
from unit.api.models import DIGITS, INPUTS, LARGE, MASKED, PRICES, REVIEWS, spec

LAYER = {"name": "classifier.1"}

#: (model, fields, error, field)
REFUSED = {
    "path of a gradient": ("digits", {"method": "saliency", "path": {"kind": "blur"}}, InvalidRequest, "path"),
    "rule of a gradient": ("digits", {"method": "saliency", "rule": "midpoint"}, InvalidRequest, "rule"),
    "tolerance of Captum": ("digits", {"method": "lrp", "tolerance": 0.1}, InvalidRequest, "tolerance"),
    "no tolerance of Captum": ("digits", {"method": "lrp", "tolerance": None}, InvalidRequest, "tolerance"),
    "budget of samples": ("digits", {"method": "shapley", "max_evaluations": 100}, InvalidRequest, "max_evaluations"),
    "path of samples": ("digits", {"method": "expected_gradients", "path": {"kind": "blur"}}, InvalidRequest, "path"),
    "layer of Captum": ("digits", {"method": "deep_lift", "layer": LAYER}, InvalidRequest, "layer"),
    "layer of orders": ("digits", {"method": "shapley", "layer": LAYER}, InvalidRequest, "layer"),
    "layer of a gradient": ("digits", {"method": "saliency", "layer": LAYER}, InvalidRequest, "layer"),
    "interior of Captum": ("digits", {"method": "lime", "interior": {}}, InvalidRequest, "interior"),
    "saturation of a gradient": ("digits", {"method": "saliency", "saturation": {}}, InvalidRequest, "saturation"),
    "smoothed Captum": ("digits", {"method": "occlusion", "smoothing": {}}, InvalidRequest, "smoothing"),
    "bfloat16 of Captum": ("digits", {"method": "occlusion", "precision": "bfloat16"}, InvalidRequest, "precision"),
    "samples of a path": ("digits", {"samples": 10}, InvalidRequest, "samples"),
    "sign of a path": ("digits", {"absolute": False}, InvalidRequest, "absolute"),
    "options of a path": ("digits", {"options": {"window": 2}}, InvalidRequest, "options"),
    "options of another": ("digits", {"method": "occlusion", "options": {"samples": 2}}, InvalidRequest,
                           "options.samples"),
    "half a window": ("digits", {"method": "occlusion", "options": {"window": 1.5}}, InvalidRequest, "options.window"),
    "no window": ("digits", {"method": "occlusion", "options": {"stride": 0}}, InvalidRequest, "options.stride"),
    "nothing decides": ("digits", {"tolerance": None}, InvalidRequest, "tolerance"),
    "interior of a layer": ("digits", {"layer": LAYER, "interior": {}}, InvalidRequest, "interior"),
    "path in a layer": ("digits", {"layer": LAYER, "path": {"kind": "blur"}}, InvalidRequest, "path"),
    "smoothed saturation": ("digits", {"smoothing": {}, "saturation": {}}, InvalidRequest, "saturation"),
    "noise on tokens": ("reviews", {"smoothing": {}}, UnsupportedByModel, "smoothing"),
    "noise on tokens with a mask": ("masked", {"smoothing": {}}, UnsupportedByModel, "smoothing"),
    "gradients of tokens": ("reviews", {"method": "deep_lift"}, UnsupportedByModel, "method"),
    "orders of 50,176 pixels": ("large", {"method": "shapley"}, UnsupportedByModel, "method"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "error", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_go_together_is_refused(name, fields, error, field):
    with pytest.raises(error) as refused:
        spec(name, **fields)
    assert (type(refused.value), refused.value.field) == (error, field), refused.value.detail
    assert refused.value.detail


def test_a_default_that_is_spelt_out_is_no_contradiction():
    made = spec(method="saliency", path=None, tolerance=0.01, rule="adaptive", options={}, samples=None)
    assert made.explanation.method is Method.SALIENCY


def test_a_path_in_the_input_may_end_in_a_layer():
    made = spec(layer={"name": "classifier.1", "quantity": "influence"}, path={"kind": "guided"}).explanation
    assert "image" in made.gamma


def test_every_method_has_its_rules():
    assert RULES.keys() == set(Method)
    for method in Method:
        assert spec(method=method).explanation.method is method


def test_a_method_that_the_worker_lacks_is_refused_at_once_with_the_extra_that_brings_it():
    body = AttributionBody.model_validate({"model": "digits", "inputs": [INPUTS["digits"]], "method": "lime"})
    with pytest.raises(UnsupportedByModel, match="extra `comparators`") as refused:
        attribution_spec(body, DIGITS, tenant="t", comparators=False)
    assert refused.value.field == "method"
    assert "saliency" in refused.value.detail
    assert attribution_spec(body, DIGITS, tenant="t").explanation.method is Method.LIME


def test_an_unknown_option_is_told_before_a_wrong_one_with_those_there_are():
    with pytest.raises(InvalidRequest, match=r"takes window \(a whole number from 1 to 4096\) and samples") as refused:
        spec(method="lime", options={"window": 0, "sample": 5})
    assert refused.value.field == "options.sample"


def test_a_field_that_is_an_option_of_the_method_says_where_it_belongs():
    with pytest.raises(InvalidRequest, match=r'"options": {"samples": \.\.\.}') as refused:
        spec(method="kernel_shap", samples=100)
    assert refused.value.field == "samples"


def test_samples_have_a_default_where_they_are_drawn():
    drawn = {method: spec(method=method).explanation.samples for method in Method}
    assert {method: n for method, n in drawn.items() if n != 1} == {"expected_gradients": 200, "shapley": 25}


def test_a_model_lists_the_methods_that_can_explain_it():
    assert methods_for(DIGITS) == list(Method)
    assert set(Method) - set(methods_for(LARGE)) == {Method.SHAPLEY}
    on_tokens = {Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME}
    assert COMPARATORS & set(methods_for(REVIEWS)) == COMPARATORS & set(methods_for(MASKED)) == on_tokens


FORWARD_ONLY = [Method.SHAPLEY, Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME]
PROPAGATING = {Method.DEEP_LIFT, Method.LRP, Method.GUIDED_BACKPROPAGATION, Method.DECONVOLUTION}
TREES = replace(PRICES, framework=Framework.ONNX, gradients=False)


def test_a_model_without_gradients_is_explained_by_what_only_runs_it():
    assert methods_for(TREES) == FORWARD_ONLY
    assert methods_for(TREES, comparators=False) == [Method.SHAPLEY]
    wide = replace(LARGE, framework=Framework.ONNX, gradients=False)
    assert methods_for(wide) == [Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME]


@pytest.mark.parametrize("method", [None, *(method for method in Method if method not in FORWARD_ONLY)])
def test_a_method_that_needs_gradients_is_refused_without_them_with_those_that_serve(method):
    asked = {"model": "prices", "inputs": [INPUTS["prices"]], **({"method": method} if method else {})}
    with pytest.raises(UnsupportedByModel, match="shapley, occlusion, kernel_shap, lime") as refused:
        attribution_spec(AttributionBody.model_validate(asked), TREES, tenant="t")
    assert refused.value.field == "method"


@pytest.mark.parametrize("method", FORWARD_ONLY)
def test_a_method_that_only_runs_the_model_takes_one_without_gradients(method):
    body = AttributionBody.model_validate({"model": "prices", "inputs": [INPUTS["prices"]], "method": method})
    assert attribution_spec(body, TREES, tenant="t").explanation.method is method


@pytest.mark.parametrize("framework", [Framework.ONNX, Framework.TORCH_EXPORT])
def test_rules_for_modules_are_not_for_what_holds_none_of_them(framework):
    graph = replace(DIGITS, framework=framework)
    assert set(Method) - set(methods_for(graph)) == PROPAGATING
    assert "holds none of them" in str(unfit(Method.LRP, graph))


def test_probabilities_have_no_logit_to_hand_back():
    voting = replace(DIGITS, output=replace(DIGITS.output, kind=OutputKind.PROBABILITIES))
    assert set(Method) - set(methods_for(voting)) == PROPAGATING


def test_a_model_without_gradients_computes_in_float32():
    blind = replace(DIGITS, gradients=False)
    body = AttributionBody.model_validate(
        {"model": "digits", "inputs": [INPUTS["digits"]], "method": "shapley", "precision": "bfloat16"}
    )
    with pytest.raises(UnsupportedByModel, match="float32") as refused:
        attribution_spec(body, blind, tenant="t")
    assert refused.value.field == "precision"
    with pytest.raises(InvalidRequest, match="goes with expected_gradients and integrated_gradients") as refused:
        attribution_spec(body, DIGITS, tenant="t")
    assert refused.value.field == "precision"
