"""A body to the job that it asks for: held against limits, model and workers. Refuses; queues nothing."""

from dataclasses import dataclass, replace

from attributor.api.dependencies import Deps
from attributor.api.known_asks import Words
from attributor.api.mapping.cost import cost
from attributor.api.mapping.seeds import is_random
from attributor.api.mapping.specs import attribution_spec, fingerprint
from attributor.api.readiness import Servable, read_aside, servable
from attributor.api.schemas.bodies import AttributionBody
from attributor.errors import InvalidRequest
from attributor.jobs.content import content_key
from attributor.jobs.job import JobSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for. `repeatable`: whether another such request has the same answer; not where chance has a
    part and the client gave no seed."""

    spec: JobSpec
    model: Servable
    repeatable: bool

    @property
    def content_key(self) -> str | None:
        """See JobQueue.enqueue."""
        return content_key(self.spec) if self.repeatable else None


async def asked_again(deps: Deps, words: Words | None) -> Asked | None:
    """The job of a request, where one that differs in its inputs only is known; None: it must be looked at as a whole.
    Raises UnknownModel, UnknownVersion and ModelNotReady, of a model that was there."""
    if words is None or not deps.known_asks.knows(words):
        return None
    model = await servable(deps, words.model)
    spec = deps.known_asks.job(words, model.info)
    return None if spec is None else Asked(spec, model, repeatable=True)


async def asked_for(deps: Deps, body: AttributionBody, tenant: str, *, repeated: bool = False) -> Asked:
    """The job of a body. `repeated`: whether it may be sent again under an idempotency key, and needs a fingerprint.
    Raises RequestErrors and ModelNotReady."""
    if len(body.inputs) > deps.limits.max_inputs:
        raise InvalidRequest(f"at most {deps.limits.max_inputs} in one request", field="inputs")
    model = await servable(deps, body.model)
    report = model.report
    spec = await read_aside(
        model,
        attribution_spec,
        body,
        model.info,
        tenant=tenant,
        layers=report.layers if report else None,
        comparators=report is None or report.comparators,
        sources=model.sources,
    )
    spec = replace(spec, cost=cost(spec, model.info, looks=report is None or report.looks))
    if repeated:
        spec = replace(spec, fingerprint=fingerprint(body))
    return Asked(spec, model, body.seed is not None or not is_random(spec.explanation))


async def asked_in(deps: Deps, words: Words | None, body: AttributionBody, tenant: str) -> Asked:
    """`asked_for`, of a body and its words; what is found is kept for the next one."""
    asked = await asked_for(deps, body, tenant)
    if asked.repeatable and words is not None:
        deps.known_asks.keep(words, asked.spec, asked.model.info)
    return asked
