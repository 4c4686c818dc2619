"""What a worker counts of its jobs and passes."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from attributor.engine.engine import Pass
from attributor.jobs.job import ClaimedJob, Failure, JobKind, Lease
from attributor.jobs.result import AttributionResult, JobResult
from attributor.telemetry import metrics
from attributor.telemetry.metrics import Tally
from attributor.worker.observer import Observer


@dataclass(slots=True)
class _Held:
    lease: Lease
    labels: tuple[str, str]
    taken_at_s: float
    outcome: str = "cancelled"


class JobCounts(Observer):
    """Counts into a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._held: dict[str, _Held] = {}

    def took(self, job: ClaimedJob) -> None:
        """See Observer."""
        spec = job.spec
        method = spec.explanation.method.value if spec.kind is JobKind.ATTRIBUTION else "none"
        self._held[job.lease.job_id] = _Held(job.lease, (spec.kind.value, method), time.monotonic())
        waited_s = max(0.0, job.started_at - job.created_at)
        self._tally.observe(metrics.JOB_WAIT, (spec.kind.value, str(spec.priority)), waited_s)

    def passed(self, done: Pass) -> None:
        """See Observer."""
        model = (done.model,)
        self._tally.count(metrics.EVALUATIONS, model, sum(done.evaluations.values()))
        self._tally.observe(metrics.PASSES, model, done.seconds)
        self._tally.observe(metrics.BATCH_FILL, model, done.fill)
        self._tally.observe(metrics.BATCH_JOBS, model, len(done.evaluations))

    def computed(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        """See Observer."""
        held = self._held.get(lease.job_id)
        if held is None or held.lease != lease:
            return
        if isinstance(outcome, Failure):
            held.outcome = outcome.code
        elif outcome is not None:
            held.outcome = "succeeded"
        if isinstance(outcome, AttributionResult):
            self._count_results(outcome, held.labels[1])

    def settled(self, lease: Lease, *, recorded: bool) -> None:
        """See Observer."""
        held = self._held.get(lease.job_id)
        if held is None or held.lease != lease:
            return
        del self._held[lease.job_id]
        self._tally.count(metrics.JOBS_ENDED, (*held.labels, held.outcome if recorded else "lost"))
        self._tally.observe(metrics.JOB_RUN, held.labels, time.monotonic() - held.taken_at_s)

    def _count_results(self, answer: AttributionResult, method: str) -> None:
        for result in answer.apart:
            self._tally.count(metrics.RESULTS, (method, _word(result.converged)))
            if result.relative_completeness_error is not None:
                self._observe_errors(method, [result.relative_completeness_error])
        for columns in answer.columns:
            self._tally.count(metrics.RESULTS, (method, _word(columns.like.converged)), len(columns))
            self._observe_errors(method, columns.relative_errors[np.isfinite(columns.relative_errors)].tolist())

    def _observe_errors(self, method: str, errors: Iterable[float]) -> None:
        self._tally.observe(metrics.COMPLETENESS_ERROR, (method,), *errors)


class Observers(Observer):
    """Tells several."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def took(self, job: ClaimedJob) -> None:
        """See Observer."""
        for each in self._observers:
            each.took(job)

    def passed(self, done: Pass) -> None:
        """See Observer."""
        for each in self._observers:
            each.passed(done)

    def computed(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        """See Observer."""
        for each in self._observers:
            each.computed(lease, outcome)

    def settled(self, lease: Lease, *, recorded: bool) -> None:
        """See Observer."""
        for each in self._observers:
            each.settled(lease, recorded=recorded)


def _word(converged: bool | None) -> str:
    return "none" if converged is None else str(converged).lower()
