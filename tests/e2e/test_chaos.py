"""A minute of `make chaos`, and what a job that kills its workers does to those beside it."""

import asyncio

import httpx
import pytest
from e2e.chaos import ENVIRONMENT, chaos, write_models
from e2e.live import Service, created, ended, explained, pair, slow, start, strange_tracebacks

pytestmark = pytest.mark.e2e


@pytest.fixture
def service(tmp_path):
    service = start(write_models(tmp_path / "models"), tmp_path / "service", ENVIRONMENT)
    try:
        service.await_ready(workers=2)
        yield service
    finally:
        service.stop()


def test_nothing_is_lost_or_done_twice_whatever_is_killed_or_frozen(service: Service):
    found = asyncio.run(chaos(service, seconds=60, n_jobs=200, n_poison=1, seed=7))
    assert found.wrong == []
    assert sum(found.blows.values()) > 10
    assert found.ends["succeeded"] > 150


def test_a_job_that_kills_its_workers_is_put_aside_and_all_beside_it_finish(service: Service):
    with httpx.Client(base_url=service.url, timeout=40) as client:
        paths = [created(client, slow(4)) for _ in range(6)]
        poison = created(client, pair("kills", 1000.0))
        paths += [created(client, pair("raises", float(number), 1.0)) for number in range(1, 20)]
        failed = ended(client, poison, within_s=60)
        assert (failed["state"], failed["error"]["code"], failed["attempts"]) == ("failed", "worker_lost", 3)
        assert {ended(client, path, within_s=60)["state"] for path in paths} == {"succeeded"}
        [known] = client.get("/v1/quarantine").raise_for_status().json()["quarantined"]
        assert known["id"] == failed["id"]
        asked = client.get(f"/v1/quarantine/{failed['id']}").raise_for_status().json()["asked"]
        assert asked["baselines_asked"][0]["samples"] == 1
        assert client.post(f"/v1/quarantine/{failed['id']}:retry").status_code == 204
        assert ended(client, poison, within_s=60)["error"]["code"] == "worker_lost"
        assert client.delete(f"/v1/quarantine/{failed['id']}").status_code == 204
        assert client.get(poison).status_code == 404
        assert client.delete(f"/v1/quarantine/{failed['id']}").status_code == 404
        assert explained(client, pair("raises"))["state"] == "succeeded"
    assert not strange_tracebacks(service.log())
