"""/health: whether the process lives, and whether the service can serve."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter, Response

from attributor.api.dependencies import Deps, Provided
from attributor.api.documents import AcceptingDocument, HealthDocument
from attributor.api.representation import as_json
from attributor.errors import StoreUnavailable
from attributor.jobs.model import ModelReport, Readiness

#: The longest that the store is waited for, seconds. Ours: below what the orchestrators' own probes wait for by habit.
STORE_WAIT_S = 3.0

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Liveness")
async def live() -> dict[str, str]:
    """Answers while the process can answer at all."""
    return {"status": "alive"}


@router.get(
    "/accepting",
    summary="Whether jobs can be taken",
    responses={200: {"model": AcceptingDocument}, 503: {"model": AcceptingDocument, "description": "Not now."}},
)
async def accepting(deps: Provided) -> Response:
    """200 when the job store answers and this process goes on; 503 otherwise. For whoever spreads requests: jobs may
    wait for workers that are still to come."""
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            await deps.fleet.workers_alive()
    except (StoreUnavailable, TimeoutError):
        return as_json({"accepting": False}, 503)
    is_accepting = not deps.draining.is_set()
    return as_json({"accepting": is_accepting}, 200 if is_accepting else 503)


@router.get(
    "/ready",
    summary="Readiness",
    responses={200: {"model": HealthDocument}, 503: {"model": HealthDocument, "description": "Not ready."}},
)
async def ready(deps: Provided) -> Response:
    """200 when the job store answers, a worker beats, and a model is ready; 503 with the same body otherwise."""
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            workers = await deps.fleet.workers_alive()
            reports = await deps.fleet.model_reports()
    except (StoreUnavailable, TimeoutError):
        return as_json({"ready": False, "store": False, "workers": 0, "models": {}}, 503)
    models = readiness_by_model(deps, reports)
    is_ready = workers > 0 and deps.events.reading and Readiness.READY in models.values() and not deps.draining.is_set()
    body = {"ready": is_ready, "store": True, "workers": workers, "models": models}
    return as_json(body, 200 if is_ready else 503)


def readiness_by_model(deps: Deps, reports: Mapping[str, ModelReport]) -> Mapping[str, Readiness]:
    """Of every model on disk, by `name@version`."""
    models = {}
    for info in deps.catalog.all():
        report = reports.get(info.ref)
        current = report is not None and report.digest == info.digest
        models[info.ref] = report.readiness if report and current else Readiness.LOADING
    return models
