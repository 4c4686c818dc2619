"""What goes with which method, and which model can be explained by it: one table, and the refusals that follow.

Knows requests and what a manifest says of a model. Reads no values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attributor.api.schemas.bodies import AttributionBody
from attributor.errors import InvalidRequest, UnsupportedByModel
from attributor.inputs.baselines import shapley_features
from attributor.jobs.explanation import COMPARATORS, Method, Precision, Quantity
from attributor.jobs.fitting import MOST_SHAPLEY_FEATURES, cannot_explain
from attributor.jobs.model import InputKind, ModelInfo


@dataclass(frozen=True, slots=True)
class MethodRules:
    """What a method takes. `fields`: those of the body that not every method has. `samples`: its default. `options`: by
    name, whether a value will do, and what would."""

    fields: frozenset[str] = frozenset()
    samples: int | None = None
    options: Mapping[str, tuple[Callable[[float], bool], str]] = field(default_factory=dict)


def _whole(least: int, most: int) -> tuple[Callable[[float], bool], str]:
    return (
        lambda value: float(value).is_integer() and least <= value <= most,
        f"a whole number from {least} to {most}",
    )


#: Ours: an edge or stride of a window, elements; longer than any input's side that we know of.
_WINDOW = _whole(1, 4096)
#: Ours: forward passes.
_DRAWS = _whole(1, 100_000)
_DIAGNOSTICS = frozenset({"layer", "interior", "saturation"})
_INTEGRATION = frozenset(
    {"path", "rule", "n_steps", "tolerance", "absolute_tolerance", "attribution_tolerance", "max_evaluations"}
)

RULES: Mapping[Method, MethodRules] = {
    Method.INTEGRATED_GRADIENTS: MethodRules(_INTEGRATION | _DIAGNOSTICS | {"baseline", "smoothing"}),
    # A sampled method's tolerances only judge. 200 and 25 are ours: a standard error of 7 % and 20 % of the spread.
    Method.EXPECTED_GRADIENTS: MethodRules(
        _DIAGNOSTICS | {"baseline", "smoothing", "samples", "tolerance", "absolute_tolerance"}, samples=200
    ),
    Method.SHAPLEY: MethodRules(frozenset({"baseline", "smoothing", "samples"}), samples=25),
    Method.SALIENCY: MethodRules(frozenset({"smoothing", "absolute"})),
    Method.GRADIENT_X_INPUT: MethodRules(frozenset({"smoothing"})),
    Method.DEEP_LIFT: MethodRules(frozenset({"baseline"})),
    Method.LRP: MethodRules(frozenset({"options"}), options={"spread_bias": _whole(0, 1)}),
    Method.GUIDED_BACKPROPAGATION: MethodRules(),
    Method.DECONVOLUTION: MethodRules(),
    Method.OCCLUSION: MethodRules(frozenset({"baseline", "options"}), options={"window": _WINDOW, "stride": _WINDOW}),
    Method.KERNEL_SHAP: MethodRules(frozenset({"baseline", "options"}), options={"window": _WINDOW, "samples": _DRAWS}),
    Method.LIME: MethodRules(frozenset({"baseline", "options"}), options={"window": _WINDOW, "samples": _DRAWS}),
}

#: Fields that belong to some methods only.
PARTICULAR = frozenset[str]().union(*(rules.fields for rules in RULES.values()))


def require_sensible(body: AttributionBody, info: ModelInfo, *, comparators: bool = True) -> None:
    """Refuse what contradicts the method, itself, or the model. `comparators`: whether the worker has what they need.

    Raises InvalidRequest, which any model would meet, and UnsupportedByModel.
    """
    for name in sorted(PARTICULAR - RULES[body.method].fields):
        if getattr(body, name) == AttributionBody.model_fields[name].default:
            continue
        if name in RULES[body.method].options:
            raise InvalidRequest(f'is an option of {body.method}: "options": {{"{name}": ...}}', field=name)
        having = ", ".join(method for method, rules in RULES.items() if name in rules.fields)
        raise InvalidRequest(f"goes with {having}; {body.method} has no use for it", field=name)
    _require_consistent(body)
    _require_options(body)
    if reason := unfit(body.method, info, comparators=comparators):
        raise UnsupportedByModel(reason, field="method")
    if body.precision is not Precision.FLOAT32:
        _require_computed_by_torch(body, info)
    if body.smoothing and not _has_numbers(info):
        raise UnsupportedByModel(
            "noise is added to numbers, and this model is explained in tokens only", field="smoothing"
        )


#: Methods whose answers are sums over points of a path, of which some can be computed again to see what rounding cost.
ALONG_PATHS = frozenset({Method.INTEGRATED_GRADIENTS, Method.EXPECTED_GRADIENTS})


def unfit(method: Method, info: ModelInfo, *, comparators: bool = True) -> str | None:
    """Why a model cannot be explained by a method; None if it can."""
    if method in COMPARATORS and not comparators:
        return (
            f"{method} is computed with Captum, which the worker lacks: it needs the extra `comparators` "
            "(pip install -e '.[comparators]' in a checkout); until then take one of "
            + ", ".join(other for other in Method if other not in COMPARATORS and unfit(other, info) is None)
        )
    if method is Method.SHAPLEY and (count := shapley_features(info)) > MOST_SHAPLEY_FEATURES:
        unlimited = Method.INTEGRATED_GRADIENTS if info.gradients else Method.OCCLUSION
        return (
            f"each order of features takes a pass per feature: at most {MOST_SHAPLEY_FEATURES} features, and this "
            f"model has {count}; {unlimited} has no such limit"
        )
    return cannot_explain(method, info)


def methods_for(info: ModelInfo, *, comparators: bool = True) -> list[Method]:
    """All methods that can explain a model."""
    return [method for method in Method if unfit(method, info, comparators=comparators) is None]


def samples_of(body: AttributionBody) -> int:
    """How many are drawn, for methods that draw; 1 for the others."""
    return body.samples or RULES[body.method].samples or 1


def _require_consistent(body: AttributionBody) -> None:
    if body.tolerance is None and body.attribution_tolerance is None:
        raise InvalidRequest("may be null only where attribution_tolerance is given", field="tolerance")
    if body.layer and body.interior:
        raise InvalidRequest("interior gradients are of the inputs; ask for them without a layer", field="interior")
    if body.layer and body.path and body.layer.quantity is Quantity.LAYER_IG:
        raise InvalidRequest(
            "layer_ig goes straight in the layer's output; take conductance or influence, or leave the path out",
            field="path",
        )
    if body.smoothing and body.saturation:
        raise InvalidRequest(
            "is of one path, and smoothing takes many; ask for it without smoothing", field="saturation"
        )


def _require_computed_by_torch(body: AttributionBody, info: ModelInfo) -> None:
    """Other numbers than float32 are of torch's own passes."""
    if not info.gradients:
        raise UnsupportedByModel(
            "this model has no gradients and is run by onnxruntime, in float32 only; leave precision out",
            field="precision",
        )
    if body.method not in ALONG_PATHS:
        raise InvalidRequest(
            f"{body.precision} goes with {' and '.join(sorted(ALONG_PATHS))}, whose answers can state what it costs",
            field="precision",
        )


def _require_options(body: AttributionBody) -> None:
    known = RULES[body.method].options
    for name in body.options:
        if name not in known:
            raise InvalidRequest(
                f"is not an option of {body.method}, which takes "
                + " and ".join(f"{each} ({what})" for each, (_, what) in known.items()),
                field=f"options.{name}",
            )
    for name, value in body.options.items():
        will_do, what = known[name]
        if not will_do(value):
            raise InvalidRequest(f"must be {what}", field=f"options.{name}")


def _has_numbers(info: ModelInfo) -> bool:
    return any(spec.attributed and spec.kind is not InputKind.TOKENS for spec in info.inputs)
