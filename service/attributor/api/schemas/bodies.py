"""The two request bodies. Form only."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from attributor.api.schemas.explanation import (
    Baselines,
    InteriorBody,
    LayerBody,
    SaturationBody,
    SmoothingBody,
    TargetBody,
    Targets,
)
from attributor.api.schemas.fields import Closed, Name, Number, PositiveNumber, Whole
from attributor.api.schemas.paths import Paths
from attributor.api.schemas.pictures import VisualizationBody
from attributor.jobs.explanation import Method, Precision
from attributor.jobs.job import RuleName

#: Below this, float32 cannot tell a completeness error from rounding.
TIGHTEST_TOLERANCE = 1e-6
#: The adaptive rule's first nodes; fewer evaluations than that are no integration.
FEWEST_EVALUATIONS = 9
#: Ours: twenty times the default, an hour of a large net on a CPU.
MOST_EVALUATIONS = 10_000
#: More nodes of a fixed rule than anyone used in the papers (20 to 1,000).
MOST_STEPS = 2_000
#: What numpy's and torch's generators both take.
LARGEST_SEED = 2**32 - 1
#: Seconds. Ours: results are kept a day, and nobody waits longer for one.
LONGEST_DEADLINE_S = 86_400.0

Tolerance = Annotated[float, Field(strict=True, ge=TIGHTEST_TOLERANCE, le=1, allow_inf_nan=False)]


class Priority(StrEnum):
    """Which jobs go first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


InputItem = Annotated[
    dict[str, Any],
    Field(
        description="One input to explain, by the names of the model's inputs and `sources`. Always taken is a tensor "
        'in Open Inference Protocol form, `{"shape": [...], "datatype": "FP32", "data": [...]}`. Else a value is what '
        "the model declares. Of a table: an object of its features, a number or the name of a category each; one that "
        "is null or left out takes the value declared as `missing`, and is refused without it. Of an image: a PNG or "
        "JPEG as base64, of the model's size, or of any size where the model declares a `fit`: `crop` scales the "
        "shorter side and cuts the middle out, `stretch` scales both sides. Of token ids: a list of them, shorter "
        "ones too where the model pads or takes variable lengths. Of a source, in place of all inputs that are made "
        'from it: a text, or `{"text": "...", "pair": "..."}`; a molecule as SMILES.'
    ),
]

_DIGIT: Any = [{"image": {"shape": [1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}}]


class AttributionBody(Closed):
    """A request for attributions. Only `model` and `inputs` are required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "digits",
                    "inputs": _DIGIT,
                    "target": {"class": "3", "scale": "probability"},
                    "baseline": "black",
                    "tolerance": 0.01,
                    "visualizations": [{"kind": "overlay"}],
                }
            ]
        },
    )

    model: Name = Field(description="`name`, its default version, or `name@version`.")
    inputs: list[InputItem] = Field(
        min_length=1, fail_fast=True, description="One result each, or, with several targets, one for each of them."
    )
    method: Method = Field(Method.INTEGRATED_GRADIENTS, description="How features get their shares.")
    target: Targets = Field(
        TargetBody.model_validate({}), description="Which score to explain, or several of them: a result each."
    )
    baseline: Baselines | None = Field(
        None,
        description="What stands for absence: the name of one that the model declares, or of a kind (`zero`, `blur`, "
        "...); an object with that kind and its numbers; an object by input, of any of those or of values in the form "
        "of `inputs` (a source, such as a text, stands for the inputs that are made from it); or a list of baselines, "
        "which are averaged over. Absent: the model's default.",
    )
    path: Paths | None = Field(
        None,
        description="The way from the baseline to the input, of all inputs or by input: a kind (`straight`, `blur`, "
        "`guided`) or an object with that kind and what goes with it. Absent: straight.",
    )
    layer: LayerBody | None = Field(None, description="Attribute a layer's output in place of the inputs.")
    rule: RuleName = Field(RuleName.ADAPTIVE, description="adaptive picks its nodes by error; the others are fixed.")
    tolerance: Tolerance | None = Field(
        0.01,
        description="Completeness error allowed, relative to the score difference; null where `attribution_tolerance` "
        "alone shall decide.",
    )
    attribution_tolerance: Tolerance | None = Field(
        None, description="Estimated error of the attributions allowed, relative L1, besides `tolerance`."
    )
    absolute_tolerance: PositiveNumber = Field(
        1e-5, description="Completeness error allowed in any case, in units of the score."
    )
    max_evaluations: Annotated[int, Field(strict=True, ge=FEWEST_EVALUATIONS, le=MOST_EVALUATIONS)] = Field(
        500,
        description="Gradient evaluations per input that the adaptive rule may take (with smoothing: per noisy copy), "
        "with those of a guided path's walk and of the check of `bfloat16`; but each piece of path takes 2 of its own "
        "in any case. The gradients of `interior` come on top.",
    )
    n_steps: Annotated[int, Field(strict=True, ge=1, le=MOST_STEPS)] | None = Field(
        None, description="Nodes of a fixed rule; 50 if absent."
    )
    smoothing: SmoothingBody | None = Field(None, description="Repeat the method on noisy copies of the input.")
    interior: InteriorBody | None = Field(None, description="Also answer the gradients at points of the path.")
    saturation: SaturationBody | None = Field(None, description="Also answer the score along the path.")
    samples: Annotated[Whole, Field(ge=2, le=MOST_EVALUATIONS)] | None = Field(
        None, description="Of `expected_gradients`: draws (absent: 200). Of `shapley`: orders of features (absent: 25)."
    )
    seed: Annotated[Whole, Field(ge=0, le=LARGEST_SEED)] | None = Field(
        None,
        description="Of everything drawn at random. Absent: the service draws one, which the result states; the same "
        "request with that seed has the same answer.",
    )
    precision: Precision = Field(
        Precision.FLOAT32,
        description="In what numbers the model computes. `bfloat16`: matrix products and convolutions in bfloat16, "
        "faster and less exact; the result states `precision_error`. For integrated and expected gradients.",
    )
    absolute: Annotated[bool, Field(strict=True)] = Field(
        True, description="Of `saliency`: answer |gradient|; false: the gradient with its sign."
    )
    options: dict[Name, Number] = Field(
        default={},
        max_length=8,
        description="Of `occlusion`: `window`, the side of a square of pixels or a length, and `stride`, by how much "
        "it moves (absent: its side). Of `kernel_shap` and `lime`: `window`, as features that go together, and "
        "`samples`, forward passes (absent: 2048 and 2 per feature; 1000). A `window` that is absent is 1, or larger "
        "where there are more than 64 pixels. Of `lrp`: `spread_bias`, 1 to hand on what reaches a bias (absent: 0).",
    )
    visualizations: list[VisualizationBody] = Field(default=[], max_length=16, description="Pictures in the answer.")
    priority: Priority = Field(
        Priority.NORMAL, description="Jobs of a higher one are taken from the queue, and get a worker's passes, first."
    )
    deadline_s: Annotated[float, Field(strict=True, gt=0, le=LONGEST_DEADLINE_S, allow_inf_nan=False)] | None = Field(
        None,
        description="Seconds from its creation after which the answer is worth nothing: the job then fails with "
        "`deadline_exceeded`.",
    )


class PredictionBody(Closed):
    """A request for a model's outputs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": _DIGIT}]})

    inputs: list[InputItem] = Field(min_length=1, fail_fast=True, description="One prediction each.")
