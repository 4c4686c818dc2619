"""A bundle of every kind of model file, served over HTTP: explained by what can explain it, refused otherwise."""

import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch
from attributor.api.documents import JobDocument
from e2e.live import ALONE, explained, problem, start
from format_bundles import (
    IMAGE_SHAPE,
    export_bundle,
    graph_bundle,
    minilm_bundle,
    small_cnn,
    transformer_bundle,
    tree_bundle,
    tree_graph,
)

pytestmark = pytest.mark.e2e

PIXELS = np.linspace(0, 1, 64, dtype=np.float32).reshape(IMAGE_SHAPE)
PICTURE = {"image": {"shape": [*IMAGE_SHAPE], "datatype": "FP32", "data": PIXELS.ravel().tolist()}}
PERSON = {"features": {"height": 1.1, "weight": -1.2, "age": -0.8}}
REVIEW = {"text": "The film was not good."}


@pytest.fixture(scope="module")
def formats(tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("formats")
    graph_bundle(folder)
    export_bundle(folder)
    tree_bundle(folder)
    transformer_bundle(folder, "reviews", "sequence-classification", labels=("bad", "fair", "good"))
    transformer_bundle(folder, "tags", "token-classification", labels=("verb", "noun", "other"))
    transformer_bundle(folder, "writer", "causal-lm")
    minilm_bundle(folder)
    settings = ALONE | {"ATTRIBUTOR_WORKER__ALLOW_TORCH_EXPORT": "true"}
    service = start(folder, tmp_path_factory.mktemp("formats-data"), settings)
    try:
        service.await_ready()
        with httpx.Client(base_url=service.url, timeout=60) as client:
            yield client
    finally:
        service.stop()


def answer(client: httpx.Client, model: str, item: dict, **more) -> dict:
    """The first result, held to the documented form."""
    job = explained(client, {"model": model, "inputs": [item], **more})
    assert job["state"] == "succeeded", job["error"]
    JobDocument.model_validate_json(json.dumps(job), strict=True)
    return job["results"][0]


def integrated(client: httpx.Client, model: str, item: dict, **more) -> dict:
    """By integrated gradients, complete to 1 % also where scores hardly differ."""
    result = answer(client, model, item, absolute_tolerance=1e-6, **more)
    gap = result["score"] - result["baseline_score"]
    assert result["converged"]
    assert abs(gap) > 1e-4
    assert total(result) == pytest.approx(gap, abs=0.0101 * abs(gap) + 1e-5)
    return result


def total(result: dict) -> float:
    return float(sum(np.sum(tensor["data"]) for tensor in result["attributions"].values()))


def test_every_bundle_passed_its_proof(formats):
    health = formats.get("/health/ready").json()
    assert set(health["models"].values()) == {"ready"}, formats.get("/v1/models").json()
    assert len(health["models"]) == 7


@pytest.mark.parametrize("model", ["graph", "exported"])
def test_the_same_net_in_each_file_has_the_same_answer_and_it_is_the_nets(formats, model):
    result = integrated(formats, model, PICTURE, target={"class": "two", "scale": "logit"}, tolerance=0.001)
    net = small_cnn().requires_grad_(False)
    expected = float(net(torch.from_numpy(PIXELS[None]))[0, 2])
    assert result["score"] == pytest.approx(expected, rel=1e-4)
    # 2,000 right-hand sums: an integral by other means.
    points = torch.linspace(0, 1, 2001)[1:, None, None, None] * torch.from_numpy(PIXELS)
    points.requires_grad_()
    (gradients,) = torch.autograd.grad(net(points)[:, 2].sum(), points)
    reference = gradients.mean(0).numpy() * PIXELS
    found = np.array(result["attributions"]["image"]["data"]).reshape(IMAGE_SHAPE)
    assert np.abs(found - reference).sum() < 0.01 * np.abs(reference).sum()


def test_rules_for_modules_are_refused_where_there_are_none(formats):
    response = formats.post("/v1/attributions", json={"model": "exported", "inputs": [PICTURE], "method": "lrp"})
    assert problem(response, 422, "unsupported_by_model")["errors"][0]["field"] == "method"


@pytest.mark.parametrize("model", ["graph", "exported"])
def test_files_reach_the_comparators_process_too(formats, model):
    result = answer(formats, model, PICTURE, method="occlusion", options={"window": 4})
    assert np.abs(result["attributions"]["image"]["data"]).max() > 1e-4


def test_trees_say_which_methods_explain_them(formats):
    assert formats.get("/v1/models/trees").json()["methods"] == ["shapley", "occlusion", "kernel_shap", "lime"]


@pytest.mark.parametrize("asked", [{}, {"method": "saliency"}, {"method": "deep_lift"}])
def test_trees_refuse_what_needs_gradients_with_what_does_not(formats, asked):
    response = formats.post("/v1/attributions", json={"model": "trees", "inputs": [PERSON], **asked})
    found = problem(response, 422, "unsupported_by_model")["errors"][0]
    assert found["field"] == "method"
    assert "shapley, occlusion, kernel_shap, lime" in found["detail"]


def test_trees_are_explained_by_kernel_shap_and_by_orders_and_both_agree(formats):
    _, trees = tree_graph()
    person = np.array([list(PERSON["features"].values())], np.float32)
    chance = trees.predict_proba(person)[0]
    nobody = trees.predict_proba(np.zeros((1, 3), np.float32))[0]
    asked = {"target": {"class": "yes", "scale": "probability"}}
    orders = answer(formats, "trees", PERSON, method="shapley", samples=400, **asked)
    assert orders["score"] == pytest.approx(chance[1], abs=1e-5)
    assert total(orders) == pytest.approx(chance[1] - nobody[1], abs=1e-5)
    fitted = answer(formats, "trees", PERSON, method="kernel_shap", options={"samples": 2000}, **asked)
    one, other = (np.array(each["attributions"]["features"]["data"]) for each in (orders, fitted))
    assert np.abs(one).max() > 0.05
    assert np.abs(one - other).max() < 0.05


@pytest.mark.parametrize("model", ["reviews", "tags", "writer"])
def test_models_of_text_are_explained_word_by_word(formats, model):
    result = integrated(formats, model, REVIEW)
    n_tokens = 6 + 2  # the words and the full stop, between [CLS] and [SEP]
    assert np.shape(result["attributions"]["input_ids"]["data"]) == (n_tokens,)


def test_a_sentence_encoder_is_explained_in_one_of_its_numbers(formats):
    result = integrated(formats, "minilm", {"text": "A cat sits on the mat."}, target={"class": "8"})
    assert result["target"]["scale"] == "value"
    assert np.shape(result["attributions"]["input_ids"]["data"]) == (9,)


def test_words_are_taken_away_one_by_one_in_the_comparators_process(formats):
    result = answer(formats, "reviews", REVIEW, method="occlusion")
    assert np.abs(result["attributions"]["input_ids"]["data"]).max() > 1e-4
