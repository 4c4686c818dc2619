"""/v1/models: what is served, what it can do, and its predictions."""

from typing import Any

from fastapi import APIRouter, Response

from attributor.api.dependencies import Called, Provided
from attributor.api.documents import ModelDocument, ModelListDocument, PredictionDocument
from attributor.api.mapping.specs import prediction_spec
from attributor.api.model_documents import model_document, prediction_document
from attributor.api.problems import documented, job_failed
from attributor.api.progress import wait_until_ended
from attributor.api.readiness import Reports, is_default, proven, read_aside, servable
from attributor.api.representation import as_json
from attributor.api.schemas.bodies import PredictionBody
from attributor.errors import InvalidRequest, PredictionTimeout
from attributor.jobs.model import ModelInfo
from attributor.jobs.result import PredictionResult
from attributor.ports import ModelCatalog

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="List models", responses={200: {"model": ModelListDocument}, **documented(503)})
async def list_models(deps: Provided) -> Response:
    """All versions of all models in the model folder, ready or not, and the bundles that cannot be read."""
    reports = await deps.fleet.model_reports()
    models = [_document(deps.catalog, info, reports) for info in deps.catalog.all()]
    return as_json({"models": models, "unreadable": dict(deps.catalog.problems)})


@router.get(
    "/{name}", summary="Describe a model", responses={200: {"model": ModelDocument}, **documented(404, 422, 503)}
)
async def get_model(name: str, deps: Provided) -> Response:
    """Inputs, outputs, labels, layers, baselines, and whether it is ready. `name`, `name@version` or `name@alias`."""
    reports = await deps.fleet.model_reports()
    return as_json(_document(deps.catalog, deps.catalog.get(name, proven(reports)), reports))


@router.post(
    "/{name}:predict",
    summary="Predict",
    responses={200: {"model": PredictionDocument}, **documented(400, 404, 413, 415, 422, 429, 500, 503)},
)
async def predict(name: str, body: PredictionBody, deps: Provided, caller: Called) -> Response:
    """Probabilities and logits for each input, values of a regression, or the best of each position of a sequence."""
    if len(body.inputs) > deps.limits.max_inputs:
        raise InvalidRequest(f"at most {deps.limits.max_inputs} in one request", field="inputs")
    model = await servable(deps, name)
    spec = await read_aside(model, prediction_spec, body, model.info, tenant=caller.tenant, sources=model.sources)
    job_id = (await deps.queue.enqueue(spec, answer_to=deps.events.desk, terms=caller.terms)).job_id
    answered = await wait_until_ended(deps, job_id, caller.tenant, deps.limits.predict_timeout_s, just_queued=spec)
    record, result = answered or (None, None)
    if record is not None and record.failure is not None:
        return job_failed(record.failure)
    if not isinstance(result, PredictionResult):
        await deps.queue.cancel(job_id, tenant=caller.tenant)
        raise PredictionTimeout(f"no worker answered within {deps.limits.predict_timeout_s:g} s")
    await deps.store.erase(job_id, tenant=caller.tenant)
    return as_json(prediction_document(result, model.info))


def _document(catalog: ModelCatalog, info: ModelInfo, reports: Reports) -> dict[str, Any]:
    default = is_default(catalog, info, reports)
    return model_document(info, reports.get(info.ref), default=default, aliases=catalog.aliases(info.name))
