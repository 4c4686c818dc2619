"""Models that this repository does not ship, over HTTP: several inputs, tokens, regression, sequences, layers."""

import io
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from attributor.api.documents import JobDocument, ModelDocument
from bundles import (
    layered_bundle,
    path_bundle,
    reference_bundle,
    regression_bundle,
    sequence_bundle,
    token_bundle,
    two_input_bundle,
)
from e2e.live import ALONE, explained, problem, start

pytestmark = pytest.mark.e2e

PAIR = {"measurements": {"a": 1.0, "b": -0.5}, "signal": {"shape": [3], "datatype": "FP32", "data": [0.3, 0.1, -0.2]}}
WORDS = {"ids": [5, 9, 2, 7], "mask": {"shape": [6], "datatype": "FP32", "data": [1, 1, 1, 1, 0, 0]}}
HOUSE = {"features": {"area": 0.9, "age": -0.4, "floor": 0.3}}
FOUR = {"features": {"x0": 1.0, "x1": -0.8, "x2": 0.5, "x3": 1.2}}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("kinds")
    for write in (
        two_input_bundle,
        token_bundle,
        regression_bundle,
        sequence_bundle,
        layered_bundle,
        path_bundle,
        reference_bundle,
    ):
        write(folder)
    service = start(folder, tmp_path_factory.mktemp("kinds-data"), ALONE)
    try:
        service.await_ready()
        with httpx.Client(base_url=service.url, timeout=60) as client:
            yield client
    finally:
        service.stop()


def body(model: str, item: dict, **more) -> dict:
    return {"model": model, "inputs": [item], "absolute_tolerance": 1e-6, **more}


def answer(client, model: str, item: dict, **more) -> dict:
    """The first result, held to the documented form."""
    job = explained(client, body(model, item, **more))
    assert job["state"] == "succeeded", job["error"]
    JobDocument.model_validate_json(json.dumps(job), strict=True)
    return job["results"][0]


def assert_complete(result: dict) -> None:
    gap = result["score"] - result["baseline_score"]
    assert result["converged"]
    total = sum(np.sum(tensor["data"]) for tensor in result["attributions"].values())
    assert total == pytest.approx(gap, abs=0.0101 * abs(gap) + 1e-5)


def refused(client, field: str, model: str, item: dict, code="unsupported_by_model", **more) -> dict:
    response = client.post("/v1/attributions", json=body(model, item, **more))
    found = problem(response, 422, code)
    assert found["errors"][0]["field"] == field
    return found


def test_every_model_is_described_and_ready(kinds):
    models = kinds.get("/v1/models").json()["models"]
    assert len(models) == 7
    for model in models:
        ModelDocument.model_validate_json(json.dumps(model), strict=True)
        assert model["readiness"]["state"] == "ready", model["readiness"]


def test_each_input_tensor_has_its_own_baseline(kinds):
    result = answer(kinds, "pair", PAIR, baseline={"measurements": "mean", "signal": "zero"})
    assert {name: tensor["shape"] for name, tensor in result["attributions"].items()} == {
        "measurements": [2],
        "signal": [3],
    }
    assert_complete(result)
    declared = answer(kinds, "pair", PAIR, baseline="ones")
    assert declared["baseline"] == "ones"
    assert_complete(declared)


def test_the_path_may_differ_from_input_to_input(kinds):
    detour = {"kind": "polyline", "points": [{"a": 2.0, "b": 2.0}]}
    bent = answer(kinds, "pair", PAIR, path={"measurements": detour})
    straight = answer(kinds, "pair", PAIR)
    assert_complete(bent)
    assert bent["attributions"]["measurements"]["data"] != straight["attributions"]["measurements"]["data"]
    assert set(bent["nodes"]["piece"]) == {0, 1}


@pytest.mark.parametrize("baseline", ["pad", "mask", "zero_embedding", "nothing"])
def test_tokens_get_one_number_each(kinds, baseline):
    result = answer(kinds, "words", WORDS, baseline=baseline)
    assert list(result["attributions"]) == ["ids"], "the mask is held, not explained"
    assert result["attributions"]["ids"]["shape"] == [6]
    assert result["attributions"]["ids"]["data"][4:] == [0.0, 0.0]
    assert_complete(result)


def test_an_embedding_can_be_the_layer(kinds):
    result = answer(kinds, "words", WORDS, layer={"name": "embedding", "quantity": "layer_ig"})
    per_token = answer(kinds, "words", WORDS)["attributions"]["ids"]["data"]
    assert np.sum(result["attributions"]["embedding"]["data"], axis=1) == pytest.approx(per_token, abs=1e-5)


def test_a_regression_is_explained_in_its_units(kinds):
    result = answer(kinds, "prices", HOUSE, target={"class": "price"})
    assert (result["target"]["scale"], result["target"]["label"]) == ("value", "price")
    assert_complete(result)
    difference = answer(
        kinds, "prices", HOUSE, target={"outputs": [{"output": "price", "weight": 1.0}, {"output": 1, "weight": -12.0}]}
    )
    assert difference["target"]["label"] == "price - 12 rent"
    assert_complete(difference)


def test_a_token_at_a_position_of_a_sequence_is_explained(kinds):
    ids = {"ids": [1, 2, 3, 4, 5]}
    result = answer(kinds, "writer", ids, target={"class": 4, "position": 1, "scale": "logit"})
    assert result["target"]["position"] == 1
    # Causal: what comes after the position has no part in it.
    assert result["attributions"]["ids"]["data"][2:] == [0.0, 0.0, 0.0]
    assert_complete(result)
    last = answer(kinds, "writer", ids, target={"top": 2})
    assert last["target"]["position"] == 4


@pytest.mark.parametrize("quantity", ["layer_ig", "conductance", "influence"])
def test_layers_are_attributed_and_cuts_told_from_others(kinds, quantity):
    cut = answer(kinds, "layered", FOUR, layer={"name": "join", "quantity": quantity})
    assert list(cut["attributions"]) == ["join"]
    assert cut["layer"] == {"name": "join", "quantity": quantity, "cut": True}
    passed_by = answer(kinds, "layered", FOUR, layer={"name": "body", "quantity": quantity})
    assert passed_by["layer"]["cut"] is False
    warned = "layer_not_a_cut" in {warning["code"] for warning in passed_by["warnings"]}
    assert warned == (quantity != "influence")
    if quantity == "influence":
        assert cut["completeness_error"] is None
    else:
        assert_complete(cut)


def test_a_registered_path_is_followed(kinds):
    bent = answer(kinds, "curved", FOUR, path={"kind": "registered", "name": "arc"})
    straight = answer(kinds, "curved", FOUR)
    assert_complete(bent)
    assert not np.allclose(bent["attributions"]["features"]["data"], straight["attributions"]["features"]["data"])


def test_the_nearest_other_class_is_a_baseline(kinds):
    result = answer(kinds, "known", FOUR, baseline="other_class")
    assert_complete(result)
    # At the boundary the class is just lost: another one is as likely.
    assert result["baseline_score"] < result["score"]


def test_expected_gradients_say_how_sure_they_are(kinds):
    result = answer(kinds, "known", FOUR, method="expected_gradients", samples=300, seed=5)
    assert result["seed"] == 5
    assert max(result["standard_error"]["features"]["data"]) > 0
    assert result["completeness_error"]["absolute"] < 0.5


def test_what_a_model_cannot_do_is_refused_with_the_reason(kinds):
    refused(kinds, "baseline", "prices", HOUSE, baseline="mean")
    refused(kinds, "baseline", "words", WORDS, baseline="black")
    refused(kinds, "target.position", "prices", HOUSE, target={"position": 1})
    refused(kinds, "target.scale", "prices", HOUSE, target={"scale": "probability"})
    refused(kinds, "path.kind", "pair", PAIR, path={"kind": "blur", "sigma": 2})
    refused(kinds, "path.signal.kind", "pair", PAIR, path={"signal": "guided"})
    refused(kinds, "baseline.signal", "pair", PAIR, baseline={"measurements": "zero", "signal": "black"})
    refused(kinds, "path.name", "layered", FOUR, path={"kind": "registered", "name": "arc"})
    unknown = refused(kinds, "layer.name", "layered", FOUR, code="unknown_layer", layer={"name": "boby"})
    assert "body" in unknown["detail"]
    refused(kinds, "baseline", "prices", HOUSE, baseline="other_class")


def test_npy_of_several_inputs_needs_to_know_whose(kinds):
    npy = {"Accept": "application/x-npy"}
    found = problem(kinds.post("/v1/attributions", json=body("pair", PAIR), headers=npy), 406, "not_acceptable")
    assert "?input=measurements" in found["detail"]
    path = explained(kinds, body("pair", PAIR))["links"]["self"]
    found = problem(kinds.get(path, headers=npy), 422, "invalid_request")
    assert found["errors"][0]["field"] == "input"
    signal = kinds.get(path, headers=npy, params={"input": "signal"})
    assert np.load(io.BytesIO(signal.content), allow_pickle=False).shape == (3,)


def test_bars_of_several_inputs_are_of_the_one_that_has_bars(kinds):
    job = explained(kinds, body("pair", PAIR, visualizations=[{"kind": "bars"}]))
    assert job["results"][0]["visualizations"][0]["input"] == "measurements"
    drawn = kinds.get(f"{job['links']['self']}/visualizations/bars")
    assert (drawn.status_code, drawn.json()["input"]) == (200, "measurements")


def test_predictions_of_every_kind_are_served(kinds):
    regression = kinds.post("/v1/models/prices:predict", json={"inputs": [HOUSE]}).json()["predictions"][0]
    assert set(regression["values"]) == {"price", "rent"}
    sequence = kinds.post("/v1/models/writer:predict", json={"inputs": [{"ids": [1, 2, 3, 4, 5]}]})
    assert sequence.status_code == 200, sequence.text
