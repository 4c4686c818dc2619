"""What is served: predictions, descriptions, readiness, health, the interactive docs and the pages on problems."""

import json
import re

import httpx
import pytest
from attributor.api.documents import HealthDocument, ModelDocument, ModelListDocument, PredictionDocument
from attributor.api.problems import STATUS
from e2e.live import ROOT, example, explained, pair, problem

pytestmark = pytest.mark.e2e


def predicted(client: httpx.Client, model: str, inputs: list) -> list[dict]:
    response = client.post(f"/v1/models/{model}:predict", json={"inputs": inputs})
    assert response.status_code == 200, response.text
    PredictionDocument.model_validate_json(response.content, strict=True)
    return response.json()["predictions"]


def test_a_prediction_has_probabilities_and_logits_by_label(client):
    tumour = example("tumour")["inputs"][0]
    smaller = {"features": {name: 0.6 * value for name, value in tumour["features"].items()}}
    large, small = predicted(client, "breast-cancer", [tumour, smaller])
    assert (large["label"], small["label"]) == ("malignant", "benign")
    for item in (large, small):
        assert sum(item["probabilities"].values()) == pytest.approx(1)
        assert item["label"] == max(item["probabilities"], key=item["probabilities"].get)
        assert list(item["logits"]) == list(item["probabilities"]) == ["malignant", "benign"]


def test_a_prediction_is_the_score_of_its_attribution(client):
    (item,) = predicted(client, "digits@1", example("digit")["inputs"])
    result = explained(client, example("digit"))["results"][0]
    assert item["class"] == result["target"]["class"]
    assert item["probabilities"]["2"] == pytest.approx(result["score"], rel=1e-5)


@pytest.mark.parametrize(
    ("model", "inputs", "status", "code"),
    [
        ("nothing", [{}], 404, "unknown_model"),
        ("digits@7", [{}], 404, "unknown_version"),
        ("digits", [], 422, "invalid_request"),
        ("digits", [{}] * 4_097, 422, "invalid_request"),
        ("digits", [{"image": "!"}], 422, "invalid_base64"),
        ("raises", [{"features": {"a": 101, "b": 0}}], 500, "model_error"),
        ("nan", [{"features": {"a": -3, "b": 0}}], 422, "non_finite_score"),
        ("unsafe", [{"features": {"a": 1, "b": 0}}], 503, "model_not_ready"),
    ],
)
def test_what_cannot_be_predicted_is_a_problem(client, model, inputs, status, code):
    problem(client.post(f"/v1/models/{model}:predict", json={"inputs": inputs}), status, code)


def test_models_are_listed_with_their_readiness(client):
    response = client.get("/v1/models")
    ModelListDocument.model_validate_json(response.content, strict=True)
    states = {model["name"]: model["readiness"]["state"] for model in response.json()["models"]}
    assert states == dict.fromkeys(("breast-cancer", "digits", "nan", "raises", "slow"), "ready") | {"unsafe": "failed"}


def test_a_model_is_described(client):
    response = client.get("/v1/models/digits")
    ModelDocument.model_validate_json(response.content, strict=True)
    model = response.json()
    assert (model["name"], model["version"], model["default"]) == ("digits", "1", True)
    assert model["output"]["labels"] == [str(digit) for digit in range(10)]
    assert {b["name"]: b["default"] for b in model["baselines"]} == {"black": True, "white": False, "mean": False}
    layer = {"name": "convolutions.0", "type": "Conv2d", "module": "convolutions.0", "description": None}
    assert layer in model["layers"]
    assert model["inputs"][0]["visualizations"] == ["heatmap", "overlay"]
    assert set(model["readiness"]["checks"].values()) == {"passed"}
    assert client.get("/v1/models/digits@1").json() == model
    features = client.get("/v1/models/breast-cancer").json()["inputs"][0]["features"]
    assert [feature["name"] for feature in features] == list(example("tumour")["inputs"][0]["features"])


def test_unknown_models_are_problems_with_a_hint(client):
    assert "digits" in problem(client.get("/v1/models/digit"), 404, "unknown_model")["detail"]
    assert "1" in problem(client.get("/v1/models/digits@9"), 404, "unknown_version")["detail"]


def test_an_unsafe_model_is_found_at_load_and_refused_with_the_reason(client):
    readiness = client.get("/v1/models/unsafe").json()["readiness"]
    assert readiness["state"] == "failed"
    assert "influence each other" in readiness["reason"]
    response = client.post("/v1/attributions", json=pair("unsafe"))
    document = problem(response, 503, "model_not_ready")
    assert readiness["reason"] in document["detail"]
    assert int(response.headers["Retry-After"]) > 0


def test_health_says_that_it_lives_and_that_it_can_serve(client):
    assert client.get("/health/live").status_code == 200
    response = client.get("/health/ready")
    HealthDocument.model_validate_json(response.content, strict=True)
    health = response.json()
    assert (response.status_code, health["ready"], health["store"], health["workers"]) == (200, True, True, 1)
    assert (health["models"]["digits@1"], health["models"]["unsafe@1"]) == ("ready", "failed")


def test_the_docs_need_no_other_host(client):
    assert client.get("/").headers["Location"].endswith("/docs")
    page = client.get("/docs").text
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page)
    assert len(links) >= 3
    for link in links:
        assert httpx.URL(link).host in ("", client.base_url.host), link
        response = client.get(link)
        assert response.status_code == 200
        assert len(response.content) > 100
        if link.endswith(".css"):
            assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//", response.text)
    others = {httpx.URL(found).host for found in re.findall(r"https?://[^\s\"'<]+", page)}
    assert others <= {client.base_url.host}
    assert client.get(re.search(r"url: '([^']+)'", page).group(1)).json()["openapi"].startswith("3.1")


def test_the_openapi_document_is_the_one_of_the_repository(client):
    kept = json.loads((ROOT / "openapi" / "openapi.json").read_text())
    assert client.get("/openapi.json").json() == kept


def test_every_problem_has_a_page(client):
    codes = client.get("/problems").json()
    assert codes.keys() == STATUS.keys()
    for code, found in codes.items():
        page = client.get(f"/problems/{code}").json()
        assert (page["code"], page["status"], page["title"]) == (code, found["status"], found["title"])
        assert page["meaning"].endswith((".", "`"))
        assert len(page["what_to_do"].split()) >= 3
    problem(client.get("/problems/unheard_of"), 404, "not_found")
