"""The seams: what the API and the worker need from the store, and what the engine needs from a model.

Named in the caller's words. Adapters live in `storage`, `registry` and `runtimes`; `bootstrap` joins them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.job import ClaimedJob, Failure, JobRecord, JobSpec, Lease, Progress, Target
from attributor.jobs.model import ModelInfo, ModelReport, Tensors
from attributor.jobs.result import JobResult
from attributor.jobs.state import JobState


@dataclass(frozen=True, slots=True)
class Enqueued:
    """`replayed`: the idempotency key named an earlier job with the same fingerprint; `job_id` is that one."""

    job_id: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of a listing, newest first; `next_cursor` is None on the last one."""

    records: tuple[JobRecord, ...]
    next_cursor: str | None


class JobQueue(Protocol):
    """The way of a job through the store. All methods raise StoreUnavailable when it does not answer."""

    async def enqueue(self, spec: JobSpec, *, idempotency_key: str | None = None) -> Enqueued:
        """Store and queue a job. Raises QueueFull, IdempotencyConflict."""

    async def cancel(self, job_id: str, *, tenant: str) -> JobState | None:
        """Cancel: a queued job is cancelled at once, a running one told to stop. Returns the state found then
        (CANCELLED, RUNNING, or the terminal state it already had); None if there is no such job."""

    async def claim(self, limit: int) -> list[ClaimedJob]:
        """Take up to `limit` jobs under fresh leases; may be empty."""

    async def wait_for_work(self, timeout_s: float) -> None:
        """Return when a job was probably queued, or after `timeout_s`."""

    async def beat(self, progress: Mapping[Lease, Progress | None]) -> set[str]:
        """Renew all held leases and write their progress; returns the ids to stop (cancelled, or lease lost)."""

    async def finish(self, lease: Lease, outcome: JobResult | Failure | None) -> bool:
        """Record the result, the failure or (None) the cancellation. False: the lease was lost, nothing written."""

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give unfinished jobs back, to be claimed by others at once; not charged with an attempt."""

    async def reap(self) -> list[str]:
        """Queue again, cancel or fail the jobs whose lease ran out; returns their ids."""


class JobStore(Protocol):
    """Reading and erasing jobs. All methods raise StoreUnavailable when the store does not answer."""

    async def record(self, job_id: str, *, tenant: str) -> JobRecord | None:
        """The job's record, or None (unknown, expired, erased, or another tenant's)."""

    async def position(self, job_id: str) -> int | None:
        """Jobs ahead of it in the queue; None unless it is queued."""

    async def spec(self, job_id: str) -> JobSpec | None:
        """What was asked; kept as long as the result, so that pictures can be drawn on the input."""

    async def result(self, job_id: str) -> JobResult | None:
        """What was answered, whole or not at all."""

    async def page(
        self, *, tenant: str, limit: int, cursor: str | None, state: JobState | None, model: str | None
    ) -> JobPage:
        """Attribution jobs, newest first. Raises InvalidRequest for a cursor that is not ours."""

    async def erase(self, job_id: str, *, tenant: str) -> bool:
        """Delete a finished job's input, result and record; False if there is none or it is not finished."""


class Changes(Protocol):
    """One subscriber's view of one job."""

    async def wait(self, timeout_s: float) -> bool:
        """Return when the job may have changed since the last call (True), or after `timeout_s` (False)."""


class JobEvents(Protocol):
    """Changes of jobs, as they happen."""

    def subscribe(self, job_id: str) -> AbstractAsyncContextManager[Changes]:
        """Changes from now on, within the context."""


class Fleet(Protocol):
    """What the workers say of themselves and of their models."""

    async def report_model(self, report: ModelReport) -> None:
        """Publish what loading a model found."""

    async def model_reports(self) -> Mapping[str, ModelReport]:
        """The newest report per `name@version`."""

    async def beat_worker(self, worker_id: str) -> None:
        """Say that a worker is alive."""

    async def worker_left(self, worker_id: str) -> None:
        """Say that a worker has ended as it should."""

    async def workers_alive(self) -> int:
        """Workers that beat recently. Raises StoreUnavailable: it is also the store's health check."""


class ModelCatalog(Protocol):
    """The models on disk, as their manifests describe them. Never loads one."""

    def all(self) -> Sequence[ModelInfo]:
        """All versions of all models, by name, then version."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the bundles that cannot be read, by `name@version` of their folders."""

    def get(self, ref: str) -> ModelInfo:
        """By `name` (its default version) or `name@version`. Raises UnknownModel, UnknownVersion."""


@dataclass(frozen=True, slots=True)
class PathSpec:
    """A straight path to evaluate: from `baseline` (None for a prediction, which has no path) to `example`."""

    example: Tensors
    baseline: Tensors | None
    target: Target


@dataclass(frozen=True, slots=True)
class Point:
    """One node of one path. `gradient` False: only the score is wanted there."""

    path: str
    node: int
    alpha: float
    gradient: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a pass says about a point: the score F, and the slope (sum of gradient * gamma', float64).

    Either may be non-finite; `slope` is None where no gradient was asked for.
    """

    score: float
    slope: float | None


class GradientModel(Protocol):
    """A loaded model. Vectors stay inside, keyed by path and node, until `close`."""

    @property
    def max_points(self) -> int:
        """The most points that fit one pass."""

    def open(self, path: str, spec: PathSpec) -> None:
        """Place a path's ends on the device."""

    def evaluate(self, points: Sequence[Point]) -> list[Evaluation]:
        """One forward pass over all points and one backward pass over those that want a gradient.

        A target left open is resolved at the path's first point with alpha 1, which must come no later than the
        path's other points. Raises whatever the model raises.
        """

    def target_class(self, path: str) -> tuple[int, bool]:
        """The resolved class index, and whether it is the predicted one."""

    def outputs(self, path: str) -> NDArray[np.float32]:
        """The raw outputs at alpha 1, shape (classes,)."""

    def attributions(self, path: str, weights: Mapping[int, float]) -> Mapping[str, NDArray[np.float64]]:
        """Sum over nodes of weight * gradient * gamma', per input; float64, the input's shape."""

    def close(self, path: str) -> None:
        """Forget a path and its vectors."""


class ModelProvider(Protocol):
    """Loaded models by reference."""

    def get(self, ref: str, digest: str) -> GradientModel:
        """Raises ModelNotReady if it is not loaded, failed its proof, or has another digest."""

    def info(self, ref: str) -> ModelInfo:
        """The description it was loaded by."""


class Clock(Protocol):
    """Seconds, monotonic."""

    def __call__(self) -> float:
        """Now."""
