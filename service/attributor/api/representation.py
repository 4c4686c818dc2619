"""A job as the client wants to see it: JSON, the npy bytes of one attribution, or a picture of it."""

import asyncio
from dataclasses import dataclass

import numpy as np
import orjson
from fastapi import Request, Response
from numpy.typing import NDArray

from attributor.api.answers import job_document, queued_s
from attributor.api.column_documents import Document, answer_documents
from attributor.api.dependencies import Deps
from attributor.api.negotiation import JSON, NPY, PNG, SVG, combined, negotiate, unchanged
from attributor.api.pages import MOST_WITH_JOB, next_link
from attributor.api.result_documents import default_view, npy, subject
from attributor.api.schemas.queries import JobQuery
from attributor.errors import InvalidRequest, JobNotFinished, JobNotFound, NoResult, NotAcceptable
from attributor.jobs.job import JobKind, JobRecord, JobSpec, Visualization
from attributor.jobs.result import AttributionResult, JobResult, PathResult
from attributor.jobs.state import TERMINAL, JobState
from attributor.rendering.draw import draw

#: When to poll again: a job takes milliseconds to seconds.
POLL_AFTER_S = 1
#: What a job can be had as.
JOB_MEDIA_TYPES = (JSON, NPY, PNG)
#: Results that are made into documents while everybody else waits. Ours: 2 ms; beyond, and where pictures are drawn
#: (up to a tenth of a second each), it is done in a thread.
MOST_AT_ONCE = 100


async def known_job(deps: Deps, job_id: str, tenant: str) -> JobRecord:
    """The record of an attribution job. Raises JobNotFound."""
    record = await deps.store.record(job_id, tenant=tenant)
    if record is None or record.kind is not JobKind.ATTRIBUTION:
        raise not_found(job_id)
    return record


def not_found(job_id: str) -> JobNotFound:
    """The error for a job that is not there."""
    return JobNotFound(f"there is no job '{job_id}': it never was, has expired, or was erased")


def as_json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response; arrays of numpy are written as nested numbers."""
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status_code=status, media_type=JSON, headers=headers
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What a request has of a job already, and need not read again; and what it is to be had as, once negotiated."""

    result: JobResult | None = None
    spec: JobSpec | None = None
    media_type: str | None = None


async def finished(deps: Deps, record: JobRecord, known: Known = Known()) -> tuple[AttributionResult, JobSpec]:
    """What a succeeded job answered and was asked. Raises JobNotFinished, NoResult, JobNotFound (erased meanwhile)."""
    if record.state not in TERMINAL:
        raise JobNotFinished(f"job '{record.id}' is {record.state}; wait for its end")
    if record.state is not JobState.SUCCEEDED:
        raise no_result(record)
    result = known.result or await deps.store.result(record.id)
    spec = known.spec or await deps.store.spec(record.id)
    if not isinstance(result, AttributionResult) or spec is None:
        raise not_found(record.id)
    return result, spec


def no_result(record: JobRecord) -> NoResult:
    """The error for a job that failed or was cancelled."""
    why = f": {record.failure.detail}" if record.failure else ""
    return NoResult(f"job '{record.id}' was {record.state}{why}")


def chosen(result: AttributionResult, number: int | None) -> PathResult:
    """One of the results; the only one if no number is given. Raises InvalidRequest."""
    count = len(result)
    if number is None and count > 1:
        raise InvalidRequest(f"the job has {count} results; say which, 0 to {count - 1}", field="result")
    number = number or 0
    if number >= count:
        raise InvalidRequest(f"the job has results 0 to {count - 1}", field="result")
    return result.result(number)


async def job_response(
    deps: Deps, request: Request, record: JobRecord, query: JobQuery, known: Known = Known()
) -> Response:
    """The job by the request's Accept header, with its ETag; 304 if the client has it.

    A job that a request has just created and that has no result yet is JSON in any case.
    """
    media_type = known.media_type or negotiate(combined(request.headers, "accept"), JOB_MEDIA_TYPES)
    if request.method == "POST" and record.state is not JobState.SUCCEEDED:
        media_type = JSON
    position = await _position(deps, record)
    etag = f'W/"{record.revision}.{position}.{media_type}.{query.tag}"'
    headers = _headers(record, etag)
    if request.method == "GET" and unchanged(combined(request.headers, "if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if media_type == JSON:
        results, following = await _results(deps, record, query, known)
        return as_json(job_document(record, position, results, following), headers=headers)
    result, spec = await finished(deps, record, known)
    path = chosen(result, query.result)
    if media_type == NPY:
        return Response(npy(_one_of(path, spec, query.input)), media_type=NPY, headers=headers)
    view = default_view(spec)
    if view is None:
        raise undrawable()
    picture = await asyncio.to_thread(_picture, view, path, spec, PNG)
    return Response(picture, media_type=PNG, headers=headers)


async def accepted(deps: Deps, record: JobRecord) -> Response:
    """202: a job that the request does not wait for, as JSON in any case, and without results where it has some.

    Its ETag is that of no other representation, lest a client who never saw the results is told that it has them.
    """
    position = await _position(deps, record)
    headers = _headers(record, f'W/"{record.revision}.{position}.accepted"')
    return as_json(job_document(record, position, None), 202, headers)


async def _position(deps: Deps, record: JobRecord) -> int | None:
    return await deps.store.position(record.id) if record.state is JobState.QUEUED else None


def _headers(record: JobRecord, etag: str) -> dict[str, str]:
    headers = {"ETag": etag, "Vary": "Accept", "Cache-Control": "private, no-cache"}
    if record.state not in TERMINAL:
        headers["Retry-After"] = str(POLL_AFTER_S)
    return headers


async def _results(
    deps: Deps, record: JobRecord, query: JobQuery, known: Known
) -> tuple[list[Document] | None, str | None]:
    """The first of a succeeded job's results, and where those after them are."""
    if record.state is not JobState.SUCCEEDED:
        return None, None
    result, spec = await finished(deps, record, known)
    if query.result is not None:
        chosen(result, query.result)  # not only that one is answered, but a number that is wrong is wrong here too
    following = next_link(record.id, MOST_WITH_JOB, MOST_WITH_JOB, len(result), query.form)
    made = result, MOST_WITH_JOB, spec, queued_s(record) or 0.0, query.form
    if spec.visualizations or len(result) > MOST_AT_ONCE:
        return await asyncio.to_thread(answer_documents, *made), following
    return answer_documents(*made), following


def _one_of(path: PathResult, spec: JobSpec, name: str | None) -> NDArray[np.float32]:
    """The attributions of the input of that name; without one, of the only one (or of the layer). Raises
    InvalidRequest."""
    if name is None:
        ordered = [each.name for each in spec.declared if each.name in path.attributions] or list(path.attributions)
        if len(ordered) > 1:
            raise InvalidRequest(
                f"there are attributions of {' and '.join(ordered)}; say whose, as in ?input={ordered[0]}",
                field="input",
            )
        name = ordered[0]
    if name not in path.attributions:
        raise InvalidRequest(f"there are attributions of {', '.join(path.attributions)}", field="input")
    return path.attributions[name]


def undrawable() -> NotAcceptable:
    """The error for what no picture can be drawn of."""
    return NotAcceptable(f"there is nothing here that can be drawn; ask for {JSON} or {NPY}", field="Accept")


async def picture_response(
    deps: Deps, request: Request, record: JobRecord, view: Visualization, number: int | None
) -> Response:
    """A picture of a stored result, by the request's Accept header. The model does not run again."""
    media_type = negotiate(combined(request.headers, "accept"), (JSON, PNG, SVG))
    result, spec = await finished(deps, record)
    content = await asyncio.to_thread(_picture, view, chosen(result, number), spec, media_type)
    return Response(content, media_type=media_type, headers={"Vary": "Accept", "Cache-Control": "private, no-cache"})


def _picture(view: Visualization, path: PathResult, spec: JobSpec, media_type: str) -> bytes:
    """Draws; not on the event loop, where everybody else would wait for it."""
    drawing = draw(view, subject(path, spec, view))
    if media_type == PNG:
        return drawing.png()
    return drawing.svg().encode() if media_type == SVG else orjson.dumps(drawing.payload())
