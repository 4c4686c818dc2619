"""Response bodies as they are documented in OpenAPI. A test holds real answers to them, strictly."""

from typing import Any, Literal

from pydantic import Field

from attributor.api.documented import Document
from attributor.api.documented_result import ResultDocument
from attributor.jobs.access import Scope
from attributor.jobs.explanation import GammaKind, Method, Quantity
from attributor.jobs.model import Fit, Framework, InputKind, OutputKind, OutputScale, Part, Readiness, SourceKind
from attributor.jobs.state import JobState


class ModelRef(Document):
    """The model that answered."""

    name: str
    version: str
    digest: str = Field(description="sha256 of the bundle's manifest, which holds the sha256 of every file.")


class ProgressDocument(Document):
    """How far a running job is."""

    evaluations: int
    completeness_error: float | None = Field(description="Relative, the largest over the inputs; null while unknown.")
    inputs_done: int
    inputs: int


class JobSummary(Document):
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
    cached: bool = Field(description="Whether it was answered with what was computed for an earlier equal question.")
    position: int | None = Field(description="Jobs ahead of it; null unless queued, and in listings.")
    progress: ProgressDocument | None = Field(description="Null unless running, and before its first word.")
    links: dict[str, str]


class FailureDocument(Document):
    """Why a job failed."""

    code: str
    title: str
    detail: str


class JobDocument(JobSummary):
    """A job, with its results once it succeeded."""

    timings: dict[str, float | None] = Field(description="`queued_s` and `computing_s`, seconds; null until known.")
    results: list[ResultDocument] | None = Field(
        description="The first 1,000 of them; null unless it succeeded, and in the 202 to a request that did not wait."
    )
    next: str | None = Field(description="Where the results after these are; null where these are all.")
    error: FailureDocument | None


class JobPageDocument(Document):
    """A page of jobs, newest first."""

    attributions: list[JobSummary]
    next_cursor: str | None


class QuarantinedDocument(Document):
    """A job that is in quarantine."""

    id: str
    tenant: str
    model: ModelRef
    inputs: int
    attempts: int = Field(description="Workers that were lost with it.")
    created_at: str = Field(description="RFC 3339, UTC.")
    quarantined_at: str
    expires_at: str = Field(description="When it is erased, unless it is retried.")
    error: FailureDocument
    asked: dict[str, Any] | None = Field(description="What was asked, without the inputs; null in listings.")


class QuarantineDocument(Document):
    """The jobs in quarantine, those put there last first."""

    quarantined: list[QuarantinedDocument]


class FeatureDocument(Document):
    """A named column."""

    name: str
    unit: str | None
    minimum: float | None
    maximum: float | None
    categories: list[str] = Field(description="One of them is sent in place of a number; empty for numbers.")
    one_hot: bool = Field(description="Whether the model takes a number per category, not the category's number.")
    missing: float | str | None = Field(description="What stands for null; null: the column may not be missing.")


class NormaliseDocument(Document):
    """Of a channel: pixels from 0 to 1, less `mean`, over `std`."""

    mean: float
    std: float


class SourceDocument(Document):
    """What can be sent in one piece, from which the service makes several of the model's inputs."""

    name: str
    kind: SourceKind
    send: str = Field(description="What to send under this name, in a sentence.")
    tokenizer: str | None = Field(description="Of a text: the bundle's file that cuts it into tokens.")
    elements: list[str] = Field(description="Of a molecule: the chemical elements that the model knows.")
    inputs: list[str] = Field(description="The inputs that it stands for.")


class InputDocument(Document):
    """An input that the model takes."""

    name: str
    kind: InputKind
    datatype: Literal["FP32", "INT64"]
    shape: list[int]
    variable: bool = Field(description="Whether an example may have fewer positions than the first number of `shape`.")
    attributed: bool = Field(description="False: it must be sent, and is never explained (a mask).")
    source: str | None = Field(description="The source that it is made from, if it is not sent itself.")
    part: Part | None = Field(description="Which of that source's tensors it is.")
    features: list[FeatureDocument]
    groups: dict[str, list[str]] = Field(description="Named sets of features, whose attributions are added up.")
    value_range: list[float] | None = Field(description="Of an image: the model's values for pixel 0 and pixel 255.")
    normalise: list[NormaliseDocument] = Field(
        description="Of an image, by channel, where its values are not one range; empty otherwise."
    )
    fit: Fit | None = Field(
        description="How pictures of another size are brought to the model's; null: they are refused."
    )
    vocabulary: int | None = Field(description="Of tokens: ids run from 0 to one less.")
    pad_id: int | None
    mask_id: int | None
    visualizations: list[str]
    baseline_kinds: list[str] = Field(
        description="Kinds of baseline that this input can have; a name in `baseline` must fit every attributed input. "
        "Empty for an input that is never explained."
    )
    path_kinds: list[GammaKind] = Field(
        description="Kinds of path that this input can have; a kind in `path` must fit every attributed input."
    )


class LayerDescription(Document):
    """A part of the model, which `layer` and `saturation.layers` take by its name."""

    name: str
    type: str | None = Field(description="Its class in torch, such as Conv2d; null where the worker did not tell.")
    module: str = Field(description="What the model itself calls it.")
    description: str | None = Field(description="Of those that the manifest names.")


class OutputDocument(Document):
    """What the model returns."""

    name: str
    kind: OutputKind
    labels: list[str]
    positions: int | None = Field(description="Of a sequence; the most of them where the inputs' length varies.")


class BaselineDocument(Document):
    """A baseline that the model names."""

    name: str
    description: str
    default: bool


class ReadinessDocument(Document):
    """What the workers say of the model."""

    state: Readiness
    reason: str | None
    checks: dict[str, str]
    loaded: bool = Field(description="Whether it is in memory; one that is ready is loaded when a job wants it.")
    memory_bytes: int | None = Field(description="Of its parameters and buffers; null until a worker has told.")
    seconds_per_evaluation: float | None = Field(
        description="Of one point's forward and backward pass on that worker, in passes of `points_per_pass`; null "
        "until measured."
    )
    points_per_pass: int | None = Field(description="As many as were measured best; null until measured.")
    transforms: list[str] = Field(
        description="What was done to the model without changing its answers, to make passes cheaper: `folded_norms`, "
        "`pooled_first`, `channels_last`, `fused_attention`, `affine_prefix`; and `length_buckets` where examples of "
        "several lengths share passes."
    )


class ModelDocument(Document):
    """A model and what it can do."""

    name: str
    version: str
    default: bool = Field(description="Whether the bare name means this version.")
    aliases: list[str] = Field(description="Other names of this version, as in `name@alias`.")
    digest: str
    title: str
    description: str
    licence: str
    source: str = Field(description="Where the model comes from.")
    framework: Framework
    gradients: bool = Field(description="Whether it can be differentiated; if not, only methods that perturb fit.")
    sources: list[SourceDocument]
    inputs: list[InputDocument]
    output: OutputDocument
    baselines: list[BaselineDocument]
    reference_count: int = Field(description="Inputs in the reference set; 0: there is none.")
    paths: list[str] = Field(description="Names of registered paths.")
    layers: list[LayerDescription] = Field(
        description="Those that the manifest names, then, once a worker has loaded the model, its modules in the order "
        "of their definition."
    )
    methods: list[Method] = Field(
        description="Methods that can explain it; without those that need the extra `comparators` where the worker "
        "lacks it."
    )
    quantities: list[Quantity] = Field(description="What can be attributed to a layer.")
    scales: list[OutputScale] = Field(description="The default first.")
    readiness: ReadinessDocument


class ModelListDocument(Document):
    """All versions of all models."""

    models: list[ModelDocument]
    unreadable: dict[str, str] = Field(description="What is wrong with the other bundles, by `name@version`.")


class RankedDocument(Document):
    """A class of a position of a sequence."""

    class_: int = Field(alias="class")
    label: str
    probability: float
    logit: float


class PredictionItem(Document):
    """The model's output for one input. Null is what this kind of output has not."""

    class_: int | None = Field(alias="class")
    label: str | None
    probabilities: dict[str, float] | None
    logits: dict[str, float] | None
    values: dict[str, float] | None = Field(description="Of regression outputs, by label.")
    positions: list[list[RankedDocument]] | None = Field(
        description="Of a sequence: for each position its best classes, at most 10."
    )


class PredictionDocument(Document):
    """The model's outputs."""

    model: ModelRef
    predictions: list[PredictionItem]


class ProblemCodeDocument(Document):
    """A problem code, in short."""

    status: int
    title: str


class ProblemPageDocument(ProblemCodeDocument):
    """A problem code, explained."""

    code: str
    meaning: str = Field(description="Markdown, a sentence or two.")
    what_to_do: str = Field(description="Markdown, a sentence or two.")


class SessionDocument(Document):
    """Who is signed in."""

    tenant: str
    scopes: list[Scope]
    csrf_token: str | None = Field(
        description="For X-CSRF-Token; null where the request came with a key, not a cookie."
    )


class AcceptingDocument(Document):
    """Whether jobs can be taken."""

    accepting: bool


class HealthDocument(Document):
    """Whether the service can serve."""

    ready: bool
    store: bool
    workers: int
    models: dict[str, Readiness]
