"""Continuous batching: admit jobs, then step. One step is plan, evaluate, absorb. Pure given a ModelProvider.

Not thread-safe: one caller at a time. A fault of a model ends the job it belongs to and no other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Asks, Floats
from attributor.core.together import tell_together
from attributor.engine import first_rounds
from attributor.engine.active_job import ActiveJob
from attributor.engine.alike import Kinds, is_plain
from attributor.engine.explain import explain
from attributor.engine.fairness import Claimant, Fairness
from attributor.engine.faults import RAISED_BY_MODELS, failure, model_error
from attributor.engine.first_rounds import Known
from attributor.engine.prediction import predict, prediction_result
from attributor.engine.scheduler import Batch, StackBatch, pass_points, plan
from attributor.engine.steps import Integrating
from attributor.engine.task import Task, Wish
from attributor.engine.work import Question
from attributor.errors import AttributorError, DeadlineExceeded
from attributor.jobs.job import Failure, JobKind, JobSpec, Progress
from attributor.jobs.keeping import DEFAULT_JOB_VECTOR_BYTES
from attributor.jobs.result import AttributionResult, JobResult, PartialResult, ResultColumns
from attributor.model_port import Evaluations, GradientModel, ModelProvider
from attributor.ports import Clock

#: First points of jobs that are taken in ahead of time, in passes. Ours: enough to fill them, as what jobs want rarely
#: comes out even; of a large net, whose passes have eight points, four jobs.
PASSES_AHEAD = 4
#: Points of a pass before there was one. Ours: a job's first round, 9 gradients and 8 scores at 5 %.
POINTS_OF_A_JOB = 16
#: Inputs of small models that are no load. Ours: to compute them together takes hardly longer than one of them.
LIGHT_INPUTS = 128


@dataclass(frozen=True, slots=True)
class Room:
    """`evaluations`: so many more fill passes for a while; more would wait here while another worker has nothing to do.
    Long jobs that are past their first points leave room for short ones. `laden`: whether there is enough to do
    without; `light`: whether what is here will have gone before another worker has begun."""

    evaluations: int
    laden: bool
    light: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """What a step did. `evaluations`: by job; `fill`: the part of the pass's room that its first round took, 1 where it
    took more; `seconds`: with all that belongs to it."""

    model: str
    evaluations: Mapping[str, int]
    fill: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended, and how; None: it was cancelled."""

    job_id: str
    outcome: JobResult | Failure | None


class Engine:
    """The jobs being computed on this worker's models."""

    def __init__(
        self, models: ModelProvider, clock: Clock, *, job_vector_bytes: int = DEFAULT_JOB_VECTOR_BYTES
    ) -> None:
        """`job_vector_bytes`: the most that the vectors of a job may take on the device."""
        self._models = models
        self._job_vector_bytes = job_vector_bytes
        self._clock = clock
        self._active: dict[str, ActiveJob] = {}
        self._finished: list[Finished] = []
        self._fairness = Fairness()
        self._kinds = Kinds()
        self._explain = explain(clock)
        #: Of the step under way, by job: those of rounds after a stack's first.
        self._later_points: Counter[str] = Counter()
        #: Of the pass that was looked at last.
        self._pass_points = POINTS_OF_A_JOB
        #: What the last step did; None: nothing.
        self.last_pass: Pass | None = None

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self._active and not self._finished

    def admit(self, job_id: str, spec: JobSpec, age_s: float = 0.0, weight: float = 1.0) -> None:
        """Take a job in, `age_s` after its creation. `weight`: of its tenant's part. One that cannot be served ends at
        the next step, with the reason.

        A job that is active already starts afresh: it was claimed again because its earlier lease ran out.
        """
        self.cancel(job_id)
        now_s = self._clock()
        try:
            model = self._models.get(spec.ref, spec.digest)
            on = (model, self._models.info(spec.ref), self._models.reference_set(spec.ref))
            procedure = self._explain if spec.kind is JobKind.ATTRIBUTION else predict
            alike = self._kinds.of(spec, *on)
            job = ActiveJob.of(job_id, spec, on, procedure, now_s, alike)
            job.share_out(self._job_vector_bytes)
            job.load = len(spec.inputs) if alike is not None else _load(model, spec)
        except Exception as error:
            self._finished.append(Finished(job_id, failure(error, job_id=job_id)))
            return
        self._active[job_id] = job
        deadline_at_s = None if spec.deadline_s is None else now_s - age_s + spec.deadline_s
        claimant = Claimant(job_id, spec.tenant, spec.priority, deadline_at_s, spec.ref, weight)
        self._fairness.enter(claimant, now_s)
        self._start_more(job)

    def cancel(self, job_id: str) -> None:
        """Forget a job; nothing is returned for it. Unknown ids are ignored: it may just have ended."""
        self._finished = [finished for finished in self._finished if finished.job_id != job_id]
        if job := self._active.pop(job_id, None):
            self._fairness.leave(job_id)
            job.close()

    def room(self) -> Room:
        """How much more should be taken in now."""
        ahead, waiting, size = 0.0, 0.0, self._pass_points
        sizes: dict[int, int] = {}
        for job in self._active.values():
            if points := job.waiting_points:
                if (of_model := sizes.get(id(job.model))) is None:
                    of_model = sizes[id(job.model)] = pass_points(job.model, job.first_lane())
                size = of_model
                waiting += points / size
                ahead += min(self._fairness.first_points(job.id), points) / size
        self._pass_points = size
        evaluations = max(0, ceil((PASSES_AHEAD - ahead) * size))
        load = sum(job.load for job in self._active.values())
        return Room(evaluations, laden=waiting >= PASSES_AHEAD, light=load <= LIGHT_INPUTS)

    def load_of(self, spec: JobSpec) -> int:
        """A job's inputs; more than LIGHT_INPUTS where their first rounds are no stack of a small model's."""
        try:
            return _load(self._models.get(spec.ref, spec.digest), spec)
        except AttributorError:
            return 0  # the job ends at once

    def progress(self) -> Mapping[str, Progress]:
        """How far each active job is."""
        return {job_id: job.progress() for job_id, job in self._active.items()}

    def partial(self, job_id: str, *, estimates: bool) -> PartialResult:
        """The results of the job's inputs that ended since the last call and, if wanted, what is known of those under
        way. Nothing for a job that is not active, or a prediction."""
        job = self._active.get(job_id)
        if job is None or job.spec.kind is not JobKind.ATTRIBUTION:
            return PartialResult(())
        results = tuple(result for answer in job.fresh() for result in answer)
        return PartialResult(results, job.estimates() if estimates else ())

    def step(self) -> list[Finished]:
        """One pass of one model over nodes of as many jobs as fit; returns the jobs that ended."""
        now_s = self._clock()
        for job_id in self._fairness.expired(now_s):
            self._end(
                self._active[job_id], failure(DeadlineExceeded("the deadline passed before the answer was there"))
            )
        batch = plan(self._active, self._fairness, now_s)
        self.last_pass = None
        if batch is not None:
            model = batch.jobs[0].spec.model
            self._run(batch)
            self._charge(model, batch, self._clock() - now_s)
        finished, self._finished = self._finished, []
        return finished

    def _charge(self, model: str, batch: Batch | StackBatch, seconds: float) -> None:
        sizes = batch.sizes()
        fill = min(1.0, sum(sizes.values()) / batch.room)
        for job_id, n in self._later_points.items():
            sizes[job_id] += n
        self._later_points.clear()
        share = seconds / sum(sizes.values())
        self._fairness.charge({job_id: share * n for job_id, n in sizes.items()})
        self.last_pass = Pass(model, sizes, fill, seconds)

    def _run(self, batch: Batch | StackBatch) -> None:
        """Evaluate a batch and absorb it; if the model raises, each of its jobs alone, to find whose fault it is."""
        try:
            if isinstance(batch, StackBatch):
                known = first_rounds.evaluate(batch)
            else:
                evaluations = batch.model.evaluate(batch.points)
        except RAISED_BY_MODELS as error:
            self._each_alone(batch, model_error(error))
            return
        if isinstance(batch, StackBatch):
            self._absorb_stack(batch, known)
        else:
            self._absorb(batch, evaluations)

    def _each_alone(self, batch: Batch | StackBatch, error: Exception) -> None:
        """After a fault, whose it is: that of the one job there is, or else each is tried alone."""
        if len(jobs := batch.jobs) == 1:
            self._end(jobs[0], failure(error, job_id=jobs[0].id))
            return
        for job in jobs:
            self._run(batch.of_job(job))

    def _absorb(self, batch: Batch, evaluations: list[Evaluations]) -> None:
        rounds = []
        for (job, pick), told in zip(batch.picks, evaluations, strict=True):
            if known := job.tell(pick, told):
                rounds.append((job, *known))
        self._settle(rounds)

    def _absorb_stack(self, batch: StackBatch, known: Known) -> None:
        try:
            unfinished = first_rounds.finish(known, self._clock, self._later_points)
        except Exception as error:  # a defect; no answer is given before all are made
            self._each_alone(batch, error)
            return
        rounds = []
        for by_then, row in unfinished:
            job, number = by_then.owners[row]
            if job.id not in self._active:
                continue
            try:
                if begun := first_rounds.go_on(by_then, row):
                    rounds.append((job, *begun))
            except Exception as error:
                self._end(job, failure(error, where=Question(number, job.spec, job.info).name, job_id=job.id))
        self._settle(rounds)
        for job in batch.jobs:
            if job.id in self._active:
                self._start_more(job)

    def _settle(self, rounds: Sequence[tuple[ActiveJob, Task, Wish]]) -> None:
        """Let tasks go on whose rounds are known in full."""
        for (job, task, wish), error in zip(rounds, _told([wish for _, _, wish in rounds]), strict=True):
            if job.id not in self._active:
                continue  # failed at an earlier point of this very batch
            try:
                if error is not None:
                    raise error
                job.settle(task, wish)
            except Exception as fault:
                self._end(job, failure(fault, where=task.work.question.name, job_id=job.id))
                continue
            if task.done:
                self._start_more(job)

    def _start_more(self, job: ActiveJob) -> None:
        """Begin the inputs that there is room for, and end the job if all have ended."""
        while (task := job.next_task()) is not None:
            try:
                job.begin(task)
            except Exception as error:
                self._end(job, failure(error, where=task.work.question.name, job_id=job.id))
                return
        if job.done:
            try:
                outcome: JobResult | Failure = _outcome(job)
            except Exception as error:
                outcome = failure(error, job_id=job.id)
            self._end(job, outcome)

    def _end(self, job: ActiveJob, outcome: JobResult | Failure) -> None:
        job.close()
        del self._active[job.id]
        self._fairness.leave(job.id)
        self._finished.append(Finished(job.id, outcome))


def _told(wishes: Sequence[Wish]) -> list[Exception | None]:
    """Tell integrators what their rounds gave, the adaptive ones together; what each raised."""
    raised: list[Exception | None] = [None] * len(wishes)
    together: dict[int, tuple[AdaptiveIntegrator, Asks, Floats, Floats]] = {}
    for number, wish in enumerate(wishes):
        if not isinstance(wish.wanted, Integrating) or wish.told is None:
            continue
        integrator = wish.wanted.integrator
        if isinstance(integrator, AdaptiveIntegrator):
            together[number] = integrator, wish.asks, wish.told.scores, wish.told.slopes
            continue
        try:
            integrator.tell(wish.asks, wish.told.scores, wish.told.slopes)
        except Exception as error:
            raised[number] = error
    for number, fault in zip(together, tell_together(list(together.values())), strict=True):
        raised[number] = fault
    return raised


def _load(model: GradientModel, spec: JobSpec) -> int:
    plain = spec.kind is JobKind.PREDICTION or is_plain(spec.explanation, spec.quadrature)
    return len(spec.inputs) if plain and model.stacks else LIGHT_INPUTS + 1


def _outcome(job: ActiveJob) -> JobResult:
    if job.spec.kind is JobKind.PREDICTION:
        return prediction_result(job.in_order, job.info)
    answers = {id(answer): answer for answer in job.in_order}.values()
    columns = [answer for answer in answers if isinstance(answer, ResultColumns)]
    apart = [result for answer in answers if not isinstance(answer, ResultColumns) for result in answer]
    return AttributionResult(tuple(apart), tuple(columns))
