"""/v1/quarantine: jobs that killed workers, for those who look after the service."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from attributor.api.answers import failure_document, rfc3339
from attributor.api.asked_documents import asked_document
from attributor.api.dependencies import Provided
from attributor.api.documents import QuarantinedDocument, QuarantineDocument
from attributor.api.problems import documented
from attributor.api.representation import as_json
from attributor.errors import JobNotFound
from attributor.jobs.job import JobKind, JobRecord

router = APIRouter(prefix="/v1/quarantine", tags=["quarantine"])


@router.get(
    "", summary="List jobs in quarantine", responses={200: {"model": QuarantineDocument}, **documented(422, 503)}
)
async def list_quarantined(
    deps: Provided, limit: Annotated[int, Query(ge=1, le=1000, description="Most jobs to show.")] = 100
) -> Response:
    """Jobs that were lost with their workers again and again, the last time while nothing else was computed there.

    They have failed with `worker_lost`, and stay until they expire.
    """
    records = await deps.quarantine.page(limit)
    return as_json({"quarantined": [_document(record) for record in records]})


@router.get(
    "/{job_id}",
    summary="Inspect a job in quarantine",
    responses={200: {"model": QuarantinedDocument}, **documented(404, 422, 503)},
)
async def inspect_quarantined(job_id: str, deps: Provided) -> Response:
    """What was asked, without the inputs, and how it ended."""
    record = await deps.quarantine.record(job_id)
    spec = await deps.store.spec(job_id)
    if record is None or spec is None:
        raise _not_there(job_id)
    asked = asked_document(spec) if spec.kind is JobKind.ATTRIBUTION else None
    return as_json(_document(record, asked))


@router.post(
    "/{job_id}:retry",
    status_code=204,
    summary="Retry a job in quarantine",
    responses={204: {"description": "It is queued, under its old id."}, **documented(404, 422, 503)},
)
async def retry_quarantined(job_id: str, deps: Provided) -> Response:
    """Queue it again, once more alone: a worker that it kills takes no other job with it."""
    if not await deps.quarantine.retry(job_id):
        raise _not_there(job_id)
    return Response(status_code=204)


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Drop a job in quarantine",
    responses={204: {"description": "Its input and record are erased."}, **documented(404, 422, 503)},
)
async def drop_quarantined(job_id: str, deps: Provided) -> Response:
    """Erase it before it expires."""
    if not await deps.quarantine.drop(job_id):
        raise _not_there(job_id)
    return Response(status_code=204)


def _not_there(job_id: str) -> JobNotFound:
    return JobNotFound(
        f"there is no job '{job_id}' in quarantine: it never was, was retried, has expired, or was dropped"
    )


def _document(record: JobRecord, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    """QuarantinedDocument."""
    return {
        "id": record.id,
        "tenant": record.tenant,
        "model": {"name": record.model, "version": record.version, "digest": record.digest},
        "inputs": record.n_inputs,
        "attempts": record.attempts,
        "created_at": rfc3339(record.created_at),
        "quarantined_at": rfc3339(record.finished_at),
        "expires_at": rfc3339(record.expires_at),
        "error": failure_document(record.failure),
        "asked": asked,
    }
