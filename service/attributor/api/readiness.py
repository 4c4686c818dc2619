"""Whether a model can be served: what the workers reported, held against the bundle on disk."""

from attributor.api.dependencies import Deps
from attributor.errors import ModelNotReady
from attributor.jobs.model import ModelReport, Readiness


async def require_servable(deps: Deps, ref: str, digest: str) -> ModelReport | None:
    """What a worker found when it loaded this very bundle; None while none has. One still loading may be queued for.

    Raises ModelNotReady if it fails.
    """
    report = (await deps.fleet.model_reports()).get(ref)
    if report is None or report.digest != digest:
        return None
    if report.readiness is Readiness.FAILED:
        raise ModelNotReady(f"model '{ref}' is not ready: {report.reason}")
    return report if report.readiness is Readiness.READY else None
