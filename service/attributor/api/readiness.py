"""Whether a model can be served: what the workers reported, held against the bundle on disk."""

from attributor.api.dependencies import Deps
from attributor.errors import ModelNotReady
from attributor.jobs.model import Readiness


async def require_servable(deps: Deps, ref: str, digest: str) -> None:
    """Raises ModelNotReady if a worker found that this very bundle fails. One still loading may be queued for."""
    report = (await deps.fleet.model_reports()).get(ref)
    if report is not None and report.digest == digest and report.readiness is Readiness.FAILED:
        raise ModelNotReady(f"model '{ref}' is not ready: {report.reason}")
