"""Listing, cancelling and erasing jobs."""

import time

import httpx
import pytest
from attributor.api.documents import JobDocument, JobPageDocument
from attributor.storage.embedded import EmbeddedStore
from e2e.live import created, ended, eventually, example, explained, pair, problem, running, slow
from redis import Redis

pytestmark = pytest.mark.e2e


def page(client: httpx.Client, **parameters: str | int) -> dict:
    response = client.get("/v1/attributions", params=parameters)
    assert response.status_code == 200, response.text
    JobPageDocument.model_validate_json(response.content, strict=True)
    return response.json()


def test_jobs_are_listed_newest_first_page_by_page(client):
    ids = [explained(client, pair("raises"))["id"] for _ in range(5)]
    seen, cursor = [], None
    while len(seen) < 5:
        found = page(client, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [job["id"] for job in found["attributions"]]
        cursor = found["next_cursor"]
    assert seen[:5] == ids[::-1]


def test_the_last_page_has_no_cursor(client):
    explained(client, pair("nan"))
    found, jobs = page(client, limit=100, model="nan@1"), 0
    while found["next_cursor"]:
        jobs += len(found["attributions"])
        found = page(client, limit=100, model="nan@1", cursor=found["next_cursor"])
    assert jobs + len(found["attributions"]) >= 1


def test_a_listing_can_be_filtered_by_state_and_model(client):
    failed = ended(client, created(client, pair("raises", a=101.0)))
    assert failed["state"] == "failed"
    worked = explained(client, pair("raises"))
    assert page(client, state="failed", model="raises", limit=1)["attributions"][0]["id"] == failed["id"]
    assert page(client, state="succeeded", model="raises@1", limit=1)["attributions"][0]["id"] == worked["id"]
    assert {job["state"] for job in page(client, state="failed")["attributions"]} == {"failed"}
    assert page(client, model="raises@2") == {"attributions": [], "next_cursor": None}


def test_predictions_are_not_listed(client):
    newest = page(client, limit=1)["attributions"]
    client.post("/v1/models/digits:predict", json={"inputs": example("digit")["inputs"]}).raise_for_status()
    assert page(client, limit=1)["attributions"] == newest


def test_a_queued_job_is_cancelled_at_once_and_never_runs(launch):
    service = launch(ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS="1")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        first = created(client, slow(20))
        running(client, first)
        second = created(client, pair("raises"))
        response = client.delete(second)
        assert response.status_code == 200
        JobDocument.model_validate_json(response.content, strict=True)
        assert response.json()["state"] == "cancelled"
        assert ended(client, first)["state"] == "succeeded"
        job = ended(client, second)
        assert (job["state"], job["attempts"], job["started_at"]) == ("cancelled", 0, None)


def test_a_running_job_is_cancelled_soon_and_the_worker_goes_on(client):
    path = created(client, slow(240))
    running(client, path)
    began = time.monotonic()
    response = client.delete(path)
    assert (response.status_code, response.json()["state"], response.json()["cancelling"]) == (202, "running", True)
    job = ended(client, path)
    assert (job["state"], job["results"]) == ("cancelled", None)
    assert time.monotonic() - began < 2
    assert explained(client, example("digit"))["state"] == "succeeded"
    assert client.get(path).json()["attempts"] == 1


def test_erasing_leaves_nothing_behind(client, service):
    job = explained(client, example("digit"))
    path, job_id = job["links"]["self"], job["id"]
    with Redis.from_url(EmbeddedStore(service.data_dir).url) as store:

        def kept() -> list[bytes]:
            found = [key for key in store.scan_iter(count=1000) if job_id.encode() in key]
            for key in store.scan_iter(count=1000, _type="zset"):
                found += [key for member in store.zrange(key, 0, -1) if job_id.encode() in member]
            return found

        assert len(kept()) >= 4, "record, payload, result, and the listing's index"
        assert client.delete(path).status_code == 204
        assert kept() == []
    for url in (path, f"{path}/events", f"{path}/visualizations/heatmap", f"{path}/visualizations/overlay"):
        problem(client.get(url), 404, "job_not_found")
    problem(client.delete(path), 404, "job_not_found")
    assert job_id not in [listed["id"] for listed in page(client, limit=100)["attributions"]]


@pytest.mark.parametrize("a", [101.0, None], ids=["failed", "cancelled"])
def test_jobs_without_a_result_can_be_erased_too(client, a):
    path = created(client, slow(60) if a is None else pair("raises", a=a))
    if a is None:
        client.delete(path)
    ended(client, path)
    assert client.delete(path).status_code == 204
    problem(client.get(path), 404, "job_not_found")


def test_a_prediction_is_no_job_of_anybody(client, service):
    """Its record must not be reachable, and does not stay."""
    with Redis.from_url(EmbeddedStore(service.data_dir).url) as store:
        before = set(store.scan_iter(match="*:payload:*"))
        client.post("/v1/models/digits:predict", json={"inputs": example("digit")["inputs"]}).raise_for_status()
        eventually(lambda: set(store.scan_iter(match="*:payload:*")) <= before, 2)
