"""Errors as RFC 9457 problem documents: the one place that knows HTTP numbers."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from attributor import errors
from attributor.api.schemas.fields import is_tag
from attributor.errors import AttributorError, Unavailable
from attributor.jobs.job import Failure

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Seconds after which an overloaded or starting service is worth asking again. Ours: about a worker's start.
RETRY_AFTER_S = 5

#: Code -> (status, title). A code that is not here is a defect: 500.
STATUS: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON"),
    errors.InvalidRequest.code: (422, "The request does not have the documented form"),
    errors.InvalidInput.code: (422, "An input value cannot be used"),
    errors.InvalidShape.code: (422, "A tensor has the wrong shape"),
    errors.InvalidImage.code: (422, "The picture cannot be used"),
    errors.ImageTooLarge.code: (422, "The picture is too large"),
    errors.InvalidBase64.code: (422, "The text is not base64"),
    errors.UnknownModel.code: (404, "No such model"),
    errors.UnknownVersion.code: (404, "No such version of the model"),
    errors.UnknownClass.code: (422, "The model has no such class"),
    errors.UnknownBaseline.code: (422, "The model has no such baseline"),
    errors.UnknownLayer.code: (422, "The model has no such layer"),
    errors.UnsupportedByModel.code: (422, "The model cannot be explained in that way"),
    errors.UnsupportedVisualization.code: (422, "That picture cannot be drawn for this input"),
    errors.IdempotencyConflict.code: (422, "The idempotency key was used with another body"),
    errors.JobNotFound.code: (404, "No such job"),
    errors.JobNotFinished.code: (409, "The job is not finished"),
    errors.NoResult.code: (409, "The job ended without a result"),
    errors.NotAcceptable.code: (406, "No such representation"),
    errors.ModelNotReady.code: (503, "The model is not ready"),
    errors.QueueFull.code: (503, "The queue is full"),
    errors.StoreUnavailable.code: (503, "The job store does not answer"),
    errors.PredictionTimeout.code: (503, "No worker answered in time"),
    errors.ModelError.code: (500, "The model raised an error"),
    errors.NonFiniteScore.code: (422, "The model's output is not finite"),
    errors.NonFiniteGradient.code: (422, "The model's gradient is not finite"),
    errors.NoOtherClass.code: (422, "No input of another class was found"),
    errors.WorkerLost.code: (500, "The workers that held the job died"),
    errors.InternalError.code: (500, "A defect of the service"),
    "not_found": (404, "No such resource"),
    "method_not_allowed": (405, "The resource does not have that method"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be application/json"),
}
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
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, Unavailable) else None
    if error.field is None:
        return problem(error.code, error.detail, headers=headers)
    return problem(error.code, f"{error.field}: {error.detail}", [(error.field, error.detail)], headers)


def job_failed(failure: Failure) -> Response:
    """A job's failure as a problem, for requests that wait for the job."""
    return problem(failure.code, failure.detail)


def _validation(error: RequestValidationError) -> Response:
    """Pydantic's findings, in our form."""
    fields = []
    for found in error.errors()[:MOST_FAULTS]:
        where = [str(part) for part in found["loc"]]
        if found["type"] == "json_invalid":
            return problem("malformed_json", f"the body is not JSON: {found['ctx']['error']} (byte {where[-1]})")
        if where[0] in {"body", "query", "header", "path"} and len(where) > 1:
            where = where[1:]
        own = where[-1:] if found["type"] == "extra_forbidden" else []  # what the client wrote is no tag of ours
        where = [part for part in where[: len(where) - len(own)] if not is_tag(part)] + own
        text = "is not a field here" if found["type"] == "extra_forbidden" else found["msg"]
        fields.append((".".join(where), text.removeprefix("Value error, ")))
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

    @app.exception_handler(Exception)
    async def on_defect(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(errors.InternalError.code, "a defect of the service; its log has the details")
