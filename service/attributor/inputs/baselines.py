"""Which baselines, and which of the costlier methods, an input can be explained with: refusals before a job is queued.

Knows what the manifest says of a model, no example and no reference set. The values are made by the engine, which
refuses the same (tests/unit/inputs/test_baselines.py holds both together).
"""

from math import prod

from attributor.errors import UnsupportedByModel
from attributor.jobs.domain import pixel_values
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec
from attributor.jobs.fitting import FITS
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputKind

_FROM_REFERENCE = frozenset(
    {
        BaselineKind.MEAN,
        BaselineKind.MEDIAN,
        BaselineKind.MODE,
        BaselineKind.REFERENCE,
        BaselineKind.OTHER_CLASS,
    }
)


_WITH_VALUES = frozenset({BaselineKind.NAMED, BaselineKind.TENSOR})


def check_baseline(spec: BaselineSpec, info: ModelInfo) -> None:
    """Whether every attributed input can have the baseline that is asked for it; the others keep the example's values.

    Raises UnsupportedByModel with field "baseline" and what would be right.
    """
    for declared in info.inputs:
        if declared.attributed:
            check_part(declared, spec.parts.get(declared.name), info)
    kinds = {spec.parts[declared.name].kind for declared in info.inputs if declared.attributed}
    if BaselineKind.OTHER_CLASS in kinds:
        if len(kinds) > 1:
            raise _refused("an input of another class is found for all inputs at once; ask other_class of each")
        if info.output.kind is OutputKind.VALUES:
            raise _refused("the model's outputs are values, not classes: other_class needs classes; ask for reference")


def fitting_kinds(declared: InputSpec, info: ModelInfo) -> tuple[BaselineKind, ...]:
    """The kinds that an attributed input can have without values being sent."""

    def fits(kind: BaselineKind) -> bool:
        no_classes = info.output.kind is OutputKind.VALUES
        if declared.kind not in FITS[kind] or (kind is BaselineKind.OTHER_CLASS and no_classes):
            return False
        try:
            check_part(declared, BaselinePart(kind, value=0.0, sigma=1.0), info)
        except UnsupportedByModel:
            return False
        return True

    return tuple(kind for kind in BaselineKind if kind not in _WITH_VALUES and fits(kind))


def shapley_features(info: ModelInfo) -> int:
    """How many features take turns in an order; a pixel is one, whatever its channels."""
    return sum(
        prod(declared.shape[1:] if declared.kind is InputKind.IMAGE else declared.shape)
        for declared in info.inputs
        if declared.attributed
    )


def check_part(declared: InputSpec, part: BaselinePart | None, info: ModelInfo) -> None:
    """Whether one attributed input can have its part. Raises UnsupportedByModel with field "baseline"."""
    if part is None:
        raise _refused(f"no baseline is given for the input '{declared.name}'; every attributed input needs one")
    if declared.kind not in FITS[part.kind]:
        fitting = ", ".join(fitting_kinds(declared, info))
        raise _refused(f"{part.kind} does not fit the {declared.kind} input '{declared.name}'; what fits: {fitting}")
    if part.kind in _FROM_REFERENCE and declared.variable:
        raise _refused(
            f"{part.kind} for the input '{declared.name}' needs rows of a fixed length, and its length varies"
        )
    if part.kind in _FROM_REFERENCE and not info.reference_count:
        raise _refused(f"{part.kind} for the input '{declared.name}' needs a reference set, and the model has none")
    if part.kind is BaselineKind.UNIFORM and not info.reference_count:
        _check_range(declared)
    _check_numbers(declared, part)


def _check_range(declared: InputSpec) -> None:
    """Without a reference set, the manifest must bound every value."""
    if pixel_values(declared) is not None:
        return
    open_ended = [f"the feature '{e.name}'" for e in declared.elements if e.minimum is None or e.maximum is None]
    if open_ended or not declared.elements:
        raise _refused(
            f"uniform needs a declared minimum and maximum of {(open_ended or ['the values'])[0]} of the input "
            f"'{declared.name}', or a reference set; the model has neither"
        )


def _check_numbers(declared: InputSpec, part: BaselinePart) -> None:
    """What the part must carry."""
    if part.kind in _WITH_VALUES and (part.values is None or not declared.takes(part.values.shape)):
        raise _refused(f"the baseline of the input '{declared.name}' needs values of shape {list(declared.shape)}")
    if part.kind is BaselineKind.CONSTANT and part.value is None:
        raise _refused(f"constant needs a value for the input '{declared.name}'")
    sigma_missing = part.sigma is None and part.kind is BaselineKind.GAUSSIAN
    if part.kind in (BaselineKind.GAUSSIAN, BaselineKind.BLUR) and (
        sigma_missing or (part.sigma is not None and not part.sigma > 0)
    ):
        raise _refused(f"{part.kind} needs a sigma above 0 for the input '{declared.name}'")
    if part.kind is BaselineKind.PAD and declared.pad_id is None:
        raise _refused(f"the input '{declared.name}' declares no pad token; zero_embedding needs none")
    if part.kind is BaselineKind.MASK and declared.mask_id is None:
        raise _refused(f"the input '{declared.name}' declares no mask token; zero_embedding needs none")


def _refused(detail: str) -> UnsupportedByModel:
    return UnsupportedByModel(detail, field="baseline")
