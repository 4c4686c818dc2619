"""What is counted and measured, and the tally that a process keeps of it until the store has it.

One table of names, so that what is written by a worker and shown by the API cannot differ. Labels take few values: no
tenant, no job, nothing that a client wrote. Knows no store and no way of showing.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

#: Between the parts of a field's name. No label holds it: it is no character of a name.
_APART = "\t"
#: The part of a histogram that is the sum of what was observed, and of the last bucket.
SUM, INFINITY = "sum", "+Inf"

#: Seconds. Ours: from a small model's answer to the longest that a request waits, and on to a comparator's ten minutes.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter, or a histogram if it has `buckets`: their upper bounds. `name`: without the ending of its kind."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


JOB_WAIT = Metric(
    "attributor_job_wait_seconds",
    "From a job's creation until a worker took it.",
    ("kind", "priority"),
    _SECONDS,
)
JOB_RUN = Metric(
    "attributor_job_run_seconds",
    "From when a worker took a job until its end was stored.",
    ("kind", "method"),
    _SECONDS,
)
JOBS_ENDED = Metric(
    "attributor_jobs_ended",
    "Jobs that workers ended, by how: succeeded, cancelled, lost (to another worker), or a failure's code.",
    ("kind", "method", "outcome"),
)
RESULTS = Metric(
    "attributor_results",
    "Attributions computed, by whether their integral converged: true, false, or none for methods without one.",
    ("method", "converged"),
)
COMPLETENESS_ERROR = Metric(
    "attributor_completeness_error",
    "Completeness error of results, relative to the difference of the scores.",
    ("method",),
    (1e-6, 1e-5, 1e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
)
EVALUATIONS = Metric("attributor_evaluations", "Points on paths that a model was evaluated at.", ("model",))
PASSES = Metric("attributor_pass_seconds", "Time that a pass of a model took.", ("model",), _SECONDS)
BATCH_FILL = Metric(
    "attributor_batch_fill_ratio",
    "Points of a pass, as a part of those that it has room for.",
    ("model",),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
BATCH_JOBS = Metric(
    "attributor_batch_jobs", "Jobs that share a pass.", ("model",), (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
)
HTTP_REQUESTS = Metric("attributor_http_requests", "Requests answered.", ("method", "route", "status"))
HTTP_DURATION = Metric(
    "attributor_http_request_duration_seconds",
    "From a request's head until its answer begins.",
    ("method", "route"),
    _SECONDS,
)
HTTP_REFUSALS = Metric(
    "attributor_http_refusals", "Requests refused for want of room or of a part (429, 503), by code.", ("code",)
)

#: All of them.
METRICS = (
    JOB_WAIT,
    JOB_RUN,
    JOBS_ENDED,
    RESULTS,
    COMPLETENESS_ERROR,
    EVALUATIONS,
    PASSES,
    BATCH_FILL,
    BATCH_JOBS,
    HTTP_REQUESTS,
    HTTP_DURATION,
    HTTP_REFUSALS,
)


def field_of(metric: Metric, labels: Iterable[str], part: str = "") -> str:
    """The name under which a number is kept. `part`: of a histogram, a bucket's upper bound or SUM."""
    return _APART.join((metric.name, part, *labels))


def parts_of(field: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, part and labels. Raises ValueError for what `field_of` did not make."""
    name, part, *labels = field.split(_APART)
    return name, part, tuple(labels)


def bounds_of(metric: Metric) -> tuple[str, ...]:
    """The upper bounds of a histogram's buckets as they are written."""
    return (*(f"{bound:g}" for bound in metric.buckets), INFINITY)


class Tally:
    """What a process has counted and not handed on. For several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counted: dict[str, float] = {}
        #: By metric and labels: the fields of the buckets, and that of the sum.
        self._fields: dict[tuple[str, tuple[str, ...]], tuple[list[str], str]] = {}

    def count(self, metric: Metric, labels: tuple[str, ...], by: float = 1) -> None:
        """Add to a counter."""
        field = field_of(metric, labels)
        with self._lock:
            self._counted[field] = self._counted.get(field, 0) + by

    def observe(self, metric: Metric, labels: tuple[str, ...], *values: float) -> None:
        """Add values to a histogram."""
        known = self._fields.get((metric.name, labels))
        if known is None:
            buckets = [field_of(metric, labels, bound) for bound in bounds_of(metric)]
            known = self._fields[metric.name, labels] = buckets, field_of(metric, labels, SUM)
        buckets, total = known
        with self._lock:
            counted = self._counted
            for value in values:
                bucket = buckets[bisect_left(metric.buckets, value)]
                counted[bucket] = counted.get(bucket, 0) + 1
                counted[total] = counted.get(total, 0) + value

    def take(self) -> Mapping[str, float]:
        """All that was counted since the last call, by field."""
        with self._lock:
            counted, self._counted = self._counted, {}
        return counted
