"""Every example of the OpenAPI document on a model of this repository, asked over HTTP and answered in full."""

from typing import Any

import pytest
from attributor.api.documents import JobDocument
from attributor.api.examples import EXAMPLES

pytestmark = pytest.mark.e2e

SERVED = {name: example for name, example in EXAMPLES.items() if example["value"]["model"] == "digits"}
#: Adds up over samples only in the mean; the exact ones do so within their tolerance.
EXACT = {"integrated_gradients"}


def asked(client, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = client.post("/v1/attributions", json=body, headers={"Prefer": "wait=60"})
    assert response.status_code == 200, response.text
    JobDocument.model_validate_json(response.content, strict=True)
    job = response.json()
    assert job["state"] == "succeeded", job["error"]
    return job["results"]


@pytest.mark.parametrize("name", SERVED)
def test_an_example_is_answered(client, name):
    body = SERVED[name]["value"]
    results = asked(client, body)
    targets = body.get("target", {})
    assert len(results) == (len(targets) if isinstance(targets, list) else targets.get("top", 1))
    for result in results:
        assert result["method"] == body.get("method", "integrated_gradients")
        assert (result["completeness_error"] is None) == (result["completeness_reason"] is not None)
        assert len(result["visualizations"]) == len(body.get("visualizations", []))
        if result["method"] in EXACT and result["completeness_error"] and result["converged"]:
            gap = abs(result["score"] - result["baseline_score"])
            allowed = max((result["tolerance"]["relative"] or 1) * gap, result["tolerance"]["absolute"])
            assert result["completeness_error"]["absolute"] <= allowed * (1 + 1e-6)


def test_what_was_asked_for_is_there(client):
    (layer,) = asked(client, SERVED["layer"]["value"])
    assert list(layer["attributions"]) == ["convolutions.2"]
    assert layer["layer"]["quantity"] == "layer_ig"
    (interior,) = asked(client, SERVED["interior"]["value"])
    assert interior["interior"]["vectors"]["image"]["shape"] == [4, 1, 8, 8]
    assert interior["interior"]["importance"]["image"]["shape"] == [4, 8, 8]
    (saturation,) = asked(client, SERVED["saturation"]["value"])
    assert {0.2, 0.4, 0.6, 0.8} <= set(saturation["saturation"]["alphas"])
    (several,) = asked(client, SERVED["baseline_several"]["value"])
    assert (several["baseline"], len(several["baselines"])) == ("3 baselines", 3)
    assert several["spread"]["image"]["shape"] == [1, 8, 8]
    first, second, third = asked(client, SERVED["top"]["value"])
    assert first["target"]["predicted"]
    assert first["score"] > second["score"] > third["score"]
    (shapley,) = asked(client, SERVED["shapley"]["value"])
    assert shapley["standard_error"]["image"]["shape"] == [1, 8, 8]
    assert 0 <= shapley["seed"] < 2**32, "drawn by the service"
    assert shapley["samples"] == 25


def test_an_answer_says_what_was_computed(client):
    (noisy,) = asked(client, SERVED["baseline_noise"]["value"])
    (baseline,) = noisy["baselines_asked"]
    assert (baseline["name"], baseline["samples"]) == ("gaussian", 8)
    assert baseline["inputs"] == {"image": {"kind": "gaussian", "value": None, "sigma": 0.2}}
    assert noisy["path"]["image"]["kind"] == "straight"
    (guided,) = asked(client, SERVED["guided"]["value"] | {"path": "guided"})
    assert (guided["path"]["image"]["kind"], guided["path"]["image"]["steps"]) == ("guided", 20)
    (smooth,) = asked(client, SERVED["smoothing"]["value"])
    assert smooth["smoothing"] == {"form": "plain", "samples": 10, "noise": 0.1}
