"""The seams: what the API and the worker need from the store, and what the engine needs from a model.

Named in the caller's words. Adapters live in `storage`, `registry` and `runtimes`; `bootstrap` joins them.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Asks, Floats, Indices
from attributor.core.integrator import Seal
from attributor.jobs.explanation import Layer, Precision, Target
from attributor.jobs.given import GivenMolecule, GivenText
from attributor.jobs.job import ClaimedJob, Failure, JobRecord, JobSpec, Lease, Progress
from attributor.jobs.model import ModelInfo, ModelReport, Part, Tensors
from attributor.jobs.result import AttributionResult, JobResult, PartialResult
from attributor.jobs.state import JobState


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


class JobQueue(Protocol):
    """The way of a job through the store. All methods raise StoreUnavailable when it does not answer."""

    async def enqueue(
        self, spec: JobSpec, *, idempotency_key: str | None = None, content_key: str | None = None
    ) -> Enqueued:
        """Store and queue a job. Raises QueueFull, IdempotencyConflict.

        `content_key`: a digest of all that the answer depends on; jobs with equal ones share one computation, also
        while it is under way. None: this one is computed by itself.
        """

    async def cancel(self, job_id: str, *, tenant: str) -> JobState | None:
        """Cancel: a queued job is cancelled at once, a running one told to stop. Returns the state found then
        (CANCELLED, RUNNING, or the terminal state it already had); None if there is no such job."""

    async def claim(self, limit: int, *, comparisons: int = 0, wait_s: float = 0.0) -> list[ClaimedJob]:
        """Take up to `limit` jobs of the engine and up to `comparisons` of comparators under fresh leases; may be
        empty. `wait_s`: first wait until a job is queued that was not there at the last claim, for so long at most."""

    async def beat(self, progress: Mapping[Lease, Progress | None]) -> Beat:
        """Renew all held leases and write their progress."""

    async def publish(self, lease: Lease, partial: PartialResult) -> None:
        """Add results of inputs that are done, and replace the estimates of the others; nothing if the lease is lost."""

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
        """What a running job has published so far, and a word to its worker that somebody looks: estimates are made
        only then, and are there about a second later. None: nothing yet."""

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

    def subscribe(self, job_id: str, *, ends_only: bool = False) -> AbstractAsyncContextManager[Changes]:
        """Changes from now on, within the context. `ends_only`: only that it ended, also if that was before, but after
        it was queued a moment ago."""


class FleetView(Protocol):
    """What the API is told of the workers and their models."""

    async def model_reports(self) -> Mapping[str, ModelReport]:
        """The newest report per `name@version`."""

    async def workers_alive(self) -> int:
        """Workers that beat recently. Raises StoreUnavailable: it is also the store's health check."""


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


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What is evaluated along the curves of a route: targets of the model at and around one example.

    `layer`: the module whose output is attributed in place of the inputs. `observed`: modules whose output is compared,
    at every point, with that at the example; None: nothing is observed, not even the score on both scales.
    `straight`: there is one curve, straight in the inputs, and of its vectors only sums are asked for.
    """

    example: Tensors
    targets: tuple[Target, ...]
    layer: Layer | None = None
    observed: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32
    straight: bool = False


@dataclass(frozen=True, slots=True)
class Blur:
    """Scale space: gamma(alpha) is the example blurred by a gaussian of standard deviation (1 - alpha) * sigma pixels,
    by the heat equation on the image with reflecting borders (Xu, Venugopalan, Sundararajan 2020). The curve's start
    follows from its end."""

    sigma: float


@dataclass(frozen=True, slots=True)
class Registered:
    """A path object of the bundle, by name; called with both ends."""

    name: str


@dataclass(frozen=True, slots=True)
class CurveSpec:
    """A smooth curve between two inputs, straight except for the inputs in `bends`.

    `plain`: the vector kept at a node is the gradient itself, not its product with gamma'. With `start` and `end` the
    same object, it is a point.
    """

    start: Tensors
    end: Tensors
    bends: Mapping[str, Blur | Registered] = field(default_factory=dict)
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """Evaluations of a route, all with a gradient or all without."""

    route: str
    asks: Asks


@dataclass(frozen=True, slots=True, eq=False)
class Evaluations:
    """What the model says about some asks, float64: the scores F, shape (asks, targets), and the slopes, shape (nodes,
    targets), NaN without a gradient.

    The slope is the sum of gradient * gamma', whatever the vector kept is (a plain curve's or a layer's), so that it is
    always dF/dalpha. Scores and slopes may be non-finite. `tops`, shape (asks,): the index of the largest output (of a
    sequence: at the first target's position).
    """

    scores: Floats
    slopes: Floats
    tops: Indices


@dataclass(frozen=True, slots=True)
class Observation:
    """What diagnostics keep of an evaluated point: the first target on both scales, and per observed layer the L2 norm
    of the difference to its output at the example, and 1 - cosine. `probability` is None for regression outputs;
    `logit` is the log-probability where outputs are probabilities."""

    node: int
    probability: float | None
    logit: float
    distances: tuple[tuple[float, float], ...]


class GradientModel(Protocol):
    """A loaded model. Vectors stay inside, keyed by route, target and node index, until `close`."""

    @property
    def max_points(self) -> int:
        """The most points that one pass of any lane should have."""

    def pass_points(self, lane: Hashable) -> int:
        """The most points that the next pass of a lane should have."""

    def vector_bytes(self, route: str) -> int:
        """What the vectors of one node take on the device, all targets together."""

    def lane(self, spec: RouteSpec) -> Hashable:
        """Points of routes with equal lanes may share a pass."""

    def open(self, route: str, spec: RouteSpec) -> None:
        """Begin a route. Raises UnknownLayer and UnsupportedByModel for what this model cannot do."""

    def add_curve(self, route: str, spec: CurveSpec) -> int:
        """Place a curve on the device; returns its number in the route, from 0. Where curves run in a layer's output,
        its values at the ends are found by the first `evaluate` that needs them."""

    def start(self, route: str, curve: int) -> Tensors:
        """The inputs at the curve's alpha 0, as they are computed (of a blur path, the blurred image)."""

    def evaluate(self, points: Sequence[Points]) -> list[Evaluations]:
        """One forward pass over all points, of one lane and one kind, and with gradients a backward pass per target.
        Before it, for curves in a layer's output, passes of at most `max_points` rows that find new ends there; these,
        and the passes of `open` and `layer_is_cut`, are nobody's evaluations and are not counted as forward passes.

        Targets are resolved at the route's first point, which must be at the example. Raises whatever the model raises.
        """

    def targets(self, route: str) -> tuple[Target, ...]:
        """The targets as resolved: with terms, and with a position from 0 where the output is a sequence."""

    def outputs(self, route: str) -> NDArray[np.float32]:
        """The raw outputs at the example, of the output's shape."""

    def attributions(
        self, route: str, target: int, weights: Mapping[int, float], *, coarse: bool = False
    ) -> Mapping[str, NDArray[np.float64]]:
        """Sum over nodes of weight * vector, per attributed input, of its shape (summed over a token's embedding), or
        under the layer's name, of its output's shape. float64. Of nodes that were sealed, `weights` hold at least what
        was, of the rule or of the coarse one."""

    def seal(self, route: str, seal: Seal) -> None:
        """Take the sums of vectors whose weights are final, and forget the vectors that only they needed."""

    def observations(self, route: str) -> Sequence[Observation]:
        """One per evaluated point (by its first node), in order of evaluation; empty where nothing is observed."""

    def layer_is_cut(self, route: str, baseline: Tensors) -> bool:
        """Whether all of the first target's score passes through the route's layer: with the layer held at its output
        for `baseline` and everything else at the example, the score is that of the baseline."""

    def close(self, route: str) -> None:
        """Forget a route, its curves and vectors."""


class ModelProvider(Protocol):
    """Loaded models by reference."""

    def get(self, ref: str, digest: str) -> GradientModel:
        """Raises ModelNotReady if it is not loaded, failed its proof, or has another digest."""

    def info(self, ref: str) -> ModelInfo:
        """The description it was loaded by."""

    def reference_set(self, ref: str) -> Tensors:
        """The bundle's reference set: per input, shape (count, *input shape); empty without one."""


class Comparator(Protocol):
    """Methods of other makers, computed beside the engine."""

    async def explain(self, spec: JobSpec) -> AttributionResult | Failure:
        """The job's answer. Ends whatever it started when it is cancelled."""


class Clock(Protocol):
    """Seconds, monotonic."""

    def __call__(self) -> float:
        """Now."""
