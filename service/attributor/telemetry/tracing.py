"""OpenTelemetry's traces, if the standard variables say where they go: OTEL_EXPORTER_OTLP_ENDPOINT and its kin.

Off, nothing of it is imported but the API, which the web framework brings, and nothing of it runs. Knows no job.
"""

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer, get_current_span, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from attributor import __version__
from attributor.telemetry.logs import logging_about

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

_W3C = TraceContextTextMapPropagator()
#: Any of these switches traces on, as OpenTelemetry's specification of its environment has it.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"


class Tracing:
    """Where spans are begun, until `close`."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self.tracer: Tracer = provider.get_tracer("attributor", __version__)

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """A span around a request, which is the current one within; it continues the caller's trace, if there is one.
        What is logged within is about it."""
        span = self.tracer.start_span(method, _W3C.extract(headers), SpanKind.SERVER)
        of_span = span.get_span_context()
        about = {"trace_id": f"{of_span.trace_id:032x}", "span_id": f"{of_span.span_id:016x}"}
        with use_span(span, end_on_exit=True), logging_about(**about):
            yield span

    def close(self) -> None:
        """Send what has not been sent; gives up where nobody takes it."""
        self._provider.shutdown()


def open_tracing(process: str) -> Tracing | None:
    """Traces for this process, `attributor-<process>` unless OTEL_SERVICE_NAME says otherwise; None where the
    environment wants none, or they cannot be had, which the log then says."""
    environment = os.environ
    wanted = any(environment.get(name) for name in _ENDPOINTS)
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _HTTP)
    if protocol != _HTTP:
        log.warning("no traces: OTLP is sent by %s, not by %s", _HTTP, protocol)
        return None
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        log.warning("no traces: the extra `telemetry` is not installed")
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create(
        {
            "service.name": environment.get("OTEL_SERVICE_NAME") or f"attributor-{process}",
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def traceparent_of_current() -> str:
    """The W3C header that continues the current trace; empty where there is none, or it is not recorded."""
    span = get_current_span()
    if not span.is_recording():
        return ""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")


def context_of(traceparent: str) -> Context:
    """What such a header says."""
    return _W3C.extract({"traceparent": traceparent})
