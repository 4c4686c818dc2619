"""A request's trace goes through the queue to the pass that answered it, and arrives where the environment says."""

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from e2e.live import eventually, pair
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

pytestmark = pytest.mark.e2e

#: Of the caller: its trace goes on here.
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass
class Collector:
    """Takes traces by OTLP over HTTP, as a collector does."""

    port: int = 0
    spans: list[tuple[str, Any]] = field(default_factory=list)

    def of(self, trace: str) -> dict[str, list[tuple[str, Any]]]:
        """A trace's spans by name, each with the service that sent it."""
        found: dict[str, list[tuple[str, Any]]] = {}
        for service, span in list(self.spans):
            if span.trace_id.hex() == trace:
                found.setdefault(span.name, []).append((service, span))
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {each.key: each.value.string_value for each in of_resource.resource.attributes}
                for of_scope in of_resource.scope_spans:
                    found.spans.extend((about["service.name"], span) for span in of_scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def about(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_one_trace_from_the_request_to_the_pass(launch, collector):
    service = launch(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}",
        OTEL_BSP_SCHEDULE_DELAY="200",
        ATTRIBUTOR_LOG_FORMAT="json",
    )
    names = {"POST /v1/attributions", "enqueue", "queue", "run", "pass", "deliver"}
    with httpx.Client(base_url=service.url, timeout=20) as client:
        headers = {"Prefer": "wait=20", "traceparent": f"00-{TRACE}-{CALLER}-01"}
        job = client.post("/v1/attributions", json=pair("raises"), headers=headers).json()
        assert job["state"] == "succeeded"
        found = eventually(lambda: ((of := collector.of(TRACE)).keys() >= names and of) or None, 20)

        [(sender, request)] = found["POST /v1/attributions"]
        assert (sender, request.parent_span_id.hex()) == ("attributor-api", CALLER)
        assert about(request) == {
            "http.request.method": "POST",
            "http.route": "/v1/attributions",
            "http.response.status_code": 200,
        }
        [(sender, enqueue)] = found["enqueue"]
        assert (sender, enqueue.parent_span_id) == ("attributor-api", request.span_id)
        assert about(enqueue)["attributor.job.id"] == job["id"]
        for name in ("queue", "run", "deliver"):
            [(sender, span)] = found[name]
            assert (sender, span.parent_span_id) == ("attributor-worker", enqueue.span_id)
        [(_, run)] = found["run"]
        assert about(run)["attributor.job.id"] == job["id"]
        for sender, made in found["pass"]:
            assert (sender, made.parent_span_id) == ("attributor-worker", run.span_id)
            assert [link.span_id for link in made.links] == [run.span_id]
        total = sum(about(made)["attributor.evaluations"] for _, made in found["pass"])
        assert total >= job["results"][0]["evaluations"], "and what else a pass is asked for"

        not_sampled = f"00-{'a' * 32}-{CALLER}-00"
        client.post("/v1/attributions", json=pair("raises"), headers={**headers, "traceparent": not_sampled})
        own = client.post("/v1/attributions", json=pair("raises"), headers={"Prefer": "wait=20"}).json()
        eventually(
            lambda: any(about(span).get("attributor.job.id") == own["id"] for _, span in list(collector.spans)), 20
        )
    service.stop()
    assert collector.of("a" * 32) == {}, "the caller said that it is not sampled"
    lines = service.log().splitlines()
    assert lines
    assert {json.loads(line)["process"] for line in lines} >= {"serve", "worker"}
    assert not any("tenant" in key for _, span in collector.spans for key in about(span))


def test_a_collector_that_is_away_disturbs_nobody(launch):
    service = launch(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_BSP_SCHEDULE_DELAY="200")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        for _ in range(3):
            asked = client.post("/v1/attributions", json=pair("raises"), headers={"Prefer": "wait=20"})
            assert asked.json()["state"] == "succeeded"
    assert service.stop() == 0
