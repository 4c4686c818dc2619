"""/v1/attributions:estimate: what a job would cost."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from attributor.api.asking import Asked, asked_for
from attributor.api.dependencies import Provided, Tenant
from attributor.api.documented_expected import ExpectedDocument
from attributor.api.examples import EXAMPLES
from attributor.api.mapping.expecting import Expected, expected
from attributor.api.problems import documented
from attributor.api.representation import as_json
from attributor.api.schemas.bodies import AttributionBody

router = APIRouter(tags=["attributions"])


@router.post(
    "/v1/attributions:estimate",
    summary="Estimate what a job would cost",
    responses={200: {"model": ExpectedDocument}, **documented(400, 404, 413, 415, 422, 503)},
)
async def estimate_attribution(
    body: Annotated[AttributionBody, Body(openapi_examples=EXAMPLES)], deps: Provided, tenant: Tenant
) -> Response:
    """Evaluations, seconds and bytes of the job that the same body would create, or the refusal that it would get.

    Nothing is queued, and no model runs.
    """
    asked = await asked_for(deps, body, tenant)
    spec = asked.spec
    waiting = await deps.store.waiting(priority=spec.priority, comparison=spec.is_comparison)
    return as_json(_document(asked, expected(body, spec, asked.model.info, asked.model.report), waiting))


def _document(asked: Asked, found: Expected, jobs_ahead: int) -> dict[str, Any]:
    """ExpectedDocument."""
    spec, memory = asked.spec, found.memory
    return {
        "model": {"name": spec.model, "version": spec.version, "digest": spec.digest},
        "inputs": len(spec.inputs),
        "per_input": asdict(found.per_input),
        "total": asdict(found.total),
        "compute_s": asdict(found.seconds) if found.seconds else None,
        "compute_reason": found.reason,
        "queue": {"jobs_ahead": jobs_ahead, "wait_s": None if jobs_ahead else 0.0},
        "memory_bytes": {
            **asdict(memory),
            "total": None if memory.one_pass is None else memory.points + memory.vectors + memory.one_pass,
        },
        "answer_bytes": found.answer_bytes,
    }
