"""Jobs from request to answer: create, poll, wait, retry, and what stands in every result."""

import math
import socket
import time
from itertools import pairwise

import httpx
import numpy as np
import pytest
from attributor.api.documents import JobDocument
from attributor.api.schemas.bodies import FEWEST_EVALUATIONS
from e2e.live import created, ended, example, explained, pair, problem, slow

pytestmark = pytest.mark.e2e


def strictly_documented(response: httpx.Response) -> dict:
    """The body, held to its documentation: every field there, of its very type, and none besides."""
    JobDocument.model_validate_json(response.content, strict=True)
    return response.json()


def newest_id(client: httpx.Client) -> str:
    return client.get("/v1/attributions", params={"limit": 1}).json()["attributions"][0]["id"]


def test_a_job_is_created_and_polled_to_its_end(client):
    response = client.post("/v1/attributions", json=example("tumour"))
    assert response.status_code == 202
    job = strictly_documented(response)
    assert job["state"] in ("queued", "running")
    assert job["results"] is None
    assert response.headers["Location"] == job["links"]["self"] == f"/v1/attributions/{job['id']}"
    assert int(response.headers["Retry-After"]) >= 1
    done = ended(client, response.headers["Location"])
    assert (done["state"], done["attempts"], done["error"], done["position"]) == ("succeeded", 1, None, None)
    assert done["created_at"] <= done["started_at"] <= done["finished_at"] < done["expires_at"]
    assert done["timings"]["queued_s"] >= 0
    assert done["timings"]["computing_s"] > 0
    again = client.get(response.headers["Location"])
    assert "Retry-After" not in again.headers
    assert strictly_documented(again) == done


def test_an_etag_saves_the_second_transfer(client):
    path = created(client, example("digit"))
    ended(client, path)
    first = client.get(path)
    assert first.headers["ETag"]
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    for change in ({"headers": {"Accept": "application/x-npy"}}, {"params": {"encoding": "base64-npy"}}):
        headers = {"If-None-Match": first.headers["ETag"], **change.get("headers", {})}
        other = client.get(path, headers=headers, params=change.get("params"))
        assert other.status_code == 200, "another representation is another entity"


def test_an_etag_changes_with_the_job(client):
    path = created(client, slow(20))
    early = client.get(path).headers["ETag"]
    job = ended(client, path)
    assert job["state"] == "succeeded"
    assert client.get(path, headers={"If-None-Match": early}).status_code == 200


def test_prefer_wait_answers_with_the_result(client):
    response = client.post("/v1/attributions", json=example("tumour"), headers={"Prefer": "wait=20"})
    assert (response.status_code, response.headers["Preference-Applied"]) == (200, "wait=20")
    assert strictly_documented(response)["state"] == "succeeded"
    assert response.headers["Location"].endswith(response.json()["id"])


@pytest.mark.parametrize(("prefer", "applied"), [("wait=0", "wait=0"), ("respond-async, wait=1; x=y", "wait=1")])
def test_a_wait_that_is_too_short_answers_202(client, prefer, applied):
    response = client.post("/v1/attributions", json=slow(60), headers={"Prefer": prefer})
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, applied)
    assert strictly_documented(response)["state"] in ("queued", "running")
    client.delete(response.headers["Location"])


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "wait", "wait=1.5"])
def test_a_bad_prefer_is_refused_before_anything_is_queued(client, prefer):
    newest = newest_id(client)
    document = problem(
        client.post("/v1/attributions", json=example("tumour"), headers={"Prefer": prefer}), 422, "invalid_request"
    )
    assert document["errors"][0]["field"] == "Prefer"
    assert newest_id(client) == newest


def test_a_repeat_that_does_not_wait_is_accepted_like_the_first_and_is_done_at_once(launch):
    service = launch(ATTRIBUTOR_STORE__CACHE_BYTES="1000000")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        body = pair("raises", a=0.123)
        assert not explained(client, body)["cached"]
        for accept in ("application/json", "application/x-npy"):
            again = client.post("/v1/attributions", json=body, headers={"Accept": accept})
            assert (again.status_code, again.headers["Content-Type"]) == (202, "application/json")
            job = strictly_documented(again)
            assert (job["state"], job["cached"], job["results"], job["next"]) == ("succeeded", True, None, None)
            # What it was told is not the whole of it.
            whole = client.get(job["links"]["self"], headers={"If-None-Match": again.headers["ETag"]})
            assert len(whole.json()["results"]) == 1
        waited = client.post("/v1/attributions", json=body, headers={"Accept": accept, "Prefer": "wait=5"})
        assert (waited.status_code, waited.headers["Content-Type"]) == (200, accept)


def test_a_client_that_hangs_up_while_it_sends_is_not_in_the_log(client, service):
    before = len(service.log())
    for media_type in ("application/json", "application/json; charset=utf-8"):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            head = ["POST /v1/attributions HTTP/1.1", "Host: x", f"Content-Type: {media_type}", "Content-Length: 999"]
            connection.sendall("\r\n".join([*head, "", '{"model":']).encode())
            time.sleep(0.2)
    time.sleep(0.3)
    assert client.get("/health/live").status_code == 200
    assert "Traceback" not in service.log()[before:]


def test_a_retry_with_the_same_key_finds_the_same_job(client):
    key = {"Idempotency-Key": "one-tumour"}
    first = client.post("/v1/attributions", json=example("tumour"), headers=key)
    again = client.post("/v1/attributions", json=example("tumour"), headers=key | {"Prefer": "wait=20"})
    assert first.json()["id"] == again.json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["state"] == "succeeded"
    other = client.post("/v1/attributions", json=example("digit"), headers=key)
    assert problem(other, 422, "idempotency_conflict")["errors"][0]["field"] == "Idempotency-Key"


def test_an_erased_job_frees_its_key(client):
    key = {"Idempotency-Key": "erased"}
    path = created(client, example("tumour"), **key)
    ended(client, path)
    assert client.delete(path).status_code == 204
    again = client.post("/v1/attributions", json=example("digit"), headers=key)
    assert again.status_code == 202
    assert "Idempotency-Replayed" not in again.headers


def test_several_inputs_have_one_result_each_in_their_order(client):
    first, second = example("tumour")["inputs"][0], example("tumour")["inputs"][0]["features"]
    smaller = {"features": {name: 0.6 * value for name, value in second.items()}}
    body = example("tumour") | {"inputs": [first, smaller, first], "target": {"class": "malignant"}}
    results = explained(client, body)["results"]
    alone = explained(client, body | {"inputs": [smaller]})["results"][0]
    assert [r["score"] for r in results] == [
        results[0]["score"],
        pytest.approx(alone["score"], rel=1e-5),
        results[0]["score"],
    ]
    assert results[0]["score"] != results[1]["score"]
    assert results[1]["attributions"]["features"]["data"] == pytest.approx(
        alone["attributions"]["features"]["data"], rel=1e-3, abs=1e-6
    )


BODIES = {
    "tumour": example("tumour") | {"visualizations": [{"kind": "bars"}]},
    "digit": example("digit"),
    "another class": example("digit") | {"target": {"class": "7", "scale": "log_probability"}, "baseline": "white"},
    "logit by index": example("digit") | {"target": {"class": 2, "scale": "logit"}, "tolerance": 0.001},
    "custom baseline": example("digit") | {"baseline": example("digit")["inputs"][0], "target": {"class": "1"}},
    "fixed rule": example("tumour") | {"rule": "gauss_legendre", "n_steps": 12},
    "too small a budget": example("digit") | {"tolerance": 1e-5, "max_evaluations": FEWEST_EVALUATIONS},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_every_result_is_whole_and_agrees_with_itself(client, body):
    response = client.post("/v1/attributions", json=body, headers={"Prefer": "wait=30"})
    assert response.status_code == 200, response.text
    (result,) = strictly_documented(response)["results"]
    gap = result["score"] - result["baseline_score"]
    (tensor,) = result["attributions"].values()
    values = np.array(tensor["data"])
    assert list(values.shape) == tensor["shape"]
    assert values.sum() == pytest.approx(result["attribution_sum"], rel=1e-5, abs=1e-7)
    error = result["completeness_error"]
    assert error["absolute"] == pytest.approx(abs(result["attribution_sum"] - gap), rel=1e-6, abs=1e-12)
    assert error["relative"] == (pytest.approx(error["absolute"] / abs(gap)) if gap else None)
    assert_nodes_agree(result)
    allowed = max(result["tolerance"]["relative"] * abs(gap), result["tolerance"]["absolute"])
    if result["converged"]:
        assert error["absolute"] <= allowed * (1 + 1e-6)
    else:
        assert "not_converged" in [warning["code"] for warning in result["warnings"]]
    asked = body.get("tolerance", 0.01)
    assert (result["tolerance"]["relative"], result["rule"]) == (asked, body.get("rule", "adaptive"))
    assert result["evaluations"] == result["backwards"] <= result["forwards"]
    assert [view["kind"] for view in result["visualizations"]] == [v["kind"] for v in body.get("visualizations", [])]
    assert result["timings"]["computing_s"] > 0


def assert_nodes_agree(result: dict) -> None:
    nodes = result["nodes"]
    assert len({len(column) for column in nodes.values()}) == 1
    assert all(one < other for one, other in pairwise(nodes["alpha"]))
    assert sum(nodes["weight"]) == pytest.approx(1, abs=1e-9)
    total = math.fsum(w * (h or 0.0) for w, h in zip(nodes["weight"], nodes["slope"], strict=True))
    assert total == pytest.approx(result["attribution_sum"], rel=1e-5, abs=1e-7)
    assert (nodes["score"][0], nodes["score"][-1]) == (result["baseline_score"], result["score"])


def test_the_predicted_class_is_the_default_target(client):
    target = explained(client, example("digit"))["results"][0]["target"]
    plain = {"scale": "probability", "position": None}
    two = {"class": 2, "label": "2", "terms": [{"output": 2, "label": "2", "weight": 1.0}]}
    assert target == plain | two | {"predicted": True}
    other = explained(client, example("digit") | {"target": {"class": 7}})["results"][0]["target"]
    seven = {"class": 7, "label": "7", "terms": [{"output": 7, "label": "7", "weight": 1.0}]}
    assert other == plain | seven | {"predicted": False}


def test_a_baseline_equal_to_the_input_is_answered_and_warned_of(client):
    body = example("digit") | {"baseline": example("digit")["inputs"][0]}
    response = client.post("/v1/attributions", json=body, headers={"Prefer": "wait=20"})
    (result,) = strictly_documented(response)["results"]
    assert np.abs(result["attributions"]["image"]["data"]).max() == 0
    assert (result["completeness_error"]["relative"], result["attribution_error"]) == (None, None)
    assert {"score_gap_small", "features_equal_to_baseline"} <= {warning["code"] for warning in result["warnings"]}


def test_numbers_beyond_64_bits_are_numbers(client):
    job = explained(client, pair("raises", a=-(10**25)))
    assert job["state"] == "succeeded", job["error"]


def test_a_default_named_model_and_its_version_are_the_same(client):
    named = explained(client, example("digit") | {"model": "digits@1"})
    assert named["model"] == explained(client, example("digit"))["model"]
