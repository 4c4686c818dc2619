"""Continuous batching: admit jobs, then step. One step is plan, evaluate, absorb. Pure given a ModelProvider.

Not thread-safe: one caller at a time. A fault of a model ends the job it belongs to and no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from attributor.engine.active_job import ActiveJob
from attributor.engine.explain import explain
from attributor.engine.faults import failure, model_error
from attributor.engine.prediction import predict, prediction_result
from attributor.engine.scheduler import Batch, plan
from attributor.jobs.job import Failure, JobKind, JobSpec, Progress
from attributor.jobs.result import AttributionResult, JobResult
from attributor.ports import Clock, Evaluation, ModelProvider


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended, and how; None: it was cancelled."""

    job_id: str
    outcome: JobResult | Failure | None


class Engine:
    """The jobs being computed on this worker's models."""

    def __init__(self, models: ModelProvider, clock: Clock) -> None:
        self._models = models
        self._clock = clock
        #: In the order of their turns: whoever was served goes to the back.
        self._active: dict[str, ActiveJob] = {}
        self._finished: list[Finished] = []

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self._active and not self._finished

    def admit(self, job_id: str, spec: JobSpec) -> None:
        """Take a job in. One that cannot be served ends at the next step, with the reason.

        A job that is active already starts afresh: it was claimed again because its earlier lease ran out.
        """
        self.cancel(job_id)
        try:
            model = self._models.get(spec.ref, spec.digest)
            on = (model, self._models.info(spec.ref), self._models.reference_set(spec.ref))
            procedure = explain(self._clock) if spec.kind is JobKind.ATTRIBUTION else predict
            job = ActiveJob.of(job_id, spec, on, procedure, self._clock())
        except Exception as error:
            self._finished.append(Finished(job_id, failure(error)))
            return
        self._active[job_id] = job
        for task in job.tasks:
            try:
                task.start()
            except Exception as error:
                self._end(job, failure(error, where=task.work.question.name))
                return

    def cancel(self, job_id: str) -> None:
        """Forget a job; nothing is returned for it. Unknown ids are ignored: it may just have ended."""
        self._finished = [finished for finished in self._finished if finished.job_id != job_id]
        if job := self._active.pop(job_id, None):
            job.close()

    def progress(self) -> Mapping[str, Progress]:
        """How far each active job is."""
        return {job_id: job.progress() for job_id, job in self._active.items()}

    def step(self) -> list[Finished]:
        """One pass of one model over nodes of as many jobs as fit; returns the jobs that ended."""
        batch = plan(self._active.values())
        if batch is not None:
            self._run(batch)
        finished, self._finished = self._finished, []
        return finished

    def _run(self, batch: Batch) -> None:
        """Evaluate a batch and absorb it; if the model raises, each of its jobs alone, to find whose fault it is."""
        jobs = batch.jobs
        evaluations = self._evaluate(batch)
        if evaluations is None:
            if len(jobs) > 1:
                for job in jobs:
                    self._run(batch.of_job(job))
            return
        self._absorb(batch, evaluations)
        for job in jobs:
            if job.id in self._active:
                self._active[job.id] = self._active.pop(job.id)

    def _evaluate(self, batch: Batch) -> list[Evaluation] | None:
        """What the model says; None if it raises, which ends the batch's job if there is only one."""
        try:
            return batch.model.evaluate(batch.points)
        except Exception as error:
            if len(batch.jobs) == 1:
                self._end(batch.jobs[0], failure(model_error(error)))
            return None

    def _absorb(self, batch: Batch, evaluations: list[Evaluation]) -> None:
        for pick, evaluation in zip(batch.picks, evaluations, strict=True):
            job = pick.job
            if job.id not in self._active:
                continue  # failed at an earlier point of this very batch
            try:
                pick.task.tell(pick.place, pick.point, evaluation)
                if pick.task.done and job.done:
                    self._end(job, _outcome(job))
            except Exception as error:
                self._end(job, failure(error, where=pick.task.work.question.name))

    def _end(self, job: ActiveJob, outcome: JobResult | Failure) -> None:
        job.close()
        del self._active[job.id]
        self._finished.append(Finished(job.id, outcome))


def _outcome(job: ActiveJob) -> JobResult:
    if job.spec.kind is JobKind.PREDICTION:
        return prediction_result([task.answer for task in job.tasks], job.tasks[0].work.info)
    return AttributionResult(tuple(result for task in job.tasks for result in task.answer))
