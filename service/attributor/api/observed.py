"""The outermost ASGI layer: counts requests, and traces them where that is wanted. Around the quick ways, too."""

import time

import orjson
from opentelemetry.trace import Span, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attributor.api.quick import Application
from attributor.telemetry import metrics
from attributor.telemetry.metrics import Tally
from attributor.telemetry.tracing import Tracing

#: What requests to no route are counted under: their paths are the clients'.
UNMATCHED = "unmatched"
#: Refusals for want of room, or of a part of the service.
REFUSED = (429, 503)
_METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))


class Observed:
    """`app`, with its requests counted by route; `guarded`: the same behind what stands before it."""

    def __init__(self, app: Application, guarded: ASGIApp, tally: Tally, tracing: Tracing | None = None) -> None:
        self._app = app
        self._guarded = guarded
        self._tally = tally
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._guarded(scope, receive, send)
        elif self._tracing is None:
            await self._counted(scope, receive, send, None)
        else:
            # All ASCII by HTTP's own words; what is not is no trace context.
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            with self._tracing.request(_method(scope), headers) as span:
                await self._counted(scope, receive, send, span)

    async def _counted(self, scope: Scope, receive: Receive, send: Send, span: Span | None) -> None:
        began_s = time.perf_counter()
        status = 0

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._count(scope, status, time.perf_counter() - began_s, span)
            elif status in REFUSED:
                self._count_refusal(message.get("body", b""))
            await send(message)

        await self._guarded(scope, receive, counting)

    def _count(self, scope: Scope, status: int, seconds: float, span: Span | None) -> None:
        method, route = _method(scope), self._route(scope)
        self._tally.count(metrics.HTTP_REQUESTS, (method, route, f"{status // 100}xx"))
        self._tally.observe(metrics.HTTP_DURATION, (method, route), seconds)
        if span is not None:
            span.update_name(f"{method} {route}")
            span.set_attribute("http.request.method", method)
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))

    def _route(self, scope: Scope) -> str:
        """Its template: what a client wrote into a path must not become a label."""
        if scope["path"] in self._app.quick_paths:  # quick ways find no route
            return str(scope["path"])
        return str(getattr(scope.get("route"), "path", UNMATCHED))

    def _count_refusal(self, body: bytes) -> None:
        try:
            code = orjson.loads(body)["code"]
        except (ValueError, KeyError, TypeError):  # the readiness document, or no body
            return
        self._tally.count(metrics.HTTP_REFUSALS, (code,))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
