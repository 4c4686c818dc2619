"""What a picture's numbers say, by method and smoothing: words, units, and whether signs mean anything. No drawing."""

from collections.abc import Mapping
from dataclasses import dataclass

from attributor.jobs.explanation import Method, SmoothForm
from attributor.jobs.job import Polarity


@dataclass(frozen=True, slots=True)
class Reading:
    """Words for values below, at and above zero; without `signed` there are none below.

    `verbs`: what such a value does, before "the score of ...". `near`: the same beside a scale, in short. `colours`:
    the sentence on the lowering and on the raising colour, which has its name for {}.
    """

    signed: bool
    titles: Mapping[Polarity, str]
    verbs: Mapping[str, str]
    near: Mapping[str, str]
    colours: tuple[str, str]
    units: str


#: Shares of the score, or of its difference to the baseline.
EFFECT = Reading(
    signed=True,
    titles={
        Polarity.BOTH: "Effects on the score of",
        Polarity.POSITIVE: "What raises the score of",
        Polarity.NEGATIVE: "What lowers the score of",
    },
    verbs={"lowers": "lowers", "none": "no effect on", "raises": "raises", "either": "raises or lowers"},
    near={"lowers": "lowers", "none": "no effect", "raises": "raises", "either": "strong effect"},
    colours=("{} lowers the score", "{} raises the score"),
    units="score",
)
_SLOPE = Reading(
    signed=True,
    titles={
        Polarity.BOTH: "Gradient of the score of",
        Polarity.POSITIVE: "Where a larger value raises the score of",
        Polarity.NEGATIVE: "Where a larger value lowers the score of",
    },
    verbs={
        "lowers": "a larger value lowers",
        "none": "no effect on",
        "raises": "a larger value raises",
        "either": "a larger value raises or lowers",
    },
    near={"lowers": "score falls", "none": "no effect", "raises": "score rises", "either": "sensitive"},
    colours=("{}: a larger value lowers the score", "{}: a larger value raises the score"),
    units="score per unit of the input",
)
#: Methods whose numbers are gradients, or gradients carried back by other rules.
_SLOPES = frozenset({Method.SALIENCY, Method.GUIDED_BACKPROPAGATION, Method.DECONVOLUTION})


def reading(method: Method, *, absolute: bool, form: SmoothForm | None) -> Reading:
    """How a result is to be read. `absolute`: of saliency; `form`: of the average over noisy copies, if any."""
    plain = _SLOPE if method in _SLOPES else EFFECT
    of = "gradients" if plain is _SLOPE else "effects"
    if form is SmoothForm.SQUARED:
        title = f"Mean square of the {of} on noisy copies, score of"
        return _unsigned(title, ("affects", "strong effect"), "the stronger the effect, either way", _square(plain))
    if form is SmoothForm.VARIANCE:
        title = f"Variance of the {of} on noisy copies, score of"
        return _unsigned(title, ("varies in its effect on", "varies"), "the more the effect varies", _square(plain))
    if method is Method.SALIENCY and absolute:
        title = "Sensitivity, as |gradient|, of the score of"
        return _unsigned(title, ("moves", "sensitive"), "the more sensitive the score is", plain.units)
    return plain


def _square(plain: Reading) -> str:
    return f"({plain.units}) squared"


def _unsigned(title: str, strong: tuple[str, str], sentence: str, units: str) -> Reading:
    """One colour, for how much and never for which way. `strong`: the verb and the short form of it."""
    verb, near = strong
    return Reading(
        signed=False,
        titles=dict.fromkeys(Polarity, title),
        verbs={"lowers": "", "none": "no effect on", "raises": verb, "either": verb},
        near={"lowers": "", "none": "none", "raises": near, "either": near},
        colours=("", "the stronger the {}, " + sentence),
        units=units,
    )
