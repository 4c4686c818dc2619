"""Response bodies as they are documented in OpenAPI. A test holds real answers to them, strictly."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attributor.jobs.job import RuleName
from attributor.jobs.model import InputKind, OutputScale, Readiness
from attributor.jobs.state import JobState


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelRef(_Document):
    """The model that answered."""

    name: str
    version: str
    digest: str = Field(description="sha256 of the bundle's manifest, which holds the sha256 of every file.")


class ProgressDocument(_Document):
    """How far a running job is."""

    evaluations: int
    completeness_error: float | None = Field(description="Relative, the largest over the inputs; null while unknown.")
    inputs_done: int
    inputs: int


class JobSummary(_Document):
    """A job, without its results."""

    id: str
    state: JobState
    cancelling: bool
    model: ModelRef
    inputs: int
    created_at: str = Field(description="RFC 3339, UTC.")
    started_at: str | None
    finished_at: str | None
    expires_at: str | None = Field(description="When the job and its result are erased.")
    attempts: int = Field(description="How often a worker took it; more than 1 after a worker died.")
    position: int | None = Field(description="Jobs ahead of it; null unless queued, and in listings.")
    progress: ProgressDocument | None = Field(description="Null unless running, and before its first word.")
    links: dict[str, str]


class TargetDocument(_Document):
    """The target that was explained."""

    class_: int = Field(alias="class")
    label: str
    scale: OutputScale
    predicted: bool = Field(description="Whether it is the class with the highest score at the input.")


class ErrorDocument(_Document):
    """An error of completeness."""

    absolute: float = Field(description="In units of the score.")
    relative: float | None = Field(description="To |score - baseline_score|; null where that is zero.")


class ToleranceDocument(_Document):
    """What was allowed."""

    relative: float
    absolute: float


class NodesDocument(_Document):
    """The nodes of the rule, ascending in alpha; parallel lists."""

    alpha: list[float]
    weight: list[float]
    score: list[float]
    slope: list[float | None]


class TensorDocument(_Document):
    """Attributions of one input tensor, of its shape."""

    datatype: Literal["FP32"]
    shape: list[int]
    encoding: Literal["numbers", "base64-npy"]
    data: Any = Field(description="Nested lists of numbers, or a base64 npy file.")
    features: list[str] | None = Field(None, description="Names along the first axis, for tabular inputs.")


class WarningDocument(_Document):
    """Something to know before trusting the numbers."""

    code: str
    message: str


class ResultDocument(_Document):
    """The attributions of one input."""

    method: Literal["integrated_gradients"]
    target: TargetDocument
    baseline: str = Field(description="Name of the model's baseline, or `custom`.")
    score: float = Field(description="F(x), on the target's scale.")
    baseline_score: float = Field(description="F(x'), the same score at the baseline.")
    attribution_sum: float = Field(description="Of the attributions as served, added up in float64.")
    completeness_error: ErrorDocument
    tolerance: ToleranceDocument
    converged: bool = Field(
        description="Whether the errors of the path's panels, added up without cancelling, are within the tolerance; "
        "for fixed rules: whether the completeness error is."
    )
    stop_reason: str
    attribution_error: float | None = Field(description="Relative L1 difference to the rule on every other node.")
    rule: RuleName
    evaluations: int = Field(description="Gradient evaluations: the unit of cost.")
    forwards: int
    backwards: int
    nodes: NodesDocument
    attributions: dict[str, TensorDocument]
    visualizations: list[dict[str, Any]]
    warnings: list[WarningDocument]
    timings: dict[str, float] = Field(description="`queued_s`, and `computing_s` from the job's start to this result.")


class FailureDocument(_Document):
    """Why a job failed."""

    code: str
    title: str
    detail: str


class JobDocument(JobSummary):
    """A job, with its results once it succeeded."""

    timings: dict[str, float | None] = Field(description="`queued_s` and `computing_s`, seconds; null until known.")
    results: list[ResultDocument] | None
    error: FailureDocument | None


class JobPageDocument(_Document):
    """A page of jobs, newest first."""

    attributions: list[JobSummary]
    next_cursor: str | None


class FeatureDocument(_Document):
    """A named column."""

    name: str
    unit: str | None
    minimum: float | None
    maximum: float | None


class InputDocument(_Document):
    """An input that the model takes."""

    name: str
    kind: InputKind
    datatype: Literal["FP32"]
    shape: list[int]
    features: list[FeatureDocument]
    value_range: list[float] | None
    visualizations: list[str]


class BaselineDocument(_Document):
    """A baseline that the model names."""

    name: str
    description: str
    default: bool


class ReadinessDocument(_Document):
    """What the workers say of the model."""

    state: Readiness
    reason: str | None
    checks: dict[str, str]


class ModelDocument(_Document):
    """A model and what it can do."""

    name: str
    version: str
    default: bool = Field(description="Whether the bare name means this version.")
    digest: str
    title: str
    description: str
    licence: str
    source: str
    inputs: list[InputDocument]
    output: dict[str, Any]
    baselines: list[BaselineDocument]
    layers: list[str]
    methods: list[str]
    scales: list[OutputScale]
    readiness: ReadinessDocument


class ModelListDocument(_Document):
    """All versions of all models."""

    models: list[ModelDocument]
    unreadable: dict[str, str] = Field(description="What is wrong with the other bundles, by `name@version`.")


class PredictionItem(_Document):
    """The model's output for one input."""

    class_: int = Field(alias="class")
    label: str
    probabilities: dict[str, float]
    logits: dict[str, float]


class PredictionDocument(_Document):
    """The model's outputs."""

    model: ModelRef
    predictions: list[PredictionItem]


class HealthDocument(_Document):
    """Whether the service can serve."""

    ready: bool
    store: bool
    workers: int
    models: dict[str, Readiness]
