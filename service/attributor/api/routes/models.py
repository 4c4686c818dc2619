"""/v1/models: what is served, what it can do, and its predictions."""

from fastapi import APIRouter, Response

from attributor.api.dependencies import Provided, Tenant
from attributor.api.documents import ModelDocument, ModelListDocument, PredictionDocument
from attributor.api.mapping.specs import prediction_spec
from attributor.api.model_documents import model_document, prediction_document
from attributor.api.problems import documented, job_failed
from attributor.api.progress import wait_until_ended
from attributor.api.readiness import require_servable
from attributor.api.representation import as_json
from attributor.api.schemas.bodies import PredictionBody
from attributor.errors import InvalidRequest, PredictionTimeout
from attributor.jobs.result import PredictionResult

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="List models", responses={200: {"model": ModelListDocument}, **documented(503)})
async def list_models(deps: Provided) -> Response:
    """All versions of all models in the model folder, ready or not, and the bundles that cannot be read."""
    reports = await deps.fleet.model_reports()
    models = []
    for info in deps.catalog.all():
        default = deps.catalog.get(info.name).version == info.version
        models.append(model_document(info, reports.get(info.ref), default=default))
    return as_json({"models": models, "unreadable": dict(deps.catalog.problems)})


@router.get(
    "/{name}", summary="Describe a model", responses={200: {"model": ModelDocument}, **documented(404, 422, 503)}
)
async def get_model(name: str, deps: Provided) -> Response:
    """Inputs, outputs, labels, layers, baselines, and whether it is ready. `name` or `name@version`."""
    info = deps.catalog.get(name)
    reports = await deps.fleet.model_reports()
    default = deps.catalog.get(info.name).version == info.version
    return as_json(model_document(info, reports.get(info.ref), default=default))


@router.post(
    "/{name}:predict",
    summary="Predict",
    responses={200: {"model": PredictionDocument}, **documented(400, 404, 413, 415, 422, 500, 503)},
)
async def predict(name: str, body: PredictionBody, deps: Provided, tenant: Tenant) -> Response:
    """Probabilities and logits for each input, values of a regression, or the best of each position of a sequence."""
    if len(body.inputs) > deps.limits.max_inputs:
        raise InvalidRequest(f"at most {deps.limits.max_inputs} in one request", field="inputs")
    info = deps.catalog.get(name)
    await require_servable(deps, info.ref, info.digest)
    job_id = (await deps.queue.enqueue(prediction_spec(body, info, tenant=tenant))).job_id
    record = await wait_until_ended(deps, job_id, tenant, deps.limits.predict_timeout_s)
    if record is not None and record.failure is not None:
        return job_failed(record.failure)
    result = await deps.store.result(job_id)
    if not isinstance(result, PredictionResult):
        await deps.queue.cancel(job_id, tenant=tenant)
        raise PredictionTimeout(f"no worker answered within {deps.limits.predict_timeout_s:g} s")
    await deps.store.erase(job_id, tenant=tenant)
    return as_json(prediction_document(result, info))
