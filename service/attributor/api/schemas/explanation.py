"""The parts of a request that say what is explained: targets, baselines, layers, smoothing, diagnostics. Form only."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictInt, StrictStr, Tag, field_validator

from attributor.api.schemas.fields import (
    LONGEST_NAME,
    Alphas,
    Closed,
    Element,
    Name,
    Sigma,
    Whole,
    alternatives,
    class_name,
)
from attributor.jobs.explanation import BaselineKind, Quantity, SmoothForm
from attributor.jobs.model import OutputScale

#: Ours: a backward pass each, in every evaluation.
MOST_TARGETS = 16
#: Ours: a weighted sum with more terms is a layer of the model's own.
MOST_TERMS = 1_000
#: Baselines of one job, samples counted: a path each. Ours: twice what the practice of averaging goes to.
MOST_BASELINES = 256
#: Ours: each is the whole method over again.
MOST_NOISY_COPIES = 200
#: Ours: each is kept, compared and sent for every node.
MOST_OBSERVED_LAYERS = 16
#: The alphas of the papers' figure of interior gradients (Sundararajan, Taly and Yan 2016, figure 3).
PAPER_ALPHAS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)

Output = StrictInt | StrictStr


class TermBody(Closed):
    """An output and its factor."""

    SUCH_AS: ClassVar[str] = '{"output": "cat", "weight": 1}'

    output: Output = Field(description="Index or label.")
    weight: Element = Field(1.0, description="Its factor in the sum; not 0.")

    _is_class = field_validator("output", mode="before")(class_name)


class TargetBody(Closed):
    """Which score to explain: at most one of `class`, `outputs` and `top`; none: the class predicted at the input."""

    SUCH_AS: ClassVar[str] = '{"class": "cat"}'

    class_: Output | None = Field(None, alias="class", description="Index or label of a class or output.")
    minus: Output | None = Field(None, description="With `class`: explain the difference to this class or output.")
    outputs: Annotated[list[TermBody], Field(min_length=1, max_length=MOST_TERMS)] | None = Field(
        None, description="Explain a weighted sum of outputs."
    )
    top: Annotated[Whole, Field(ge=1, le=MOST_TARGETS)] | None = Field(
        None, description="Explain each of the so many best classes: a result each, the best first."
    )
    position: Whole | None = Field(
        None, description="Of a sequence output; negative ones count from the end. Absent: the last."
    )
    scale: OutputScale | None = Field(
        None,
        description="How outputs are read: `probability`, `logit` or `log_probability` of classes (absent: "
        "probability), `value` of regression outputs.",
    )

    _is_class = field_validator("class_", "minus", mode="before")(class_name)


def _one_or_several(value: object) -> str | None:
    if isinstance(value, list):
        return "{several}"
    return "{one}" if isinstance(value, dict | TargetBody) else None


Targets = Annotated[
    Annotated[TargetBody, Tag("{one}")]
    | Annotated[list[TargetBody], Field(min_length=1, max_length=MOST_TARGETS), Tag("{several}")],
    alternatives(_one_or_several, 'must be an object such as {"class": "cat"}, or a list of such objects'),
]

#: What needs no values from the client.
GenericKind = Literal[
    BaselineKind.ZERO,
    BaselineKind.CONSTANT,
    BaselineKind.BLACK,
    BaselineKind.WHITE,
    BaselineKind.BLUR,
    BaselineKind.UNIFORM,
    BaselineKind.GAUSSIAN,
    BaselineKind.MEAN,
    BaselineKind.MEDIAN,
    BaselineKind.MODE,
    BaselineKind.REFERENCE,
    BaselineKind.OTHER_CLASS,
    BaselineKind.PAD,
    BaselineKind.MASK,
    BaselineKind.ZERO_EMBEDDING,
]


class GenericBaseline(Closed):
    """A baseline that the service makes, from the input or from the model's reference set."""

    SUCH_AS: ClassVar[str] = '{"kind": "zero"}'

    kind: GenericKind
    value: Element | None = Field(None, description="Of `constant`: the value of every element.")
    sigma: Sigma | None = Field(
        None,
        description="Of `blur`: standard deviation, pixels (absent: a tenth of the longer side). Of `gaussian`: "
        "standard deviation of noise around the input, in the input's own units; what leaves the declared range is "
        "clipped to it.",
    )
    samples: Annotated[Whole, Field(ge=1, le=MOST_BASELINES)] | None = Field(
        None, description="Of `uniform`, `gaussian`, `reference`: how many are drawn and averaged over (absent: 10)."
    )


def _form_of_value(value: object) -> str | None:
    if isinstance(value, str):
        return "{text}"
    if isinstance(value, GenericBaseline) or (isinstance(value, dict) and isinstance(value.get("kind"), str)):
        return "{kind}"
    if isinstance(value, list):
        return "{ids}"
    return "{values}" if isinstance(value, dict) else None


InputBaseline = Annotated[
    Annotated[StrictStr, Tag("{text}")]
    | Annotated[GenericBaseline, Tag("{kind}")]
    | Annotated[list[Any], Tag("{ids}")]
    | Annotated[dict[str, Any], Tag("{values}")],
    alternatives(_form_of_value, "must be the name of a baseline, an object with a kind, or a value of the input"),
]


def _form(value: object) -> str | None:
    return {"{text}": "{name}", "{kind}": "{kind}", "{values}": "{inputs}"}.get(_form_of_value(value) or "")


OneBaseline = Annotated[
    Annotated[Name, Tag("{name}")]
    | Annotated[GenericBaseline, Tag("{kind}")]
    | Annotated[dict[str, InputBaseline], Tag("{inputs}")],
    alternatives(
        _form, "must be the name of a baseline, an object with a kind, or an object like an entry of `inputs`"
    ),
]


def _one_baseline_or_several(value: object) -> str | None:
    if isinstance(value, list):
        return "{several}"
    return "{one}" if isinstance(value, str | dict | GenericBaseline) else None


Baselines = Annotated[
    Annotated[OneBaseline, Tag("{one}")]
    | Annotated[list[OneBaseline], Field(min_length=1, max_length=MOST_BASELINES), Tag("{several}")],
    alternatives(
        _one_baseline_or_several,
        "must be the name of a baseline, an object with a kind or like an entry of `inputs`, or a list of those",
    ),
]


class LayerBody(Closed):
    """A module of the model whose output is attributed in place of the inputs."""

    SUCH_AS: ClassVar[str] = (
        '{"name": "layers.1", "quantity": "conductance"}; the names are in `layers` of GET /v1/models/{name}'
    )

    name: Name = Field(description="One of the model's `layers`.")
    quantity: Quantity = Field(
        Quantity.LAYER_IG,
        description="`layer_ig`: straight path in the layer's output; `conductance`: path in the input, share that "
        "flows through each unit; `influence`: path in the input, mean gradient at each unit.",
    )


class SmoothingBody(Closed):
    """An average over noisy copies of the input."""

    SUCH_AS: ClassVar[str] = '{"form": "plain", "samples": 10}'

    form: SmoothForm = Field(SmoothForm.PLAIN, description="Average attributions, their squares, or their variance.")
    samples: Annotated[Whole, Field(ge=2, le=MOST_NOISY_COPIES)] = Field(10, description="Noisy copies.")
    noise: Annotated[float, Field(strict=True, gt=0, le=10)] = Field(
        0.1,
        description="Standard deviation of the noise, as a share of the range: of each feature's declared range (a "
        "table), of the picture's value range, else of the range of this input's own values. Nothing is clipped.",
    )


class InteriorBody(Closed):
    """Gradients on the way, not added up."""

    SUCH_AS: ClassVar[str] = '{"alphas": [0.1, 0.5, 1.0]}'

    alphas: Annotated[Alphas, Field(min_length=1)] = Field(
        list(PAPER_ALPHAS), description="Where, from 0 at the baseline to 1 at the input."
    )


class SaturationBody(Closed):
    """How the score, and layers, change along the path."""

    SUCH_AS: ClassVar[str] = '{"alphas": [0.2, 0.5], "layers": ["layers.1"]}'

    alphas: Alphas = Field([], description="Points to look at besides those that the job evaluates anyway.")
    layers: Annotated[list[Annotated[str, Field(max_length=LONGEST_NAME)]], Field(max_length=MOST_OBSERVED_LAYERS)] = (
        Field([], description="Modules whose output is compared with that at the input.")
    )
