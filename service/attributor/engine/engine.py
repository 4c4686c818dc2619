"""Continuous batching: admit jobs, then step. One step is plan, evaluate, absorb. Pure given a ModelProvider.

Not thread-safe: one caller at a time. A fault of a model ends the job it belongs to and no other.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from attributor.engine.active_job import ActiveJob, ActivePath
from attributor.engine.answer import path_result, prediction_result
from attributor.engine.scheduler import Batch, plan
from attributor.errors import AttributorError, InternalError, ModelError
from attributor.jobs.job import Failure, JobKind, JobSpec, Progress
from attributor.jobs.result import AttributionResult, JobResult
from attributor.ports import Clock, Evaluation, ModelProvider

log = logging.getLogger(__name__)

#: Of a model's own exception message, so much reaches the client. Ours: a sentence, not a dump.
MESSAGE_CHARACTERS = 200


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
            job = ActiveJob.start(job_id, spec, model, self._models.info(spec.ref), self._clock())
        except Exception as error:
            self._finished.append(Finished(job_id, failure(error)))
            return
        self._active[job_id] = job
        try:
            job.open()
        except Exception as error:
            self._end(job, failure(error))

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
                self._end(batch.jobs[0], model_failure(error))
            return None

    def _absorb(self, batch: Batch, evaluations: list[Evaluation]) -> None:
        for pick, evaluation in zip(batch.picks, evaluations, strict=True):
            if pick.job.id not in self._active:
                continue  # failed at an earlier node of this very batch
            try:
                pick.path.tell(pick.node, evaluation.score, evaluation.slope)
                if pick.path.integrator.done:
                    self._answer(pick.job, pick.path)
            except Exception as error:
                self._end(pick.job, failure(error, where=pick.job.name_of(pick.path)))

    def _answer(self, job: ActiveJob, path: ActivePath) -> None:
        """A path of the job is done: compute its result, free its vectors, and end the job after its last one."""
        if job.spec.kind is JobKind.ATTRIBUTION:
            i = job.paths.index(path)
            job.results[i] = path_result(job, i, self._clock() - job.started_s)
            job.close_path(path)
        if not job.done:
            return
        outcome: JobResult
        if job.spec.kind is JobKind.ATTRIBUTION:
            outcome = AttributionResult(tuple(job.results[k] for k in range(len(job.paths))))
        else:
            outcome = prediction_result(job)
        self._end(job, outcome)

    def _end(self, job: ActiveJob, outcome: JobResult | Failure) -> None:
        job.close()
        del self._active[job.id]
        self._finished.append(Finished(job.id, outcome))


def failure(error: Exception, where: str = "") -> Failure:
    """An exception as a job's failure: our stated errors as they say, anything else as a defect of ours.

    `where` names the input, for jobs that have several.
    """
    if isinstance(error, AttributorError):
        return Failure(error.code, f"{where}: {error.detail}" if where else error.detail)
    log.error("a defect ended a job", exc_info=error)
    return Failure(InternalError.code, "a defect of the service ended this job; its log has the details")


def model_failure(error: Exception) -> Failure:
    """What a model raised, by type and first line: bundle code is the operator's, so its message may be shown."""
    log.warning("a model raised", exc_info=error)
    first_line = (str(error).splitlines() or [""])[0][:MESSAGE_CHARACTERS]
    return Failure(ModelError.code, f"the model raised {type(error).__name__}: {first_line}")
