"""Errors as RFC 9457 problem documents: the one place that knows HTTP numbers."""

import json
import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from attributor import errors
from attributor.api.faults import told
from attributor.api.problem_codes import CODES
from attributor.errors import AttributorError, Unauthorized, Unavailable
from attributor.jobs.job import Failure

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Seconds after which an overloaded or starting service is worth asking again. Ours: about a worker's start.
RETRY_AFTER_S = 5

#: Code -> (status, title).
STATUS: dict[str, tuple[int, str]] = {code: (each.status, each.title) for code, each in CODES.items()}
#: 400 is the framework's word for bytes that are no UTF-8, are nested too deeply, or hold an endless number.
_BY_STATUS = {
    400: "malformed_json",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
#: So many faults are listed; ours: more help nobody, and a body of a million wrong entries would get them all back.
MOST_FAULTS = 20
#: RFC 6750, 3: with an error code where a key was sent.
_CHALLENGE = 'Bearer realm="attributor"'
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class FieldError(BaseModel):
    """One thing that is wrong with the request."""

    field: str = Field(description="Dotted path into the body, or the name of a header or query parameter.")
    detail: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(description="A page about this code, relative to the service.")
    title: str
    status: int
    code: str = Field(description="Stable; switch on this.")
    detail: str
    errors: list[FieldError] | None = None

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "type": "/problems/invalid_input",
                    "title": "An input value cannot be used",
                    "status": 422,
                    "code": "invalid_input",
                    "detail": "inputs.0.features.mean radius: must be a finite number, not NaN",
                    "errors": [
                        {"field": "inputs.0.features.mean radius", "detail": "must be a finite number, not NaN"}
                    ],
                }
            ]
        }
    }


def problem(
    code: str, detail: str, fields: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
) -> Response:
    """A problem document as a response."""
    status, title = STATUS.get(code, STATUS[errors.InternalError.code])
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if fields:
        body["errors"] = [{"field": name, "detail": text} for name, text in fields]
    # All ASCII: the texts may quote the client, lone surrogates included, which have no UTF-8.
    return Response(json.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def stated(error: AttributorError) -> Response:
    """One of our errors as a problem."""
    headers = None
    if isinstance(error, Unavailable):
        headers = {"Retry-After": str(_retry_after_s(error))}
    elif isinstance(error, Unauthorized):
        headers = {"WWW-Authenticate": _CHALLENGE + (', error="invalid_token"' if error.refused else "")}
    if error.field is None:
        return problem(error.code, error.detail, headers=headers)
    return problem(error.code, f"{error.field}: {error.detail}", [(error.field, error.detail)], headers)


def _retry_after_s(error: Unavailable) -> int:
    """Whole seconds, as HTTP has them; never 0, which would be sent again at once."""
    return RETRY_AFTER_S if error.retry_after_s is None else max(1, math.ceil(error.retry_after_s))


def job_failed(failure: Failure) -> Response:
    """A job's failure as a problem, for requests that wait for the job."""
    return problem(failure.code, failure.detail)


def defective(request: Request, error: Exception) -> Response:
    """The problem for what nobody foresaw; the log has it."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(errors.InternalError.code, "a defect of the service; its log has the details")


def _validation(error: RequestValidationError) -> Response:
    """Pydantic's findings, in our form."""
    fields = []
    for found in error.errors()[:MOST_FAULTS]:
        if found["type"] == "json_invalid":
            return problem("malformed_json", f"the body is not JSON: {found['ctx']['error']} (byte {found['loc'][-1]})")
        fields.append(told(found))
    detail = "; ".join(f"{name}: {text}" for name, text in fields)
    return problem(errors.InvalidRequest.code, detail, fields)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses, each a problem document."""
    return {
        status: {"model": Problem, "description": "; ".join(t for s, t in STATUS.values() if s == status)}
        for status in statuses
    }


def _allowed(request: Request) -> list[str]:
    """The methods that some route has at the request's path; the framework names those of the first route only."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document; nothing else reaches a client."""

    @app.exception_handler(AttributorError)
    async def on_stated(_: Request, error: AttributorError) -> Response:
        return stated(error)

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and not (media_type == "application/json" or media_type.endswith("+json")):
            return problem(
                "unsupported_media_type",
                "send Content-Type: application/json" + (f", not {media_type}" if media_type else ""),
            )
        return _validation(error)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, errors.InvalidRequest.code)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request))
        return problem(code, f"{request.method} {request.url.path}: {error.detail}", headers=headers)

    @app.exception_handler(ClientDisconnect)
    async def on_hanging_up(_: Request, __: ClientDisconnect) -> Response:
        """Of a client that went away while it sent: no defect, and nobody is there to read this."""
        return Response(status_code=400)

    @app.exception_handler(Exception)
    async def on_defect(request: Request, error: Exception) -> Response:
        return defective(request, error)
