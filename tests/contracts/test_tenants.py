"""No tenant sees anything of another's, whatever it asks: every route of the OpenAPI document, on a real store."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from attributor.api.app import create_app
from attributor.api.gate import Gate, is_open
from attributor.bootstrap.api import wire
from attributor.bootstrap.openapi import openapi_bytes
from attributor.jobs.access import Scope, new_key
from attributor.jobs.content import content_key
from attributor.jobs.job import Failure
from attributor.jobs.result import AttributionResult, PartialResult
from attributor.jobs.terms import USUAL_TERMS
from attributor.registry.catalog import FolderCatalog
from attributor.settings import Settings
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_keys import RedisKeys
from contracts.servers import server
from contracts.test_partial_results import path_result

#: As a job's own, and of none.
UNKNOWN = f"job_{'0' * 32}"
#: What takes a job's path apart; every route about a job has it.
JOB = "{job_id}"
VALUES = {"{kind}": "bars", "{name}": "tumour", "{code}": "queue_full"}
ALL = frozenset(Scope)


def operations() -> Iterator[tuple[str, str]]:
    """Method and path template of everything that is documented."""
    for path, methods in json.loads(openapi_bytes())["paths"].items():
        for method in methods:
            yield method.upper(), path


OF_A_JOB = [(method, path) for method, path in operations() if JOB in path and "quarantine" not in path]


@pytest.fixture(scope="module")
def store_url(tmp_path_factory):
    """Whose a job is is told by the same commands everywhere: one kind of server is enough."""
    with server("valkey", tmp_path_factory.mktemp("tenants")) as url:
        yield url


@pytest.fixture
async def served(store, tmp_path: Path) -> AsyncIterator[Any]:
    """Opens clients of the API on the store: with a key of a tenant, or without any."""
    async with RedisJobEvents(store) as events:
        deps = wire(Settings(), store, events, FolderCatalog(tmp_path))
        app = Gate(create_app(deps), deps.keys)

        @asynccontextmanager
        async def client(tenant: str | None, scopes: frozenset[Scope] = ALL) -> AsyncIterator[httpx.AsyncClient]:
            headers = {}
            if tenant is not None:
                text, key = new_key(tenant, scopes, time.time(), "", USUAL_TERMS)
                await RedisKeys(store).add(key)
                headers = {"Authorization": f"Bearer {text}"}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as made:
                yield made

        yield client


async def job(queue, spec, state: str) -> str:
    """The id of a job in that state; where that can be, with partial results."""
    job_id = (await queue.enqueue(spec)).job_id
    if state == "queued":
        return job_id
    if state == "cancelled":
        await queue.cancel(job_id, tenant=spec.tenant)
        return job_id
    [claimed] = await queue.claim(1)
    assert claimed.lease.job_id == job_id
    if state == "succeeded":
        assert await queue.finish(claimed.lease, AttributionResult((path_result(0),)))
        return job_id
    await queue.publish(claimed.lease, PartialResult((path_result(0),)))
    if state == "failed":
        assert await queue.finish(claimed.lease, Failure("model_error", "the other tenant's own words"))
    return job_id


def told(response: httpx.Response, job_id: str) -> tuple[int, str, dict[str, str]]:
    """All that an answer says, but for the id that was asked for."""
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return response.status_code, response.text.replace(job_id, "ID"), headers


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed", "cancelled"])
async def test_a_job_of_another_is_as_if_it_had_never_been(served, queue, jobs, make_spec, state):
    assert len(OF_A_JOB) >= 5
    job_id = await job(queue, make_spec(tenant="acme"), state)
    before = await jobs.record(job_id, tenant="acme")
    assert before.state == state
    async with served("acme") as own, served("other") as other:
        for headers in ({}, {"Prefer": "wait=0"}, {"Accept": "image/png"}, {"If-None-Match": "*"}):
            for method, template in OF_A_JOB:
                asked = [
                    told(await other.request(method, path_of(template, each), headers=headers), each)
                    for each in (job_id, UNKNOWN)
                ]
                assert asked[0] == asked[1], (method, template)
                assert asked[0][0] == 404
                assert json.loads(asked[0][1])["code"] == "job_not_found"
        assert await jobs.record(job_id, tenant="acme") == before
        assert (await own.get(f"/v1/attributions/{job_id}")).json()["state"] == state
        assert (await other.get("/v1/attributions")).json() == {"attributions": [], "next_cursor": None}
        assert [each["id"] for each in (await own.get("/v1/attributions")).json()["attributions"]] == [job_id]


def path_of(template: str, job_id: str) -> str:
    for name, value in {**VALUES, JOB: job_id}.items():
        template = template.replace(name, value)
    return template


async def test_a_cursor_of_another_leads_to_ones_own_jobs(served, queue, make_spec):
    ids = [(await queue.enqueue(make_spec(tenant=tenant))).job_id for tenant in ("other", "acme", "acme")]
    async with served("acme") as own, served("other") as other:
        page = (await own.get("/v1/attributions", params={"limit": 1})).json()
        assert page["attributions"][0]["id"] == ids[2]
        page = (await other.get("/v1/attributions", params={"cursor": page["next_cursor"]})).json()
        assert [each["id"] for each in page["attributions"]] == ids[:1]


async def test_keys_of_idempotency_and_answers_are_a_tenants_own(queue, make_spec):
    specs = {tenant: make_spec(tenant=tenant) for tenant in ("acme", "other")}
    keys = {tenant: content_key(spec) for tenant, spec in specs.items()}
    assert keys["acme"] != keys["other"]
    first = await queue.enqueue(specs["acme"], idempotency_key="k", content_key=keys["acme"])
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, AttributionResult((path_result(0),)))
    again = await queue.enqueue(specs["acme"], content_key=keys["acme"])
    assert not again.waits
    other = await queue.enqueue(specs["other"], idempotency_key="k", content_key=keys["other"])
    assert (other.replayed, other.waits) == (False, True)
    assert other.job_id != first.job_id


@pytest.mark.parametrize(("method", "path"), list(operations()))
async def test_nothing_but_what_is_meant_to_be_open_answers_without_a_key(served, method, path):
    async with served(None) as anybody:
        response = await anybody.request(method, path_of(path, UNKNOWN), content=b"{" * 99)
        if is_open(path):
            assert response.status_code not in (401, 403)
            assert path.startswith(("/health/", "/problems"))
            return
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Bearer realm="attributor"'
        assert response.json()["code"] == "unauthorized"


#: What a key needs for each operation beside being one.
NEEDED = {
    Scope.READ: {
        ("GET", "/v1/attributions"),
        ("GET", "/v1/attributions/{job_id}"),
        ("GET", "/v1/attributions/{job_id}/events"),
        ("GET", "/v1/attributions/{job_id}/results"),
        ("GET", "/v1/attributions/{job_id}/visualizations/{kind}"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{name}"),
    },
    Scope.SUBMIT: {
        ("POST", "/v1/attributions"),
        ("POST", "/v1/attributions:estimate"),
        ("POST", "/v1/models/{name}:predict"),
        ("DELETE", "/v1/attributions/{job_id}"),
    },
    Scope.METRICS: {("GET", "/metrics")},
    Scope.OPERATE: {
        ("GET", "/v1/quarantine"),
        ("GET", "/v1/quarantine/{job_id}"),
        ("POST", "/v1/quarantine/{job_id}:retry"),
        ("DELETE", "/v1/quarantine/{job_id}"),
    },
    None: {("GET", "/v1/session"), ("POST", "/v1/session"), ("DELETE", "/v1/session")},
}


def test_the_table_of_scopes_speaks_of_every_operation_once():
    listed = [each for found in NEEDED.values() for each in found]
    assert sorted(listed) == sorted(each for each in operations() if not is_open(each[1]))
    document = json.loads(openapi_bytes())
    for scope, found in NEEDED.items():
        for method, path in found:
            operation = document["paths"][path][method.lower()]
            scopes = [] if scope is None else [scope]
            assert operation["security"] == [{"key": scopes}, {"session": scopes}, {}]
            assert {"401", "403"} <= operation["responses"].keys()


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_key_does_what_its_scope_says_and_nothing_else(served, scope):
    async with served("acme", frozenset({scope})) as client:
        for needed, found in NEEDED.items():
            for method, path in found:
                response = await client.request(method, path_of(path, UNKNOWN))
                if needed in (scope, None):
                    assert response.status_code not in (401, 403), (method, path)
                else:
                    assert (response.status_code, response.json()["code"]) == (403, "forbidden"), (method, path)
                    assert f"'{needed}'" in response.json()["detail"]


async def test_whoever_operates_sees_jobs_in_quarantine_of_all_and_no_others(served, queue, make_spec):
    job_id = await job(queue, make_spec(tenant="acme"), "failed")
    async with served("staff") as operator:
        assert (await operator.get(f"/v1/quarantine/{job_id}")).status_code == 404
        assert (await operator.get("/v1/quarantine")).json() == {"quarantined": []}
