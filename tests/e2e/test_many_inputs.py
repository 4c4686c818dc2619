"""One job of many inputs: results while it runs, by the page after it; what a job would cost; priority and deadline."""

import time
from itertools import pairwise
from typing import Any

import httpx
import pytest
from attributor.api.documented_expected import ExpectedDocument
from attributor.api.documented_pages import ResultsDocument
from e2e.live import created, ended, events, eventually, example, explained, pair, problem, running, slow

pytestmark = pytest.mark.e2e


def rows(n: int, model: str = "slow", **more: Any) -> dict[str, Any]:
    return {"model": model, "inputs": [{"features": {"a": float(k % 7), "b": 1.0}} for k in range(n)], **more}


def page(client: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    response = client.get(f"{path}/results", params=query)
    assert response.status_code == 200, response.text
    ResultsDocument.model_validate_json(response.content, strict=True)
    found = response.json()
    assert (response.headers.get("Retry-After") == "1") == (found["state"] in ("queued", "running"))
    return found


def test_results_of_a_running_job_can_be_read_as_they_come(client):
    easy, hard = {"features": {"a": 0.0, "b": 0.0}}, {"features": {"a": 9.0, "b": 5.0}}
    asked = {"model": "slow", "inputs": [easy, hard], "tolerance": 1e-6, "absolute_tolerance": 1e-9}
    path = created(client, asked | {"max_evaluations": 2_000})
    running(client, path)
    found = eventually(lambda: (now := page(client, path))["results"] and now, 20)
    assert found["state"] == "running"
    assert [each["input"] for each in found["results"]] == [0]
    assert (found["inputs"], found["inputs_done"], found["next"]) == (2, 1, None)
    # Somebody looks, so estimates are made.
    estimate = eventually(lambda: (page(client, path)["estimates"] or [None])[0], 5)
    assert estimate["input"] == 1
    known = eventually(
        lambda: next((e for e in page(client, path)["estimates"] if e["attributions"] is not None), None), 10
    )
    assert known["attributions"]["features"]["shape"] == [2]
    assert client.delete(path).status_code == 202
    ended(client, path)


def test_a_thousand_inputs_are_one_job_and_are_read_by_the_page(client):
    body = rows(1_200, "raises", tolerance=0.05)
    path = created(client, body)
    job = ended(client, path, within_s=60)
    assert job["state"] == "succeeded", job["error"]
    assert len(job["results"]) == 1_000
    rest = client.get(job["next"]).raise_for_status().json()
    assert [each["input"] for each in rest["results"]] == [*range(1_000, 1_200)]
    assert (rest["next"], rest["estimates"], rest["inputs_done"]) == (None, [], 1_200)
    some = page(client, path, offset=500, limit=2)
    assert some["results"] == job["results"][500:502]
    assert some["next"] == f"{path}/results?offset=502&limit=2"
    assert page(client, path, offset=5_000)["results"] == []
    problem(client.get(f"{path}/results", params={"limit": 1_001}), 422, "invalid_request")


def test_a_job_that_had_nothing_has_no_results(client):
    path = created(client, pair("raises", a=101.0))
    assert ended(client, path)["state"] == "failed"
    problem(client.get(f"{path}/results"), 409, "no_result")
    problem(client.get("/v1/attributions/job_unknown/results"), 404, "job_not_found")


def test_an_estimate_is_near_what_the_job_takes_and_queues_nothing(client):
    before = client.get("/v1/attributions").json()
    for name in ("tumour", "digit"):
        body = example(name)
        response = client.post("/v1/attributions:estimate", json=body)
        assert response.status_code == 200, response.text
        ExpectedDocument.model_validate_json(response.content, strict=True)
        told = response.json()
        assert client.get("/v1/attributions").json() == before
        job = explained(client, body)
        before = client.get("/v1/attributions").json()
        (result,) = job["results"]
        for what in ("evaluations", "forwards"):
            count = told["total"][what]
            assert result[what] <= count["at_most"]
            assert 0.4 < count["expected"] / result[what] < 2.5
        assert told["queue"] == {"jobs_ahead": 0, "wait_s": 0.0}
        assert (told["compute_s"] is None) == (told["compute_reason"] is not None)


def test_an_estimate_is_refused_as_the_job_would_be(client):
    for wrong in (pair("no-such"), pair("slow", tolerance=5), rows(5_000), pair("slow", baseline={"kind": "mask"})):
        refused = [client.post(f"/v1/attributions{suffix}", json=wrong) for suffix in ("", ":estimate")]
        assert refused[0].status_code == refused[1].status_code >= 400
        assert refused[0].json() == refused[1].json()


def test_a_job_past_its_deadline_fails(client):
    path = created(client, slow(240, deadline_s=1.0))
    began = time.monotonic()
    job = ended(client, path)
    assert (job["state"], job["error"]["code"]) == ("failed", "deadline_exceeded")
    assert time.monotonic() - began < 4


def test_a_seed_that_was_drawn_gives_the_same_answer_again(client):
    body = example("digit") | {"method": "expected_gradients", "baseline": {"kind": "uniform"}, "samples": 20}
    body.pop("visualizations", None)
    for name in ("tolerance", "max_evaluations"):
        body.pop(name, None)
    first, other = (explained(client, body)["results"][0] for _ in range(2))
    assert first["seed"] != other["seed"]
    again = explained(client, body | {"seed": first["seed"]})["results"][0]
    assert again["attributions"] == first["attributions"] != other["attributions"]


def test_progress_comes_every_second_with_the_inputs_that_are_done(client):
    path = created(client, rows(24, rule="right_riemann", n_steps=16))
    told, at = [], []
    for event in events(client, path):
        if event.name == "progress":
            told.append(event.data)
            at.append(time.monotonic())
    assert len(told) >= 2
    assert all(later - sooner < 1.3 for sooner, later in pairwise(at))
    assert {each["inputs"] for each in told} == {24}
    assert all(each["elapsed_s"] >= 0 for each in told)


def test_the_same_question_again_is_answered_from_the_first_answer(launch):
    service = launch(ATTRIBUTOR_STORE__CACHE_BYTES="1000000")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        first, again = explained(client, slow(2)), explained(client, slow(2))
        assert [first["cached"], again["cached"]] == [False, True]
        assert again["id"] != first["id"]
        assert again["results"][0]["attributions"] == first["results"][0]["attributions"]
        assert not explained(client, slow(3))["cached"]
