"""Requests are counted by their routes, whatever clients write."""

from types import SimpleNamespace

import httpx
from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.api.observed import Observed
from attributor.errors import QueueFull, StoreUnavailable
from attributor.telemetry import metrics
from attributor.telemetry.metrics import Tally, field_of


class Away:
    """A store that does not answer."""

    async def model_reports(self):
        raise StoreUnavailable("away")

    async def workers_alive(self):
        raise StoreUnavailable("away")

    async def figures(self):
        raise StoreUnavailable("away")

    async def record(self, job_id, *, tenant):
        raise QueueFull("no room")


async def asked(*requests: tuple[str, str]) -> tuple[list[httpx.Response], dict[str, float]]:
    away, tally = Away(), Tally()
    app = create_app(
        Deps(away, away, None, SimpleNamespace(reading=False), away, None, Limits(1_000, 9, 1.0, 1.0), keys=None)
    )
    transport = httpx.ASGITransport(Observed(app, app, tally))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return [await client.request(method, path) for method, path in requests], dict(tally.take())


async def test_paths_of_clients_become_no_labels():
    _, counted = await asked(("GET", "/v1/attributions/job_1"), ("GET", "/etc/passwd"), ("BREW", "/coffee"))
    of_requests = {name for name in counted if name.startswith("attributor_http_requests\t")}
    assert of_requests == {
        field_of(metrics.HTTP_REQUESTS, ("GET", "/v1/attributions/{job_id}", "5xx")),
        field_of(metrics.HTTP_REQUESTS, ("GET", "unmatched", "4xx")),
        field_of(metrics.HTTP_REQUESTS, ("other", "unmatched", "4xx")),
    }


async def test_the_quick_way_is_its_route():
    headers = {"content-type": "application/json"}
    tally = Tally()
    away = Away()
    app = create_app(Deps(away, away, None, None, away, None, Limits(1_000, 9, 1.0, 1.0), keys=None))
    transport = httpx.ASGITransport(Observed(app, app, tally))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/v1/attributions", content=b'{"model": "m", "inputs": [{}]}', headers=headers)
    assert answer.status_code == 503
    assert tally.take()[field_of(metrics.HTTP_REQUESTS, ("POST", "/v1/attributions", "5xx"))] == 1


async def test_refusals_are_counted_by_code_and_readiness_is_none():
    answers, counted = await asked(("GET", "/v1/models"), ("GET", "/v1/attributions/x"), ("GET", "/health/ready"))
    assert [answer.status_code for answer in answers] == [503] * 3
    refused = {name: number for name, number in counted.items() if name.startswith("attributor_http_refusals")}
    assert refused == {
        field_of(metrics.HTTP_REFUSALS, ("store_unavailable",)): 1,
        field_of(metrics.HTTP_REFUSALS, ("queue_full",)): 1,
    }


async def test_while_the_store_is_away_the_metrics_say_so():
    [answer], _ = await asked(("GET", "/metrics"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "\nattributor_store_up 0.0\n" in answer.text
    assert "attributor_queue_jobs" not in answer.text
