"""/metrics: the service in numbers, as Prometheus reads them. Any API process tells those of all processes."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family

from attributor import __version__
from attributor.api.dependencies import Provided
from attributor.api.routes.health import STORE_WAIT_S, readiness_by_model
from attributor.errors import StoreUnavailable
from attributor.jobs.figures import Figures
from attributor.jobs.model import Readiness
from attributor.telemetry.exposition import counted_families, counter, exposition, gauge

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text."}},
)
async def metrics(deps: Provided) -> Response:
    """Those of the whole service, whichever process answers. While the store is away: only that it is."""
    families = [gauge("attributor_info", "The release that answers.", ("version",), [((__version__,), 1)])]
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            figures = await deps.fleet.figures()
            models = readiness_by_model(deps, await deps.fleet.model_reports())
    except (StoreUnavailable, TimeoutError):
        families.append(_store_up(is_up=False))
    else:
        families += [_store_up(is_up=True), *_of_service(figures), _of_models(models)]
        families += counted_families(figures.counted)
    return Response(exposition(families), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _store_up(*, is_up: bool) -> Family:
    return gauge("attributor_store_up", "Whether the job store answers.", (), [((), is_up)])


def _of_service(figures: Figures) -> Iterator[Family]:
    lines = [((str(line.priority), "comparator" if line.comparison else "engine"), line) for line in figures.lines]
    by = ("priority", "computed_by")
    yield gauge("attributor_queue_jobs", "Jobs that wait for a worker.", by, [(of, line.jobs) for of, line in lines])
    yield gauge(
        "attributor_queue_cost", "Evaluations expected of what waits.", by, [(of, line.cost) for of, line in lines]
    )
    for name, text, number in (
        ("attributor_queue_followers", "Queued jobs that wait for the answer to an equal one.", figures.followers),
        ("attributor_queue_suspects", "Queued jobs that are to be computed alone.", figures.suspects),
        ("attributor_running_jobs", "Jobs that workers hold.", figures.running),
        ("attributor_quarantined_jobs", "Jobs in quarantine.", figures.in_quarantine),
        ("attributor_workers", "Workers that beat recently.", figures.workers),
    ):
        yield gauge(name, text, (), [((), number)])
    redelivered = "Jobs taken from a worker that fell silent, and queued again."
    yield counter("attributor_redeliveries", redelivered, figures.redelivered)
    yield counter("attributor_quarantines", "Jobs put into quarantine.", figures.quarantined)


def _of_models(models: Mapping[str, Readiness]) -> Family:
    counts = Counter(models.values())
    samples = [((readiness.value,), counts[readiness]) for readiness in Readiness]
    return gauge("attributor_models", "Versions of models on disk, by what workers say.", ("readiness",), samples)
