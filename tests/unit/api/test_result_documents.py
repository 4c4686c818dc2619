"""Results as documents, held strictly to what OpenAPI says of them."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from attributor.api.documented_result import ResultDocument
from attributor.api.form import Form
from attributor.api.mapping.specs import attribution_spec
from attributor.api.result_documents import FIELDS, MOST_NUMBERS, default_view, npy, result_documents, subject
from attributor.api.schemas.bodies import AttributionBody
from attributor.errors import UnsupportedVisualization
from attributor.jobs.explanation import Layer, Method, Quantity, Term
from attributor.jobs.job import JobSpec, Visualization, VisualizationKind
from attributor.jobs.model import DeclaredLayer, Feature, InputKind, InputSpec, OutputScale
from attributor.jobs.result import (
    BaselineResult,
    InteriorGradients,
    LayerDistance,
    LayerResult,
    PathResult,
    ResolvedTarget,
    SaturationResult,
)
from unit.api.models import INPUTS, LAYERS, MODELS, spec
from unit.api.results import SHARES, result

HEATMAP = Visualization(VisualizationKind.HEATMAP)
BARS = Visualization(VisualizationKind.BARS, input="record")
BARE = {
    "baseline_score": None,
    "completeness_error": None,
    "relative_completeness_error": None,
    "completeness_reason": "a gradient does not add up",
    "tolerance": None,
    "absolute_tolerance": None,
    "converged": None,
    "stop_reason": None,
    "attribution_error": None,
    "rule": None,
    "nodes": None,
    "baseline": None,
    "baselines": (),
}


def document(made: PathResult, job: JobSpec | None = None, encoding: str = "auto") -> dict[str, Any]:
    """As a client reads it, after the strictest look at its form."""
    (found,) = result_documents([made], job or spec("photo-and-record"), 0.5, Form(encoding))
    content = orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)
    ResultDocument.model_validate_json(content, strict=True)
    return orjson.loads(content)


def test_a_plain_result_has_its_names():
    made = document(result())
    assert (made["input"], made["method"], made["baseline"]) == (0, "integrated_gradients", "none")
    assert made["target"] == {
        "class": 1,
        "label": "ill",
        "scale": "probability",
        "predicted": True,
        "position": None,
        "terms": [{"output": 1, "label": "ill", "weight": 1.0}],
    }
    assert made["completeness_error"] == {"absolute": 0.001, "relative": 0.002}
    assert made["tolerance"] == {"relative": 0.01, "absolute": 1e-5, "attribution": None}
    assert made["nodes"]["slope"] == [None, 0.5]
    assert made["nodes"]["piece"] == [0, 0]
    assert made["baselines"] == [{"name": "none", "score": 0.4, "completeness_error": 0.001}]
    assert made["timings"] == {"queued_s": 0.5, "computing_s": 0.1}
    for name in ("spread", "standard_error", "interior", "saturation", "layer", "seed", "completeness_reason"):
        assert made[name] is None


def test_inputs_stand_in_their_declared_order_with_their_features():
    shares = document(result())["attributions"]
    assert list(shares) == ["photo", "record"]
    assert shares["record"]["features"] == ["age", "weight"]
    assert "features" not in shares["photo"]
    assert shares["record"]["data"] == pytest.approx([0.1, 0.2])


def test_a_method_without_completeness_says_why():
    made = document(result(**BARE))
    assert (made["completeness_error"], made["completeness_reason"]) == (None, "a gradient does not add up")
    assert (made["baseline"], made["baselines"], made["nodes"]) == (None, [], None)


def test_a_difference_has_terms_and_no_class():
    target = ResolvedTarget((Term(1), Term(0, -1.0)), ("ill", "well"), "ill - well", 3, OutputScale.LOGIT, False)
    made = document(result(target=target))["target"]
    assert (made["class"], made["label"], made["position"]) == (None, "ill - well", 3)
    assert [term["weight"] for term in made["terms"]] == [1.0, -1.0]
    assert made["predicted"] is None


def test_a_value_of_a_regression_is_not_predicted_before_others():
    target = ResolvedTarget((Term(0),), ("price",), "price", None, OutputScale.VALUE, True)
    assert document(result(target=target))["target"]["predicted"] is None


def asked(name: str = "photo-and-record", **fields: Any) -> dict[str, Any]:
    """What a result repeats of its request."""
    made = document(result(), spec(name, **fields))
    return {name: made[name] for name in ("path", "baselines_asked", "smoothing", "samples", "absolute", "options")}


def test_a_result_says_what_was_asked_without_arrays():
    said = asked(
        path={"photo": {"kind": "blur", "sigma": 1}},
        baseline=[{"record": "mean"}, {"record": {"kind": "gaussian", "sigma": 2, "samples": 3}}],
        smoothing={"form": "squared", "samples": 4},
    )
    nothing = dict.fromkeys(("points", "sigma", "name", "steps", "fraction"))
    assert said["path"] == {
        "photo": {"kind": "blur", **nothing, "sigma": 1.0},
        "record": {"kind": "straight", **nothing},
    }
    assert said["baselines_asked"] == [
        {"name": "mean", "samples": 1, "inputs": {"record": {"kind": "mean", "value": None, "sigma": None}}},
        {"name": "gaussian", "samples": 3, "inputs": {"record": {"kind": "gaussian", "value": None, "sigma": 2.0}}},
    ]
    assert said["smoothing"] == {"form": "squared", "samples": 4, "noise": 0.1}
    assert (said["samples"], said["absolute"], said["options"]) == (None, None, {})
    sent = asked("digits", baseline={"image": INPUTS["digits"]["image"]}, path="guided")
    assert sent["baselines_asked"][0]["inputs"] == {"image": {"kind": "tensor", "value": None, "sigma": None}}
    assert sent["path"]["image"] == {"kind": "guided", **nothing, "steps": 20, "fraction": 0.25}


def test_a_method_without_a_path_says_so_and_tells_its_own_numbers():
    assert asked("digits", method="saliency", absolute=False) == {
        "path": None,
        "baselines_asked": [],
        "smoothing": None,
        "samples": None,
        "absolute": False,
        "options": {},
    }
    assert asked("digits", method="shapley")["samples"] == 25
    assert asked("digits", method="lime", options={"samples": 50})["options"] == {"samples": 50.0}
    assert asked("digits", layer={"name": "classifier.1"})["path"] is None
    assert asked("digits", layer={"name": "classifier.1", "quantity": "conductance"})["path"] is not None


def test_several_baselines_have_a_count_a_spread_and_each_its_score():
    several = (BaselineResult("none", 0.4, 0.001), BaselineResult("mean", 0.6, None))
    made = document(result(baselines=several, spread=SHARES, standard_error=SHARES, seed=4))
    assert (made["baseline"], made["seed"]) == ("2 baselines", 4)
    assert made["spread"]["record"]["features"] == ["age", "weight"]
    assert made["standard_error"]["photo"]["shape"] == [1, 2, 2]


def test_diagnostics_are_told_in_full():
    rows = {"record": np.array([[1, -2], [3, 4]], np.float32)}
    interior = InteriorGradients((0.1, 1.0), rows, {"record": np.abs(rows["record"])}, {"record": (1.5, 3.5)})
    saturation = SaturationResult(
        (0.0, 1.0), (0.4, 0.9), None, (-1.0, 2.0), (LayerDistance("classifier.1", (1.0, 0.0), (0.5, 0.0)),)
    )
    made = document(result(interior=interior, saturation=saturation))
    assert made["interior"]["vectors"]["record"]["data"] == [[1, -2], [3, 4]]
    assert made["interior"]["importance"]["record"]["data"] == [[1, 2], [3, 4]]
    assert made["interior"]["mean_magnitude"] == {"record": [1.5, 3.5]}
    assert made["saturation"]["probability"] is None
    assert made["saturation"]["layers"] == [
        {"layer": "classifier.1", "l2_distance": [1.0, 0.0], "cosine_distance": [0.5, 0.0]}
    ]


def test_a_layers_attributions_stand_under_its_name_and_cannot_be_drawn():
    job = spec("photo-and-record", layer={"name": "classifier.1"})
    layer = LayerResult("classifier.1", Quantity.LAYER_IG, cut=True)
    made = result(attributions={"classifier.1": np.ones(3, np.float32)}, layer=layer)
    told = document(made, job)
    assert list(told["attributions"]) == ["classifier.1"]
    assert told["layer"] == {"name": "classifier.1", "quantity": "layer_ig", "cut": True}
    assert told["explained"] is None  # nobody gave its units
    assert default_view(job) is None
    with pytest.raises(UnsupportedVisualization):
        subject(made, job, HEATMAP)


def test_a_tokens_attribution_is_one_number():
    made = document(result(attributions={"tokens": np.ones(8, np.float32)}, baseline=None), spec("reviews"))
    assert made["attributions"]["tokens"]["shape"] == [8]
    assert default_view(spec("reviews")) is None
    with pytest.raises(UnsupportedVisualization, match="tokens"):
        subject(result(), spec("reviews"), HEATMAP)


def test_many_numbers_go_as_npy_unless_asked_otherwise():
    shares = {"tokens": np.arange(MOST_NUMBERS + 1, dtype=np.float32)}
    job = replace(spec("reviews"), inputs=({"tokens": np.zeros(MOST_NUMBERS + 1, np.int64)},))
    packed = document(result(attributions=shares), job)["attributions"]["tokens"]
    assert packed["encoding"] == "base64-npy"
    unpacked = np.load(io.BytesIO(base64.b64decode(packed["data"])), allow_pickle=False)
    assert np.array_equal(unpacked, shares["tokens"])
    assert base64.b64decode(packed["data"]) == npy(shares["tokens"])
    plain = document(result(attributions=shares), job, "numbers")["attributions"]["tokens"]
    assert (plain["encoding"], plain["data"][-1]) == ("numbers", MOST_NUMBERS)


def test_a_picture_is_of_the_input_that_is_named_in_the_result_that_is_meant():
    job = spec("photo-and-record", inputs=[{"photo": PHOTO, "record": {"age": age, "weight": 7}} for age in (1, 2)])
    drawn = subject(result(input=1), job, BARS)
    assert (drawn.input_spec.name, drawn.example.tolist(), drawn.attributions.tolist()) == (
        "record",
        [2, 7],
        SHARES["record"].tolist(),
    )
    assert subject(result(), job, HEATMAP).input_spec.name == "photo"
    assert default_view(job) == Visualization(VisualizationKind.OVERLAY)
    assert subject(result(), job, Visualization(VisualizationKind.BARS)).input_spec.name == "record"
    assert spec("photo-and-record", visualizations=[{"kind": "bars"}]).visualizations[0].input is None


def test_a_picture_of_what_has_no_sign_claims_none():
    job = replace(spec("photo-and-record", method="saliency"), visualizations=(HEATMAP, BARS))
    made = result(method=Method.SALIENCY, attributions={name: abs(each) for name, each in SHARES.items()})
    for picture in document(made, job)["visualizations"]:
        assert picture["scale"]["units"] == "score per unit of the input"
        assert "lowers" not in str(picture["legend"])
    smoothed = replace(spec("photo-and-record", smoothing={"form": "variance"}), visualizations=(HEATMAP,))
    (picture,) = document(result(attributions=made.attributions), smoothed)["visualizations"]
    assert picture["scale"]["units"] == "(score) squared"


def test_a_picture_without_a_baseline_states_why_nothing_adds_up():
    job = replace(spec("photo-and-record"), visualizations=(HEATMAP, BARS))
    heatmap, bars = document(result(**BARE), job)["visualizations"]
    for picture in (heatmap, bars):
        assert picture["completeness_error"] is None
        assert picture["completeness_reason"] == "a gradient does not add up"
        assert "a gradient does not add up" in picture["description"]
    assert [bar["baseline"] for bar in bars["bars"]] == [None, None]
    assert default_view(job) == HEATMAP


PHOTO = {"shape": [1, 2, 2], "data": [0.1, 0.2, 0.3, 0.4]}


STEM = replace(MODELS["photo-and-record"], layers={"stem": DeclaredLayer("stem", "convolutions.2", "The first half.")})


def test_layers_are_called_as_the_request_calls_them():
    saturation = SaturationResult(
        (0.0,),
        (0.4,),
        (0.4,),
        (-1.0,),
        tuple(LayerDistance(name, (1.0,), (0.5,)) for name in ("convolutions.2", "classifier.1")),
    )
    body = AttributionBody.model_validate(
        {
            "model": "photo-and-record",
            "inputs": [INPUTS["photo-and-record"]],
            "layer": {"name": "stem"},
            "saturation": {"layers": ["stem", "classifier.1"]},
        }
    )
    job = attribution_spec(body, STEM, tenant="t", layers=LAYERS)
    assert job.explanation.layer == Layer("convolutions.2")
    assert job.explanation.saturation.layers == ("convolutions.2", "classifier.1")
    made = document(
        result(
            attributions={"convolutions.2": np.ones(3, np.float32)},
            layer=LayerResult("convolutions.2", Quantity.LAYER_IG, cut=True),
            saturation=saturation,
        ),
        job,
    )
    assert made["layer"]["name"] == "stem"
    assert list(made["attributions"]) == ["stem"]
    assert [each["layer"] for each in made["saturation"]["layers"]] == ["stem", "classifier.1"]
    assert made["explained"] is None


def test_a_table_is_explained_by_column_beside_its_tensor():
    job = spec("photo-and-record")
    made = document(result(), job)
    assert made["explained"]["record"]["columns"][0] == {
        "name": "age",
        "unit": None,
        "value": 61.0,
        "attribution": pytest.approx(0.1),
    }
    assert made["explained"]["photo"] == {"kind": "image", "shape": [2, 2], "picture": None}
    assert made["attributions"]["record"]["features"] == ["age", "weight"]


def test_a_tensors_features_are_its_elements():
    features = (Feature("age"), Feature("colour", categories=("red", "green"), one_hot=True))
    record = InputSpec("record", InputKind.TABULAR, (3,), features)
    job = replace(spec("photo-and-record"), declared=(record,), inputs=({"record": np.array([5, 0, 1], np.float32)},))
    made = document(result(attributions={"record": np.array([0.5, -0.25, 1], np.float32)}, baseline=None), job)
    assert made["attributions"]["record"]["features"] == ["age", "colour=red", "colour=green"]
    assert made["explained"]["record"]["columns"][1]["attribution"] == 0.75


def test_it_has_the_fields_that_are_documented_in_their_order():
    documented = [field.alias or name for name, field in ResultDocument.model_fields.items()]
    assert list(document(result())) == documented == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_asked_for_alone_is_what_it_is_among_all(name):
    (found,) = result_documents([result()], spec("photo-and-record"), 0.5, Form(fields=frozenset({name})))
    assert orjson.loads(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)) == {name: document(result())[name]}


def test_nothing_is_drawn_where_no_pictures_are_wanted():
    undrawable = replace(
        spec("photo-and-record"), visualizations=(Visualization(VisualizationKind.BARS, input="none"),)
    )
    (found,) = result_documents([result()], undrawable, 0.5, Form(fields=frozenset({"input", "score"})))
    assert list(found) == ["input", "score"]
