"""A worker's spans of jobs whose requests are traced: their wait, their run, the passes they share, the delivery."""

import time
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context

from attributor.engine.engine import Pass
from attributor.jobs.job import ClaimedJob, Failure, Lease
from attributor.jobs.result import JobResult
from attributor.telemetry.tracing import Tracing, context_of
from attributor.worker.observer import Observer


@dataclass(slots=True)
class _Traced:
    lease: Lease
    within: Context
    run: Span
    delivery: Span | None = None


class JobTraces(Observer):
    """Begins and ends the spans. A pass belongs to the trace of one of its jobs, and has links to all of them."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracer = tracing.tracer
        self._traced: dict[str, _Traced] = {}

    def took(self, job: ClaimedJob) -> None:
        """See Observer."""
        if not job.spec.traceparent:
            return
        within = context_of(job.spec.traceparent)
        about = {"attributor.job.id": job.lease.job_id, "attributor.model": job.spec.ref}
        waited = self._tracer.start_span("queue", within, SpanKind.CONSUMER, about, start_time=_ns(job.created_at))
        waited.end(_ns(job.started_at))
        about |= {"attributor.kind": job.spec.kind.value, "attributor.method": job.spec.explanation.method.value}
        self._traced[job.lease.job_id] = _Traced(
            job.lease, within, self._tracer.start_span("run", within, attributes=about)
        )

    def passed(self, done: Pass) -> None:
        """See Observer."""
        runs = [traced.run for job_id in done.evaluations if (traced := self._traced.get(job_id))]
        if not runs:
            return
        now_ns = time.time_ns()
        about: dict[str, str | float] = {
            "attributor.model": done.model,
            "attributor.evaluations": sum(done.evaluations.values()),
            "attributor.batch.jobs": len(done.evaluations),
            "attributor.batch.fill": done.fill,
        }
        span = self._tracer.start_span(
            "pass",
            set_span_in_context(runs[0]),
            attributes=about,
            links=[Link(run.get_span_context()) for run in runs],
            start_time=now_ns - _ns(done.seconds),
        )
        span.end(now_ns)

    def computed(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        """See Observer."""
        traced = self._traced.get(lease.job_id)
        if traced is None or traced.lease != lease:
            return
        if isinstance(outcome, Failure):
            traced.run.set_status(Status(StatusCode.ERROR, outcome.code))
        traced.run.end()
        traced.delivery = self._tracer.start_span("deliver", traced.within)

    def settled(self, lease: Lease, *, recorded: bool) -> None:
        """See Observer."""
        traced = self._traced.get(lease.job_id)
        if traced is None or traced.lease != lease:
            return
        del self._traced[lease.job_id]
        if traced.delivery is not None:
            traced.delivery.set_attribute("attributor.recorded", recorded)
            traced.delivery.end()


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
