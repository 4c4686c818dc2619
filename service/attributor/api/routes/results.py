"""/v1/attributions/{id}/results: a job's results by the page, also while it runs."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from attributor.api.dependencies import Deps, Provided, Tenant
from attributor.api.documented_pages import ResultsDocument
from attributor.api.pages import Found, page_document
from attributor.api.problems import documented
from attributor.api.representation import POLL_AFTER_S, as_json, finished, known_job, no_result, not_found
from attributor.api.schemas.queries import ResultsQuery
from attributor.jobs.job import JobRecord
from attributor.jobs.result import PartialResult
from attributor.jobs.state import TERMINAL, JobState

router = APIRouter(prefix="/v1/attributions", tags=["attributions"])

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to ask again, while the job has not ended.",
        "schema": {"type": "string"},
    }
}


@router.get(
    "/{job_id}/results",
    summary="Read results by the page, also of a running job",
    responses={200: {"model": ResultsDocument, "headers": _RETRY_AFTER}, **documented(404, 409, 422, 503)},
)
async def get_results(job_id: str, deps: Provided, tenant: Tenant, query: Annotated[ResultsQuery, Query()]) -> Response:
    """The results from number `offset` on, those that are done, and estimates of the inputs that are not.

    Numbers are those of the whole list, input by input, for each input target by target, so that a page is the same
    stretch of it at all times. Estimates are made only while somebody looks: they come a second after the first look.
    A job that failed or was cancelled still has the results of the inputs that were done, if any were.
    """
    found = await _found(deps, await known_job(deps, job_id, tenant), tenant)
    headers = {"Cache-Control": "private, no-cache"}
    if found.record.state not in TERMINAL:
        headers["Retry-After"] = str(POLL_AFTER_S)
    return as_json(await asyncio.to_thread(page_document, found, query), headers=headers)


async def _found(deps: Deps, record: JobRecord, tenant: str) -> Found:
    """What there is of a job. Raises NoResult, JobNotFound (erased meanwhile)."""
    partial = None
    if record.state is not JobState.SUCCEEDED:
        partial = await deps.store.partial(record.id)
    if partial is None and record.state not in TERMINAL:
        record = await known_job(deps, record.id, tenant)  # it may have ended, and what it had with it
    if record.state is JobState.SUCCEEDED:
        answer = deps.last_read.get(record.id)
        if answer is None:
            result, spec = await finished(deps, record)
            answer = await asyncio.to_thread(lambda: result.results), spec
        deps.last_read.keep(record.id, answer)
        results, spec = answer
        return Found(record, spec, PartialResult(results))
    partial = partial or PartialResult(())
    if record.state in TERMINAL and not partial.results:
        raise no_result(record)
    asked = await deps.store.spec(record.id)
    if asked is None:
        raise not_found(record.id)
    return Found(record, asked, partial)
