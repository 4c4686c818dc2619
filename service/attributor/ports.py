"""The seams: what the API and the worker need from the store, the catalog and the comparators.

Named in the caller's words. Adapters live in `storage` and `registry`; `bootstrap` joins them. What the engine needs
from a model stands in `model_port`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from attributor.jobs.access import ApiKey
from attributor.jobs.figures import Figures
from attributor.jobs.given import GivenMolecule, GivenText
from attributor.jobs.job import ClaimedJob, Failure, JobRecord, JobSpec, Lease, Progress
from attributor.jobs.model import ModelInfo, ModelReport, Part
from attributor.jobs.result import AttributionResult, JobResult, PartialResult
from attributor.jobs.state import JobState
from attributor.jobs.terms import USUAL_TERMS, Terms


@dataclass(frozen=True, slots=True)
class Enqueued:
    """`replayed`: the idempotency key named an earlier job with the same fingerprint; `job_id` is that one. `waits`: it
    is new and not answered, so that there is nothing to read of it before something happens to it."""

    job_id: str
    replayed: bool
    waits: bool = False


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of a listing, newest first; `next_cursor` is None on the last one."""

    records: tuple[JobRecord, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker is told of its jobs. `stop`: ids that were cancelled or whose lease is lost. `watched`: ids whose
    partial results somebody has asked for in the last seconds."""

    stop: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()


class Claimed(list[ClaimedJob]):
    """The jobs that a worker got. `vacate`: it is to take nothing more, but what is urgent, until it holds nothing: a
    job waits that is to be computed alone."""

    def __init__(self, jobs: Iterable[ClaimedJob] = (), *, vacate: bool = False) -> None:
        super().__init__(jobs)
        self.vacate = vacate


class JobQueue(Protocol):
    """The way of a job through the store. All methods raise StoreUnavailable when it does not answer."""

    async def enqueue(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        content_key: str | None = None,
        answer_to: str | None = None,
        terms: Terms = USUAL_TERMS,
    ) -> Enqueued:
        """Store and queue a job. Raises QueueFull, TenantQueueFull, QuotaExceeded, IdempotencyConflict.

        `content_key`: a digest of all that the answer depends on; jobs with equal ones share one computation, also
        while it is under way. None: this one is computed by itself. `answer_to`: the `JobEvents.desk` at which its
        answer is waited for.
        """

    async def cancel(self, job_id: str, *, tenant: str) -> JobState | None:
        """Cancel: a queued job is cancelled at once, a running one told to stop. Returns the state found then
        (CANCELLED, RUNNING, or the terminal state it already had); None if there is no such job."""

    async def claim(
        self,
        evaluations: int,
        *,
        jobs: int | None = None,
        comparisons: int = 0,
        wait_s: float = 0.0,
        keen: bool = False,
        empty: bool = False,
    ) -> Claimed:
        """Take jobs of the engine for so many evaluations, and up to `comparisons` jobs of comparators, under fresh
        leases; may be none. Of long jobs only the beginning counts; the last one may be more than there is room for.
        `jobs`: no more (None: as many as evaluations); those of priority 0 are taken whatever the room. `wait_s`: first
        wait for a job, for so long at most. `keen`: to be woken before others, and before those that have waited
        longer; who claims so comes back at once, or says that it leaves, and nobody else is woken meanwhile. `empty`:
        whether the worker holds nothing: only then it is given a job that is to be computed alone."""

    async def leave(self) -> None:
        """Do not come back at once: let others be woken."""

    async def beat(self, progress: Mapping[Lease, Progress | None]) -> Beat:
        """Renew all held leases and write their progress."""

    async def publish(self, lease: Lease, partial: PartialResult) -> None:
        """Add results of inputs that are done, and replace the estimates of the others; nothing if the lease is
        lost."""

    async def finish(self, lease: Lease, outcome: JobResult | Failure | None) -> bool:
        """Record the result, the failure or (None) the cancellation. False: the lease was lost, nothing written."""

    async def finish_all(self, outcomes: Mapping[Lease, JobResult | Failure | None]) -> list[bool]:
        """`finish` for several jobs at once, in their order. Raises ValueError, and records none, if one of the results
        cannot be stored."""

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give unfinished jobs back, to be claimed by others at once; not charged with an attempt."""

    async def reap(self) -> list[str]:
        """Queue again, cancel or fail the jobs whose lease ran out; returns their ids."""


class JobStore(Protocol):
    """Reading and erasing jobs. All methods raise StoreUnavailable when the store does not answer."""

    async def record(self, job_id: str, *, tenant: str) -> JobRecord | None:
        """The job's record, or None (unknown, expired, erased, or another tenant's)."""

    async def position(self, job_id: str) -> int | None:
        """Jobs ahead of it: of the engine's, or, for a comparator's job, of comparators'. None unless it is queued."""

    async def waiting(self, *, priority: int, comparison: bool) -> int:
        """Jobs that would be ahead of a new one of that priority: of the engine's, or of comparators'."""

    async def answered(self, job_id: str, *, tenant: str) -> tuple[JobRecord, JobResult | None] | None:
        """`record` and, if it has succeeded, `result`, as they were at one moment, by one question to the store."""

    async def spec(self, job_id: str) -> JobSpec | None:
        """What was asked; kept as long as the result, so that pictures can be drawn on the input."""

    async def result(self, job_id: str) -> JobResult | None:
        """What was answered, whole or not at all."""

    async def partial(self, job_id: str) -> PartialResult | None:
        """What a job has published so far, or had when it failed or was cancelled; while it waits for the answer to one
        that asks the same, what that one has. And a word to the worker that somebody looks: estimates are made only
        then, and are there about a second later. None: nothing yet."""

    async def page(
        self, *, tenant: str, limit: int, cursor: str | None, state: JobState | None, model: str | None
    ) -> JobPage:
        """Attribution jobs, newest first. Raises InvalidRequest for a cursor that is not ours."""

    async def erase(self, job_id: str, *, tenant: str) -> bool:
        """Delete a finished job's input, result and record; False if there is none or it is not finished."""


class KeyStore(Protocol):
    """API keys, and the sessions that browsers opened with them. All methods raise StoreUnavailable."""

    async def key(self, key_id: str) -> ApiKey | None:
        """A key, or None: it never was, or was revoked."""

    async def add(self, key: ApiKey) -> None:
        """Keep a new key."""

    async def revoke(self, key_id: str) -> bool:
        """Forget a key; False if there is none."""

    async def open_session(self, digest: str, key_id: str, ttl_s: float) -> None:
        """Begin a session; `digest`: of its secret."""

    async def session(self, digest: str) -> str | None:
        """The id of the key that a session was opened with, or None: it never was, or has ended."""

    async def close_session(self, digest: str) -> None:
        """End a session."""


class ResultStore(Protocol):
    """Where results lie that are too large for their jobs' records. Methods raise StoreUnavailable."""

    async def put(self, name: str, data: bytes) -> str:
        """Keep a result under a name that nobody else uses; what to tell `get`. It goes by itself after some minutes,
        unless its job ends with it."""

    async def get(self, place: bytes) -> bytes | None:
        """The result, whole, or None where any of it is gone."""

    async def drop(self, place: bytes) -> None:
        """Delete a result; one that is gone does no harm."""

    async def sweep(self) -> None:
        """Delete what has had its time. Called about twice a second."""


class Quarantine(Protocol):
    """Jobs that killed workers, whoever's they are. Methods raise StoreUnavailable when the store does not answer."""

    async def page(self, limit: int) -> list[JobRecord]:
        """Up to so many of them, those put there last first."""

    async def record(self, job_id: str) -> JobRecord | None:
        """One of them, or None."""

    async def retry(self, job_id: str) -> bool:
        """Queue it again, to be computed alone once more; False if it is not there."""

    async def drop(self, job_id: str) -> bool:
        """Erase it; False if it is not there."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer of a job that succeeded, sent to who waits for it, with what its record says then."""

    revision: int
    attempts: int
    created_at: float
    started_at: float
    finished_at: float
    expires_at: float
    result: JobResult


class Changes(Protocol):
    """One subscriber's view of one job."""

    def sent(self) -> Sent | None:
        """Its answer, if it was sent. None tells nothing: it can be fetched all the same."""

    async def wait(self, timeout_s: float) -> bool:
        """Return when the job may have changed since the last call (True), or after `timeout_s` (False)."""


class JobEvents(Protocol):
    """Changes of jobs, as they happen."""

    @property
    def reading(self) -> bool:
        """Whether changes are heard of; else nobody may subscribe."""

    @property
    def desk(self) -> str | None:
        """Where answers can be sent to (`JobQueue.enqueue`), if they can."""

    def subscribe(self, job_id: str, *, ends_only: bool = False) -> AbstractAsyncContextManager[Changes]:
        """Changes from now on, within the context. `ends_only`: only that it ended, also if that was before, but after
        it was queued a moment ago."""


class FleetView(Protocol):
    """What the API is told of the workers and their models."""

    async def model_reports(self) -> Mapping[str, ModelReport]:
        """The newest report per `name@version`."""

    async def workers_alive(self) -> int:
        """Workers that beat recently. Raises StoreUnavailable: it is also the store's health check."""

    async def figures(self) -> Figures:
        """The service's numbers."""


class Fleet(FleetView, Protocol):
    """What the workers say of themselves and of their models."""

    async def report_model(self, report: ModelReport) -> None:
        """Publish what loading a model found."""

    async def forget_model(self, ref: str) -> None:
        """Take back what was reported of a model that is served no more."""

    async def beat_worker(self, worker_id: str) -> None:
        """Say that a worker is alive."""

    async def worker_left(self, worker_id: str) -> None:
        """Say that a worker has ended as it should."""

    async def count(self, counted: Mapping[str, float], nonce: str) -> None:
        """Add to what processes have counted; under the same nonce once only, if it is said again within a minute."""


class SourceReader(Protocol):
    """Reads what a person gives in one piece: a text, a molecule."""

    def read(self, value: object, *, field: str) -> tuple[Mapping[Part, NDArray[Any]], GivenText | GivenMolecule]:
        """All tensors that can be made of `value`, of the shapes that the model's inputs of this source take, and what
        an answer must know to speak of it. Raises InvalidInput, InvalidShape with `field` or a place in it."""


class ModelCatalog(Protocol):
    """The models on disk, as their manifests describe them. Never loads one."""

    def all(self) -> Sequence[ModelInfo]:
        """All versions of all models, by name, then version."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the bundles that cannot be read, by `name@version` of their folders."""

    def get(self, ref: str, ready: Collection[str] | None = None) -> ModelInfo:
        """By `name`, `name@version` or `name@alias`. Raises UnknownModel, UnknownVersion.

        A bare name is the declared default; without one the highest version whose digest is among `ready`, so that a
        new version serves once it is proven; where none is, or `ready` is not known, the highest.
        """

    def aliases(self, name: str) -> Mapping[str, str]:
        """The version that each alias of a model stands for."""

    def sources(self, info: ModelInfo) -> Mapping[str, SourceReader]:
        """The readers of a model's sources, by name. Raises BundleError if a file that one needs has changed."""


class Comparator(Protocol):
    """Methods of other makers, computed beside the engine."""

    async def explain(self, spec: JobSpec) -> AttributionResult | Failure:
        """The job's answer. Ends whatever it started when it is cancelled."""


class Clock(Protocol):
    """Seconds, monotonic."""

    def __call__(self) -> float:
        """Now."""
