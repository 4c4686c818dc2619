"""/v1/attributions: create, list, poll, watch, draw, cancel and erase jobs."""

from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from attributor.api.answers import job_document, summary
from attributor.api.asking import Asked, asked_again, asked_for, asked_in
from attributor.api.dependencies import Called, Deps, Provided, StillOpens, Tenant, caller_of
from attributor.api.documents import JobDocument, JobPageDocument
from attributor.api.examples import EXAMPLES
from attributor.api.gate import while_it_opens
from attributor.api.known_asks import words_of
from attributor.api.negotiation import JSON, NPY, PNG, SVG, combined, negotiate, wanted_wait_s
from attributor.api.problems import documented, stated
from attributor.api.progress import event_stream, wait_until_ended
from attributor.api.representation import (
    JOB_MEDIA_TYPES,
    Known,
    accepted,
    as_json,
    job_response,
    known_job,
    not_found,
    picture_response,
    undrawable,
)
from attributor.api.result_documents import default_view
from attributor.api.schemas.bodies import AttributionBody
from attributor.api.schemas.pictures import PictureQuery
from attributor.api.schemas.queries import FormQuery, JobQuery, ListQuery
from attributor.errors import NotAcceptable, StoreUnavailable
from attributor.jobs.access import Caller
from attributor.jobs.job import JobSpec, Visualization, VisualizationKind
from attributor.jobs.state import TERMINAL, JobState

router = APIRouter(prefix="/v1/attributions", tags=["attributions"])

#: IETF draft "The Idempotency-Key HTTP Header Field" leaves it open; 255 is what services in use take.
LONGEST_KEY = 255
#: Query strings whose meaning is remembered: clients send the same ones. Ours: a kilobyte each at most, in practice.
_REMEMBERED = 64
_BINARY: dict[str, Any] = {NPY: {"schema": {"type": "string", "format": "binary"}}}
_PICTURE: dict[str, Any] = {PNG: {"schema": {"type": "string", "format": "binary"}}}
_SVG: dict[str, Any] = {SVG: {"schema": {"type": "string"}}}

_HEADERS = {
    "Location": "Where the job is.",
    "ETag": "The job's revision, for If-None-Match.",
    "Retry-After": "Seconds after which to poll again, while the job has not ended.",
    "Preference-Applied": "The wait that was granted.",
    "Idempotency-Replayed": "`true` where the key named an earlier job.",
}


def _headers(*names: str) -> dict[str, Any]:
    """Response headers for the OpenAPI document."""
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}


_CREATED = _headers("Location", "ETag", "Idempotency-Replayed")

Prefer = Annotated[
    list[str] | None, Header(description="`wait=N`: answer with the result if it is there within N seconds.")
]


async def create_attribution(
    body: Annotated[AttributionBody, Body(openapi_examples=EXAMPLES)],
    request: Request,
    deps: Provided,
    caller: Called,
    query: Annotated[FormQuery, Query()],
    prefer: Prefer = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=LONGEST_KEY, description="A retry with the same key and body is the same job.")
    ] = None,
) -> Response:
    """Queue one job that explains every input of the body."""

    async def asking() -> Asked:
        return await asked_for(
            deps, body, caller.tenant, repeated=True
        )  # to make a fingerprint finds absurd nesting, too

    wanted = query.of_a_job()
    return await _created(asking, request, deps, caller, wanted, ", ".join(prefer or ()), idempotency_key or None)


async def quickly_created(deps: Deps, request: Request, document: Any) -> Response | None:
    """The answer to a request with a plain body and no idempotency key."""
    query = _known_query(request.scope["query_string"])
    if query is None or "idempotency-key" in request.headers:
        return None
    caller = await caller_of(request)
    tenant = caller.tenant
    asking: Callable[[], Awaitable[Asked]]
    words = words_of(document, tenant)
    if (known := await asked_again(deps, words)) is not None:
        asking = partial(_itself, known)
    else:
        try:
            body = AttributionBody.model_validate(document)
        except ValidationError:
            return None
        asking = partial(asked_in, deps, words, body, tenant)
    return await _created(asking, request, deps, caller, query, combined(request.headers, "prefer"), None)


@lru_cache(_REMEMBERED)
def _known_query(raw: bytes) -> JobQuery | None:
    """How results are wanted by a query string; None where something is wrong with it, which the framework tells."""
    try:
        asked = dict(parse_qsl(raw.decode(), keep_blank_values=True))  # the last of several, as the framework has it
        return FormQuery.model_validate(asked).of_a_job()
    except ValueError:
        return None


async def _itself(asked: Asked) -> Asked:
    return asked


async def _created(
    asking: Callable[[], Awaitable[Asked]],
    request: Request,
    deps: Deps,
    caller: Caller,
    query: JobQuery,
    prefer: str | None,
    idempotency_key: str | None,
) -> Response:
    media_type = negotiate(combined(request.headers, "accept"), JOB_MEDIA_TYPES)  # refused before anything is queued
    wait_s = wanted_wait_s(prefer, deps.limits.max_wait_s)
    asked = await asking()
    _require_representable(asked.spec, media_type)
    enqueued = await deps.queue.enqueue(
        asked.spec,
        idempotency_key=idempotency_key,
        content_key=asked.content_key if deps.shares_answers else None,
        answer_to=deps.events.desk if wait_s else None,
        terms=caller.terms,
    )
    try:
        if wait_s is None:
            response = await accepted(deps, await known_job(deps, enqueued.job_id, caller.tenant))
        else:
            queued = asked.spec if enqueued.waits else None
            answered = await wait_until_ended(deps, enqueued.job_id, caller.tenant, wait_s, just_queued=queued)
            if answered is None:
                raise not_found(enqueued.job_id)
            record, result = answered
            known = Known(result, None if enqueued.replayed else asked.spec, media_type)
            response = await job_response(deps, request, record, query, known)
            response.raw_headers.append((b"preference-applied", b"wait=%g" % wait_s))
            if record.state not in TERMINAL:
                response.status_code = 202
    except StoreUnavailable as error:  # it was queued, so the client is told where, and need not send it again
        response = stated(error)
    response.raw_headers.append((b"location", b"/v1/attributions/" + enqueued.job_id.encode()))
    if enqueued.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


router.add_api_route(
    "",
    create_attribution,
    methods=["POST"],
    status_code=202,
    summary="Create a job",
    responses={
        200: {
            "model": JobDocument,
            "content": _BINARY | _PICTURE,
            "headers": _CREATED | _headers("Preference-Applied"),
            "description": "Finished within `Prefer: wait`.",
        },
        202: {
            "model": JobDocument,
            "headers": _CREATED | _headers("Retry-After"),
            "description": "Accepted; poll `Location`. Without results, also where the job is answered at once.",
        },
        **documented(400, 404, 406, 413, 415, 422, 429, 503),
    },
)


def _require_representable(spec: JobSpec, media_type: str) -> None:
    """Before anything is queued: whether its answer will have the form that is wanted. Raises NotAcceptable."""
    if media_type != JSON and len(spec.inputs) * len(spec.explanation.targets) > 1:
        raise NotAcceptable(
            f"{media_type} holds one result; send one input and one target, or take {JSON} and then GET the job with "
            "?result=N",
            field="Accept",
        )
    attributed = [each.name for each in spec.declared if each.attributed]
    if media_type == NPY and len(attributed) > 1 and spec.explanation.layer is None:
        raise NotAcceptable(
            f"{media_type} holds one input's attributions, and these are of {' and '.join(attributed)}; take {JSON} "
            f"and then GET the job with ?input={attributed[0]}",
            field="Accept",
        )
    if media_type == PNG and default_view(spec) is None:
        raise undrawable()


@router.get(
    "",
    summary="List jobs, newest first",
    responses={200: {"model": JobPageDocument}, **documented(422, 503)},
)
async def list_attributions(
    deps: Provided,
    tenant: Tenant,
    query: Annotated[ListQuery, Query()],
) -> Response:
    """Jobs without their results."""
    page = await deps.store.page(tenant=tenant, **query.model_dump())
    document = {"attributions": [summary(r, None) for r in page.records], "next_cursor": page.next_cursor}
    return as_json(document, headers={"Cache-Control": "private, no-cache"})


@router.get(
    "/{job_id}",
    summary="Poll a job",
    responses={
        200: {"model": JobDocument, "content": _BINARY | _PICTURE, "headers": _headers("ETag", "Retry-After")},
        304: {"description": "Nothing has changed since the ETag in If-None-Match."},
        **documented(404, 406, 409, 422, 503),
    },
)
async def get_attribution(
    job_id: str,
    request: Request,
    deps: Provided,
    tenant: Tenant,
    query: Annotated[JobQuery, Query()],
    prefer: Annotated[
        list[str] | None, Header(description="`wait=N`: answer when done, after N seconds at most.")
    ] = None,
) -> Response:
    """The job, with its results once it succeeded; by Accept the npy bytes or a PNG of one result."""
    record = await known_job(deps, job_id, tenant)
    wait_s = wanted_wait_s(", ".join(prefer or ()), deps.limits.max_wait_s)
    if wait_s is not None and record.state not in TERMINAL:
        waited = await wait_until_ended(deps, job_id, tenant, wait_s)
        if waited is None:
            raise not_found(job_id)
        return await job_response(deps, request, waited[0], query, Known(waited[1]))
    return await job_response(deps, request, record, query)


@router.get(
    "/{job_id}/events",
    summary="Watch a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "Server-sent events `state`, `progress` and, last, `end`.",
        },
        **documented(404, 422, 503),
    },
)
async def watch_attribution(job_id: str, deps: Provided, tenant: Tenant, still_opens: StillOpens) -> StreamingResponse:
    """Evaluations done, running completeness error and queue position, as they change."""
    await known_job(deps, job_id, tenant)
    return StreamingResponse(
        while_it_opens(event_stream(deps, job_id, tenant), still_opens),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get(
    "/{job_id}/visualizations/{kind}",
    summary="Draw a stored result",
    responses={
        200: {"content": {JSON: {"schema": {"type": "object"}}} | _PICTURE | _SVG},
        **documented(404, 406, 409, 422, 503),
    },
)
async def draw_attribution(
    job_id: str,
    kind: VisualizationKind,
    request: Request,
    deps: Provided,
    tenant: Tenant,
    query: Annotated[PictureQuery, Query()],
) -> Response:
    """A picture with any options, as JSON, PNG or SVG by Accept; the model does not run again."""
    record = await known_job(deps, job_id, tenant)
    view = Visualization(kind, **query.model_dump(exclude={"result"}))
    return await picture_response(deps, request, record, view, query.result)


@router.delete(
    "/{job_id}",
    summary="Cancel or erase a job",
    responses={
        200: {"model": JobDocument, "description": "It was queued, and is cancelled."},
        202: {"model": JobDocument, "description": "It is running, and will be cancelled."},
        204: {"description": "It had ended; its input, result and pictures are erased."},
        **documented(404, 422, 503),
    },
)
async def delete_attribution(job_id: str, deps: Provided, tenant: Tenant) -> Response:
    """Cancel a job that is queued or running; erase one that has ended."""
    record = await known_job(deps, job_id, tenant)
    state = record.state
    if state not in TERMINAL:
        state = await deps.queue.cancel(job_id, tenant=tenant) or state
        if state in (JobState.CANCELLED, JobState.RUNNING):
            record = await known_job(deps, job_id, tenant)
            document = job_document(record, None, None)
            return as_json(document, 200 if state is JobState.CANCELLED else 202)
    # It had ended, perhaps a moment ago: then the same request erases it.
    if not await deps.store.erase(job_id, tenant=tenant):
        raise not_found(job_id)
    return Response(status_code=204)
