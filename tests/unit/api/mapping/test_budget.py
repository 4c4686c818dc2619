from dataclasses import replace

import pytest
from attributor.api.mapping.specs import prediction_spec
from attributor.api.schemas.bodies import FEWEST_EVALUATIONS, MOST_EVALUATIONS, PredictionBody
from attributor.errors import InvalidBase64, InvalidRequest
from attributor.jobs.model import OutputKind, OutputSpec
from unit.api.models import INPUTS, LARGE, WORDS, spec


@pytest.mark.parametrize(
    ("fields", "fewest"),
    [
        ({}, 9),
        ({"path": {"kind": "guided", "steps": 20}}, 40),
        ({"baseline": ["black", "white"], "path": {"kind": "polyline", "points": [INPUTS["digits"]]}}, 9),
        ({"baseline": {"kind": "uniform", "samples": 256}}, 512),
        ({"path": {"kind": "guided", "steps": 500}, "baseline": {"kind": "uniform", "samples": 9}}, 9000),
    ],
)
def test_a_budget_has_room_for_the_first_nodes_of_every_piece(fields, fewest):
    assert spec(**fields, max_evaluations=fewest).quadrature.max_evaluations == fewest
    if fewest > FEWEST_EVALUATIONS:
        with pytest.raises(InvalidRequest, match=f"at least {fewest}") as refused:
            spec(**fields, max_evaluations=fewest - 1)
        assert refused.value.field == "max_evaluations"


def test_a_budget_that_nobody_has_is_refused_before_it_is_drawn_up():
    with pytest.raises(InvalidRequest, match="256000") as refused:
        spec(path={"kind": "guided", "steps": 500}, baseline={"kind": "uniform", "samples": 256})
    assert refused.value.field == "max_evaluations"


def test_a_fixed_rule_has_so_many_nodes_on_every_piece():
    ten = {"baseline": {"kind": "uniform", "samples": 10}, "rule": "midpoint"}
    assert spec(**ten, n_steps=MOST_EVALUATIONS // 10).quadrature.n_steps == 1_000
    with pytest.raises(InvalidRequest, match="10010 nodes") as refused:
        spec(**ten, n_steps=1_001)
    assert refused.value.field == "n_steps"


U256 = {"kind": "uniform", "samples": 256}


@pytest.mark.parametrize(
    ("name", "n_inputs", "fields", "lower", "said"),
    [
        # 64 x 200 x 256 paths.
        ("digits", 64, {"baseline": U256, "smoothing": {"samples": 200}, "max_evaluations": 600}, "baseline",
         "3276800 paths"),
        ("digits", 4, {"method": "expected_gradients", "samples": 10_000, "baseline": U256}, "samples", "40000 paths"),
        ("digits", 1, {"method": "expected_gradients", "samples": 4_000, "target": {"top": 10}}, "samples", "40000"),
        ("digits", 64, {"method": "saliency", "smoothing": {"samples": 200}, "target": {"top": 3}}, "smoothing.samples",
         "38400 gradients"),
        ("digits", 20, {"baseline": U256, "target": {"top": 7}, "max_evaluations": 600}, "baseline", "35840 paths"),
        ("digits", 60, {"interior": {"alphas": [0.5] * 100}, "target": {"top": 6}}, "interior.alphas",
         "36000 interior"),
        ("digits", 64, {"path": {"kind": "guided", "steps": 500}, "baseline": {"kind": "uniform", "samples": 5},
                        "max_evaluations": 5_000}, "path", "160000 pieces"),
        ("digits", 64, {"method": "shapley", "samples": 1_000}, "samples", "4096000 forward passes"),
        ("digits", 1, {"method": "shapley", "samples": 10_000, "target": {"top": 10}}, "samples", "6400000"),
        ("digits", 1, {"method": "shapley", "samples": 7_000, "smoothing": {"samples": 10}}, "samples", "4480000"),
        ("large", 1, {"method": "expected_gradients", "samples": 4_000, "baseline": "zero"}, "samples",
         "2408 MB for the vectors of one input"),
        ("large", 1, {"rule": "midpoint", "n_steps": 200, "baseline": ["black", "white"]}, "n_steps",
         "240 MB for the vectors of one input"),
        ("large", 1, {"target": [{"class": "cat"}] * 16, "interior": {"alphas": [0.5] * 100}}, "interior.alphas",
         "MB for the vectors of one input"),
        ("digits", 64, {"rule": "midpoint", "n_steps": 2_000, "target": {"top": 10},
                        "baseline": ["black", "white", "mean"]}, "n_steps", "269 MB for the answer"),
    ],
)  # fmt: skip
def test_what_no_worker_could_compute_keep_or_store_is_refused_with_what_to_lower(name, n_inputs, fields, lower, said):
    with pytest.raises(InvalidRequest, match=said) as refused:
        spec(name, n_inputs, **fields)
    assert refused.value.field == lower
    assert lower in refused.value.detail
    assert "at most" in refused.value.detail


@pytest.mark.parametrize(
    ("name", "n_inputs", "fields"),
    [
        ("digits", 64, {"baseline": U256, "max_evaluations": 600}),
        ("digits", 1, {"smoothing": {"samples": 200}, "baseline": {"kind": "uniform", "samples": 100}}),
        ("digits", 64, {"method": "expected_gradients", "baseline": U256}),
        ("digits", 3, {"method": "expected_gradients", "samples": 10_000, "baseline": U256}),
        ("digits", 64, {"method": "shapley"}),
        ("digits", 1, {"method": "shapley", "samples": 10_000}),
        ("digits", 64, {"baseline": U256, "layer": {"name": "classifier.1"}, "max_evaluations": 600}),
        ("large", 64, {}),
        ("large", 1, {"smoothing": {"samples": 200}}),
        ("large", 1, {"target": [{"class": "cat"}] * 16, "tolerance": 1e-6, "max_evaluations": 10_000}),
        ("large", 1, {"method": "expected_gradients", "baseline": "zero"}),
        ("large", 4, {"interior": {}}),
        ("large", 1, {"rule": "midpoint", "n_steps": 2_000, "target": [{"class": "cat"}, {"class": "dog"}]}),
        ("large", 64, {"method": "kernel_shap"}),
        ("reviews", 64, {"method": "lime"}),
        ("prices", 4_096, {"rule": "midpoint", "n_steps": 500}),
        ("digits", 4_096, {"target": {"top": 8}}),
        ("digits", 4_096, {"baseline": ["black", "white", "mean"], "tolerance": 1e-4}),
        ("reviews", 4_096, {}),
    ],
)
def test_what_people_ask_for_in_earnest_is_not_refused(name, n_inputs, fields):
    assert len(spec(name, n_inputs, **fields).inputs) == n_inputs


@pytest.mark.parametrize(
    ("method", "options", "lower", "said"),
    [
        ("kernel_shap", {"window": 1, "samples": 100_000}, "options.samples", "100000 samples of 50176 features"),
        ("kernel_shap", {"window": 2}, "options.window", "27136 samples of 12544 features"),
        ("lime", {"window": 1}, "options.window", "1000 samples of 50176 features, 50176000 numbers"),
    ],
)
def test_a_linear_model_that_does_not_fit_into_memory_is_not_fitted(method, options, lower, said):
    with pytest.raises(InvalidRequest, match=said) as refused:
        spec("large", method=method, options=options)
    assert refused.value.field == lower


def test_a_refusal_says_the_number_the_bound_and_each_factor():
    with pytest.raises(InvalidRequest) as refused:
        spec("digits", 2, method="expected_gradients", samples=10_000, target={"top": 3})
    assert refused.value.detail == (
        "the request takes 60000 paths, each target counted, from 10000 (samples) times 3 (target) times 2 (inputs): "
        "at most 32768; lower samples or target or inputs"
    )


@pytest.mark.parametrize("n_inputs", [426, 427])
def test_small_files_of_large_pictures_are_refused_before_they_are_read(n_inputs):
    # 602112 bytes each, of whatever size the files are; these are none at all.
    body = PredictionBody.model_validate({"inputs": [{"image": "!"}] * n_inputs})
    with pytest.raises(InvalidRequest if n_inputs == 427 else InvalidBase64) as refused:
        prediction_spec(body, LARGE, tenant="t")
    assert refused.value.field == ("inputs" if n_inputs == 427 else "inputs.0.image")


def test_a_job_whose_inputs_the_store_would_not_take_is_refused():
    saliency = {"method": "saliency", "layer": None}
    with pytest.raises(InvalidRequest, match="MB") as refused:
        spec("large", 500, **saliency)
    assert refused.value.field == "inputs"


def test_outputs_that_the_store_would_not_take_are_refused():
    vocabulary = replace(WORDS, output=OutputSpec("logits", ("w",) * 30_000, OutputKind.SEQUENCE, 512))
    body = PredictionBody.model_validate({"inputs": [INPUTS["words"]] * 5})
    with pytest.raises(InvalidRequest, match="of outputs") as refused:
        prediction_spec(body, vocabulary, tenant="t")
    assert refused.value.field == "inputs"
