"""The answer for one input and target as it is documented in OpenAPI. A test holds real answers to it, strictly."""

from typing import Any, Literal

from pydantic import Field

from attributor.api.documented import Document
from attributor.api.documented_explained import Explained
from attributor.core.integrator import StopReason
from attributor.jobs.explanation import BaselineKind, GammaKind, Method, Precision, Quantity, SmoothForm
from attributor.jobs.job import RuleName
from attributor.jobs.model import OutputScale


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
    predicted: bool | None = Field(
        description="Whether it is the class with the highest score at the input; null where the target is no single "
        "class: a difference, a sum, a regression output."
    )
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
    """What was allowed; all null for methods that do not integrate."""

    relative: float | None = Field(description="Of completeness; null where `attribution` alone decides.")
    absolute: float | None = Field(description="In units of the score; it counts where it is the larger.")
    attribution: float | None = Field(description="Of `attribution_error`; null where it was not asked for.")


class NodesDocument(Document):
    """The nodes of the rule, by piece of the path, then alpha on that piece; parallel lists."""

    alpha: list[float] = Field(description="Where on its piece, from 0 at its start to 1 at its end.")
    weight: list[float] = Field(
        description="Of the node in the sum: the attributions add up to the sum of weight times slope. The weights of "
        "a piece add up to 1, or to 1/n with n baselines."
    )
    score: list[float] = Field(description="F at the node.")
    slope: list[float | None] = Field(
        description="dF/dalpha at the node: the gradient times the path's direction, added up over all features. Null "
        "where no gradient was computed or it is not finite; its weight is then 0."
    )
    piece: list[int] = Field(
        description="Number of the smooth piece of path: of a polyline or a guided path in order, with several "
        "baselines one path after the other; always 0 for a straight path from one baseline."
    )


class TensorDocument(Document):
    """Attributions of one input tensor (of tokens: one each), or of a layer's output."""

    datatype: Literal["FP32"]
    shape: list[int]
    encoding: Literal["numbers", "base64-npy"]
    data: Any = Field(description="Nested lists of numbers, or a base64 npy file.")
    features: list[str] | None = Field(
        None,
        description="Names along the last axis, for tabular inputs: columns, and `column=category` of one-hot ones.",
    )


class InteriorDocument(Document):
    """Gradients on the way from the first baseline, not added up (Sundararajan, Taly and Yan 2016, section 2.3)."""

    alphas: list[float]
    vectors: dict[str, TensorDocument] = Field(description="The gradients, shape (alphas, *input shape).")
    importance: dict[str, TensorDocument] = Field(description="|gradient|; of an image, summed over its channels.")
    mean_magnitude: dict[str, list[float]] = Field(description="Mean |gradient| at each alpha.")


class DistanceDocument(Document):
    """How far a layer's output is, at each alpha, from that at the input."""

    layer: str
    l2_distance: list[float] = Field(description="Euclidean norm of the difference.")
    cosine_distance: list[float] = Field(description="1 less the cosine: 0 in the same direction, 1 at right angles.")


class SaturationDocument(Document):
    """The score along the path from the first baseline (Sundararajan, Taly, Yan 2016, section 2.2); parallel lists."""

    alphas: list[float]
    score: list[float] = Field(description="On the target's scale.")
    probability: list[float] | None = Field(description="Of the target; null for regression outputs.")
    logit: list[float] = Field(description="Of the target, before softmax; for regression outputs the value.")
    layers: list[DistanceDocument]


class LayerDocument(Document):
    """Whose output was attributed."""

    name: str
    quantity: Quantity
    cut: bool | None = Field(
        description="Whether all of the score passes through the layer, so that attributions can add up to it."
    )


class PathDocument(Document):
    """The path of one input. Null is what this kind has not."""

    kind: GammaKind
    points: int | None = Field(description="Of a polyline: how many inner points it goes through.")
    sigma: float | None = Field(description="Of a blur: standard deviation where it starts, pixels.")
    name: str | None = Field(description="Of a registered path.")
    steps: int | None = Field(description="Of a guided path: pieces, at most.")
    fraction: float | None = Field(description="Of a guided path: share of the features that may move in a piece.")


class BaselinePartDocument(Document):
    """The baseline of one input: `named` is one that the model declares, `tensor` one that was sent."""

    kind: BaselineKind
    value: float | None = Field(description="Of `constant`.")
    sigma: float | None = Field(description="Of `blur`: pixels. Of `gaussian`: in units of the input.")


class AskedBaselineDocument(Document):
    """A baseline as it was asked for, or as it is by default."""

    name: str
    samples: int = Field(description="How many are drawn; 1 where none are.")
    inputs: dict[str, BaselinePartDocument]


class SmoothingDocument(Document):
    """The average over noisy copies."""

    form: SmoothForm
    samples: int = Field(description="Noisy copies.")
    noise: float = Field(description="Standard deviation, in ranges of the input.")


class WarningDocument(Document):
    """Something to know before trusting the numbers."""

    code: str
    message: str


class ResultDocument(Document):
    """The attributions of one input for one target. With `fields` in the query only those fields."""

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
        description="Whether the completeness error is within the tolerance, and so are the errors of the path's "
        "panels, taken together as independent ones (the root of the sum of their squares); "
        "for fixed rules: whether the completeness error is. Null for methods that do not integrate."
    )
    stop_reason: StopReason | None = Field(
        description="Why no more nodes were added. tolerance: within it. fixed_rule: its nodes are all there are. "
        "max_evaluations: the budget is used up. discontinuity: the score jumps. float_noise: what is left is rounding "
        "of the model. resolution: nodes would coincide. memory: no more gradients may be kept at a time. Null for "
        "methods that do not integrate, and with smoothing."
    )
    attribution_error: float | None = Field(
        description="Estimate of how far single attributions may be off, relative L1: the difference to a coarser rule "
        "on the same nodes."
    )
    rule: RuleName | Literal["random"] | None = Field(description="random: one random node per draw of a baseline.")
    evaluations: int = Field(description="Points at which a gradient was computed: the unit of cost and of budgets.")
    forwards: int = Field(
        description="Points passed forward: `evaluations`, and those where only the score was wanted. Of the input, "
        "for all of its targets together, as the other two."
    )
    backwards: int = Field(description="Gradients computed: `evaluations` times targets.")
    nodes: NodesDocument | None = Field(description="Null for methods that do not integrate, and with smoothing.")
    attributions: dict[str, TensorDocument] = Field(description="By input, or under the name of the layer.")
    explained: dict[str, Explained] | None = Field(
        description="The same in the terms of what was given: words of a text, columns of a table, atoms and bonds of "
        "a molecule; by source, or by input where tensors were sent. Null with a layer; without inputs of kind tensor, "
        "which have no other terms."
    )
    spread: dict[str, TensorDocument] | None = Field(
        description="Standard deviation of the attributions over several baselines."
    )
    standard_error: dict[str, TensorDocument] | None = Field(
        description="Of sampled attributions: expected_gradients, shapley, drawn baselines. kernel_shap and lime fit "
        "their samples, and have none."
    )
    interior: InteriorDocument | None
    saturation: SaturationDocument | None = Field(description="In the result of the first target.")
    layer: LayerDocument | None
    seed: int | None = Field(description="Of what was drawn at random, if anything was.")
    precision: Precision = Field(description="In what numbers the model computed.")
    precision_error: float | None = Field(
        description="Estimate of what a lower precision adds to the error of single attributions, relative L1; null in "
        "float32."
    )
    path: dict[str, PathDocument] | None = Field(
        description="The path that was integrated along, by input; null for methods that follow none, and for "
        "`layer_ig`, whose path is straight in the layer's output."
    )
    baselines_asked: list[AskedBaselineDocument] = Field(
        description="What `baselines` were made of; empty for methods without."
    )
    smoothing: SmoothingDocument | None
    samples: int | None = Field(description="Draws of expected_gradients, orders of features of shapley.")
    absolute: bool | None = Field(description="Of saliency: whether attributions are |gradient|; null for others.")
    options: dict[str, float] = Field(description="Of the method, as they were sent.")
    visualizations: list[dict[str, Any]]
    warnings: list[WarningDocument]
    timings: dict[str, float] = Field(description="`queued_s`, and `computing_s` from the job's start to this result.")
