"""The answer for one input and target as it is documented in OpenAPI. A test holds real answers to it, strictly."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attributor.jobs.explanation import Method, Quantity
from attributor.jobs.job import RuleName
from attributor.jobs.model import OutputScale


class Document(BaseModel):
    """A body of ours has every field that is documented, and no other."""

    model_config = ConfigDict(extra="forbid")


class TermDocument(Document):
    """An output of the target, with its factor."""

    output: int
    label: str
    weight: float


class TargetDocument(Document):
    """The target that was explained."""

    class_: int | None = Field(alias="class", description="Null for differences and weighted sums.")
    label: str = Field(description="Of the target as a whole.")
    scale: OutputScale
    predicted: bool = Field(description="Whether it is the class with the highest score at the input.")
    position: int | None = Field(description="Of a sequence output, from 0.")
    terms: list[TermDocument] = Field(description="The score is the sum of weight times output.")


class BaselineScoreDocument(Document):
    """One of the baselines."""

    name: str
    score: float
    completeness_error: float | None = Field(description="Of the path that starts there, in units of the score.")


class ErrorDocument(Document):
    """An error of completeness."""

    absolute: float = Field(description="In units of the score.")
    relative: float | None = Field(description="To |score - baseline_score|; null where that is zero.")


class ToleranceDocument(Document):
    """What was allowed."""

    relative: float | None = Field(description="Of completeness; null where `attribution` alone decides.")
    absolute: float
    attribution: float | None = Field(description="Of `attribution_error`; null where it was not asked for.")


class NodesDocument(Document):
    """The nodes of the rule, by piece of the path, then alpha on that piece; parallel lists."""

    alpha: list[float]
    weight: list[float]
    score: list[float]
    slope: list[float | None]
    piece: list[int] = Field(description="0 for a straight path from one baseline.")


class TensorDocument(Document):
    """Attributions of one input tensor (of tokens: one each), or of a layer's output."""

    datatype: Literal["FP32"]
    shape: list[int]
    encoding: Literal["numbers", "base64-npy"]
    data: Any = Field(description="Nested lists of numbers, or a base64 npy file.")
    features: list[str] | None = Field(None, description="Names along the last axis, for tabular inputs.")


class InteriorDocument(Document):
    """Gradients on the way from the first baseline, not added up (Sundararajan, Taly and Yan 2016, section 2.3)."""

    alphas: list[float]
    vectors: dict[str, TensorDocument] = Field(description="The gradients, shape (alphas, *input shape).")
    importance: dict[str, TensorDocument] = Field(description="|gradient|; of an image, summed over its channels.")
    mean_magnitude: dict[str, list[float]] = Field(description="Mean |gradient| at each alpha.")


class DistanceDocument(Document):
    """How far a layer's output is, at each alpha, from that at the input."""

    layer: str
    l2: list[float]
    cosine: list[float] = Field(description="1 less the cosine.")


class SaturationDocument(Document):
    """The score along the path from the first baseline (Sundararajan, Taly, Yan 2016, section 2.2); parallel lists."""

    alpha: list[float]
    score: list[float]
    probability: list[float] | None
    logit: list[float]
    layers: list[DistanceDocument]


class LayerDocument(Document):
    """Whose output was attributed."""

    name: str
    quantity: Quantity
    cut: bool | None = Field(
        description="Whether all of the score passes through the layer, so that attributions can add up to it."
    )


class WarningDocument(Document):
    """Something to know before trusting the numbers."""

    code: str
    message: str


class ResultDocument(Document):
    """The attributions of one input for one target."""

    input: int = Field(description="Number of the input in the request, from 0.")
    method: Method
    target: TargetDocument
    baseline: str | None = Field(
        description="Name of the baseline, `custom` for one that was sent, `n baselines` for several, null for none."
    )
    score: float = Field(description="F(x), on the target's scale.")
    baseline_score: float | None = Field(description="F(x'), the same score at the baseline; the mean over several.")
    baselines: list[BaselineScoreDocument]
    attribution_sum: float = Field(description="Of the attributions as served, added up in float64.")
    completeness_error: ErrorDocument | None
    completeness_reason: str | None = Field(description="Why there is no completeness error, where it is null.")
    tolerance: ToleranceDocument
    converged: bool | None = Field(
        description="Whether the errors of the path's panels, added up without cancelling, are within the tolerance; "
        "for fixed rules: whether the completeness error is. Null for methods that do not integrate."
    )
    stop_reason: str | None
    attribution_error: float | None = Field(description="Relative L1 difference to the rule on every other node.")
    rule: RuleName | Literal["random"] | None = Field(description="random: one random node per draw of a baseline.")
    evaluations: int = Field(description="Gradient evaluations: the unit of cost.")
    forwards: int
    backwards: int
    nodes: NodesDocument | None
    attributions: dict[str, TensorDocument] = Field(description="By input, or under the name of the layer.")
    spread: dict[str, TensorDocument] | None = Field(
        description="Standard deviation of the attributions over several baselines."
    )
    standard_error: dict[str, TensorDocument] | None = Field(description="Of attributions that were sampled.")
    interior: InteriorDocument | None
    saturation: SaturationDocument | None
    layer: LayerDocument | None
    seed: int | None = Field(description="Of what was drawn at random.")
    visualizations: list[dict[str, Any]]
    warnings: list[WarningDocument]
    timings: dict[str, float] = Field(description="`queued_s`, and `computing_s` from the job's start to this result.")
