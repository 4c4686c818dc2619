"""Continuous batching: admit jobs, then step. One step is plan, evaluate, absorb. Pure given a ModelProvider.

Not thread-safe: one caller at a time. A fault of a model ends the job it belongs to and no other.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from attributor.engine.active_job import ActiveJob
from attributor.engine.answer import path_result, prediction_result
from attributor.engine.scheduler import Batch, plan
from attributor.errors import AttributorError, InternalError, ModelError
from attributor.jobs.job import Failure, JobKind, JobSpec, Progress
from attributor.jobs.result import AttributionResult, JobResult
from attributor.ports import Clock, Evaluation, GradientModel, ModelProvider, PathSpec

log = logging.getLogger(__name__)

#: Of a model's own exception message, so much reaches the client. Ours: a sentence, not a dump.
MESSAGE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended, and how."""

    job_id: str
    outcome: JobResult | Failure


class Engine:
    """The jobs being computed on this worker's models."""

    def __init__(self, models: ModelProvider, clock: Clock) -> None:
        self._models = models
        self._clock = clock
        #: In the order of their turns: whoever was served goes to the back.
        self._active: dict[str, ActiveJob] = {}
        self._finished: list[Finished] = []

    @property
    def active(self) -> int:
        """Admitted jobs that have not ended."""
        return len(self._active)

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self._active and not self._finished

    def admit(self, job_id: str, spec: JobSpec) -> None:
        """Take a job in. One whose model cannot serve it ends at the next step, with the reason."""
        job = ActiveJob.start(job_id, spec, self._clock())
        try:
            model = self._models.get(spec.ref, spec.digest)
            for path, example in zip(job.paths, spec.inputs, strict=True):
                model.open(path.id, PathSpec(example, spec.baseline, spec.target))
        except Exception as error:
            self._finished.append(Finished(job_id, failure(error)))
            return
        self._active[job_id] = job

    def cancel(self, job_id: str) -> None:
        """Forget a job; nothing is returned for it. Unknown ids are ignored: it may just have ended."""
        if job := self._active.pop(job_id, None):
            self._close(job)

    def progress(self) -> Mapping[str, Progress]:
        """How far each active job is."""
        return {job_id: job.progress() for job_id, job in self._active.items()}

    def step(self) -> list[Finished]:
        """One pass of one model over nodes of as many jobs as fit; returns the jobs that ended."""
        batch = plan(self._active.values(), lambda job: self._model(job).max_points)
        if batch is not None:
            self._run(batch)
        finished, self._finished = self._finished, []
        return finished

    def _model(self, job: ActiveJob) -> GradientModel:
        return self._models.get(job.spec.ref, job.spec.digest)

    def _run(self, batch: Batch) -> None:
        """Evaluate a batch and absorb it; if the model raises, each of its jobs alone, to find whose fault it is."""
        jobs = list({job.id: job for job, _ in batch.owners}.values())
        try:
            evaluations = self._model(jobs[0]).evaluate(batch.points)
        except Exception as error:
            if len(jobs) == 1:
                self._end(jobs[0], model_failure(error))
                return
            for job in jobs:
                self._run(batch.of_job(job))
            return
        self._absorb(batch, evaluations)
        for job in jobs:
            if job.id in self._active:
                self._active[job.id] = self._active.pop(job.id)

    def _absorb(self, batch: Batch, evaluations: list[Evaluation]) -> None:
        for (job, path), node, evaluation in zip(batch.owners, batch.nodes, evaluations, strict=True):
            if job.id not in self._active:
                continue  # failed at an earlier node of this very batch
            try:
                path.tell(node, evaluation.score, evaluation.slope)
                if path.integrator.done:
                    self._answer(job, job.paths.index(path))
            except Exception as error:
                self._end(job, failure(error))

    def _answer(self, job: ActiveJob, i: int) -> None:
        """A path of the job is done: compute its result, free its vectors, and end the job after its last one."""
        model = self._model(job)
        if job.spec.kind is JobKind.ATTRIBUTION:
            info = self._models.info(job.spec.ref)
            job.results[i] = path_result(info, model, job.spec, i, job.paths[i], self._clock() - job.started_s)
            model.close(job.paths[i].id)
        if not job.done:
            return
        outcome: JobResult
        if job.spec.kind is JobKind.ATTRIBUTION:
            outcome = AttributionResult(tuple(job.results[k] for k in range(len(job.paths))))
        else:
            outcome = prediction_result(self._models.info(job.spec.ref), model, job.paths)
        self._end(job, outcome)

    def _end(self, job: ActiveJob, outcome: JobResult | Failure) -> None:
        self._close(job)
        del self._active[job.id]
        self._finished.append(Finished(job.id, outcome))

    def _close(self, job: ActiveJob) -> None:
        model = self._model(job)
        for path in job.paths:
            model.close(path.id)


def failure(error: Exception) -> Failure:
    """An exception as a job's failure: our stated errors as they say, anything else as a defect of ours."""
    if isinstance(error, AttributorError):
        return Failure(error.code, error.detail)
    log.error("a defect ended a job", exc_info=error)
    return Failure(InternalError.code, "a defect of the service ended this job; its log has the details")


def model_failure(error: Exception) -> Failure:
    """What a model raised, by type and first line: bundle code is the operator's, so its message may be shown."""
    log.warning("a model raised", exc_info=error)
    first_line = (str(error).splitlines() or [""])[0][:MESSAGE_CHARACTERS]
    return Failure(ModelError.code, f"the model raised {type(error).__name__}: {first_line}")
