"""What a client asked for (JobSpec) and what became of it (JobRecord). Frozen, no behaviour that does I/O.

Times are seconds since the epoch, as float; durations carry `_s`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from attributor.jobs.explanation import COMPARATORS, Explanation
from attributor.jobs.given import Given
from attributor.jobs.model import InputSpec, Tensors
from attributor.jobs.state import JobState


class JobKind(StrEnum):
    """Attributions along a path, or the model's outputs only."""

    ATTRIBUTION = "attribution"
    PREDICTION = "prediction"


class RuleName(StrEnum):
    """How the path integral is approximated; `ADAPTIVE` picks its nodes by exact residuals."""

    ADAPTIVE = "adaptive"
    RIGHT_RIEMANN = "right_riemann"
    MIDPOINT = "midpoint"
    TRAPEZOID = "trapezoid"
    GAUSS_LEGENDRE = "gauss_legendre"


class Polarity(StrEnum):
    """Which signs a picture shows."""

    BOTH = "both"
    POSITIVE = "positive"
    NEGATIVE = "negative"


class VisualizationKind(StrEnum):
    """What can be drawn."""

    HEATMAP = "heatmap"
    OVERLAY = "overlay"
    BARS = "bars"


class OverlayStyle(StrEnum):
    """`TINT`: the grey picture under a signed tint; `INTENSITY`: the picture scaled by |attribution|."""

    TINT = "tint"
    INTENSITY = "intensity"


class ColorMap(StrEnum):
    """Named palettes: ours (colour-blind safe) and the papers' green for positive, red for negative."""

    BLUE_ORANGE = "blue_orange"
    GREEN_RED = "green_red"


@dataclass(frozen=True, slots=True)
class Visualization:
    """A picture asked for. `clip_percentile`: this percentile of |attribution| gets full strength.

    `scale_px`: the longer side of an image picture is at least so many pixels, by whole-number enlargement. `input`:
    whose attributions, where several inputs have some; None: the first that can be drawn.
    """

    kind: VisualizationKind
    polarity: Polarity = Polarity.BOTH
    clip_percentile: float = 99.0
    color_map: ColorMap = ColorMap.BLUE_ORANGE
    style: OverlayStyle = OverlayStyle.TINT
    scale_px: int = 256
    max_bars: int = 10
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Quadrature:
    """How, and how exactly, to integrate. `n_steps` is for fixed rules, the tolerances for the adaptive one.

    `tolerance` is relative to |F(x) - F(x')|; `absolute_tolerance` is in units of the score, and governs where it
    is the larger. `attribution_tolerance`, if given, must hold as well: the attribution error, relative. `tolerance`
    None: the attribution tolerance alone decides.
    """

    rule: RuleName = RuleName.ADAPTIVE
    tolerance: float | None = 0.01
    absolute_tolerance: float = 1e-5
    attribution_tolerance: float | None = None
    max_evaluations: int = 500
    n_steps: int | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One request: every one of `inputs` is explained, each in every target (a result each, input by input).

    `declared` says what the inputs are, so that an answer can be named and drawn without the model's bundle; `given`
    what a person gave in their place, per input, empty where that is nothing to speak of.
    `fingerprint` is the sha256 of what the client sent, for idempotent retries. `priority`: 0 goes before 1 and 2.
    `deadline_s`: seconds after its creation at which the answer is worth nothing any more; the job then fails.
    `cost`: evaluations that it is expected to take, all inputs together (`api.mapping.cost`). `traceparent`: the W3C
    trace context of the request, if it is traced.
    """

    kind: JobKind
    model: str
    version: str
    digest: str
    declared: tuple[InputSpec, ...]
    inputs: tuple[Tensors, ...]
    fingerprint: str
    explanation: Explanation = field(default_factory=Explanation)
    quadrature: Quadrature = Quadrature()
    visualizations: tuple[Visualization, ...] = ()
    tenant: str = "default"
    priority: int = 1
    given: tuple[Given, ...] = ()
    deadline_s: float | None = None
    cost: int = 1
    traceparent: str = ""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.model}@{self.version}"

    @property
    def is_comparison(self) -> bool:
        """Whether a comparator computes it, not the engine."""
        return self.kind is JobKind.ATTRIBUTION and self.explanation.method in COMPARATORS


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is. The error is the largest over its inputs, relative; None while it is unknown."""

    evaluations: int
    completeness_error: float | None
    inputs_done: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a code of `attributor.errors` and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Where a job stands. `revision` grows with every change that a client can see.

    `cached`: answered with what was computed for another job that asked the same.
    """

    id: str
    kind: JobKind
    state: JobState
    tenant: str
    model: str
    version: str
    digest: str
    n_inputs: int
    revision: int
    attempts: int
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    cancelling: bool = False
    progress: Progress | None = None
    failure: Failure | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to finish a job: `token` changes with every claim, so a late worker is refused."""

    job_id: str
    token: str


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job handed to a worker. `weight`: of its tenant's part of the time. `alone`: it may be what killed workers, and
    is to be computed while nothing else is."""

    lease: Lease
    spec: JobSpec
    created_at: float
    started_at: float
    weight: float = 1.0
    alone: bool = False
