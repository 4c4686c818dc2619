"""The baselines of a request, held against the model's inputs and the method. Their values are made by the worker."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from attributor.api.rules_of_methods import RULES, samples_of
from attributor.api.schemas.bodies import AttributionBody
from attributor.api.schemas.explanation import MOST_BASELINES, GenericBaseline
from attributor.errors import InvalidInput, InvalidRequest, UnknownBaseline, UnsupportedByModel
from attributor.inputs.baselines import check_baseline, check_part, fitting_kinds
from attributor.inputs.decode import decode_inputs
from attributor.jobs.explanation import COMPARATORS, BaselineKind, BaselinePart, BaselineSpec, Gamma, GammaKind, Method
from attributor.jobs.model import InputKind, InputSpec, ModelInfo
from attributor.ports import SourceReader

CUSTOM_BASELINE = "custom"
#: Ours: the average of ten draws is no longer the accident of one.
DEFAULT_DRAWS = 10
#: Of the longer side; what the engine takes where no width comes with a blurred baseline (a test holds both together).
BLUR_SHARE = 0.1
#: A base64 PNG is never so short (8 bytes of signature, 57 of chunks without data); a name is seldom longer.
SHORTEST_PICTURE = 80

#: What the client need not send, by name.
GENERIC = {kind.value: kind for kind in BaselineKind if kind not in (BaselineKind.NAMED, BaselineKind.TENSOR)}
_DRAWN = frozenset({BaselineKind.UNIFORM, BaselineKind.GAUSSIAN, BaselineKind.REFERENCE})
#: The numbers that go with a kind.
_NUMBERS: Mapping[BaselineKind, tuple[str, ...]] = {
    BaselineKind.CONSTANT: ("value",),
    BaselineKind.BLUR: ("sigma",),
    BaselineKind.GAUSSIAN: ("sigma", "samples"),
    BaselineKind.UNIFORM: ("samples",),
    BaselineKind.REFERENCE: ("samples",),
}
#: Those without which a kind says nothing.
_NEEDED = {BaselineKind.CONSTANT: "value", BaselineKind.GAUSSIAN: "sigma"}


def baselines(
    body: AttributionBody, info: ModelInfo, gamma: Mapping[str, Gamma], sources: Mapping[str, SourceReader]
) -> tuple[BaselineSpec, ...]:
    """Every baseline, for the attributed inputs that do not come out of a blur; none where there are no such inputs.

    Raises UnknownBaseline, UnsupportedByModel, InvalidRequest and the errors of values, naming `baseline...`.
    """
    if "baseline" not in RULES[body.method].fields:
        return ()
    blurred = {name for name, one in gamma.items() if one.kind is GammaKind.BLUR}
    reader = _Reader(body, info, sources, blurred)
    if not reader.moving:
        if body.baseline is not None:
            raise InvalidRequest("a blur path starts at the blurred input; leave the baseline out", field="baseline")
        return ()
    if body.baseline is None:
        return (reader.default(),)
    if isinstance(body.baseline, list):
        found = tuple(reader.read(one, f"baseline.{i}") for i, one in enumerate(body.baseline))
    else:
        found = (reader.read(body.baseline, "baseline"),)
    _require_count(found, body.method)
    return found


def _require_count(found: tuple[BaselineSpec, ...], method: Method) -> None:
    count = sum(spec.samples for spec in found)
    if count > MOST_BASELINES:
        raise InvalidRequest(
            f"at most {MOST_BASELINES} baselines, samples counted; these are {count}", field="baseline"
        )
    if method in COMPARATORS:
        for spec in found:
            if any(part.kind is BaselineKind.OTHER_CLASS for part in spec.parts.values()):
                raise InvalidRequest(f"{method} does not search for a baseline; name or send one", field="baseline")


def _with_sigma(part: BaselinePart, spec: InputSpec) -> BaselinePart:
    """A blur's width, if the request does not say: of the picture that it is for. Answers repeat it."""
    if part.kind is BaselineKind.BLUR and part.sigma is None and spec.kind is InputKind.IMAGE:
        return replace(part, sigma=BLUR_SHARE * max(spec.shape[1:]))
    return part


class _Reader:
    """Reads the forms that a baseline can have, for one request on one model."""

    def __init__(
        self, body: AttributionBody, info: ModelInfo, sources: Mapping[str, SourceReader], blurred: set[str]
    ) -> None:
        self._info = info
        self._sources = sources
        self._blurred = blurred
        self._method = body.method
        # One for each draw of a method that draws, as far as there may be so many.
        self._draws = (
            min(samples_of(body), MOST_BASELINES) if body.method is Method.EXPECTED_GRADIENTS else DEFAULT_DRAWS
        )
        self.moving = [spec for spec in info.inputs if spec.attributed and spec.name not in blurred]

    def default(self) -> BaselineSpec:
        """Samples of the reference set for a method that averages over it, else the model's own."""
        if self._method is Method.EXPECTED_GRADIENTS and self._info.reference_count:
            return self.read(BaselineKind.REFERENCE.value, "baseline")
        return self.read(self._info.default_baseline, "baseline")

    def read(self, wanted: str | GenericBaseline | Mapping[str, Any], field: str) -> BaselineSpec:
        """One baseline, fit for the model."""
        if isinstance(wanted, str):
            spec = BaselineSpec(wanted, {each.name: self._named(wanted, each, field) for each in self.moving})
        elif isinstance(wanted, GenericBaseline):
            part = self._generic(wanted, field)
            spec = BaselineSpec(wanted.kind, {each.name: _with_sigma(part, each) for each in self.moving})
        else:
            spec = self._by_input(wanted, field)
        if len({part.samples for part in spec.parts.values() if part.kind in _DRAWN}) > 1:
            raise InvalidRequest("inputs are drawn together: give all of them the same samples", field=field)
        self._check(spec, field)
        return spec

    def _check(self, spec: BaselineSpec, field: str) -> None:
        blurs = {name: BaselinePart(BaselineKind.BLUR) for name in self._blurred}
        try:
            check_baseline(BaselineSpec(spec.name, {**spec.parts, **blurs}), self._info)
        except UnsupportedByModel as error:
            error.field = field
            raise

    def _by_input(self, wanted: Mapping[str, Any], field: str) -> BaselineSpec:
        known = {each.name: each for each in self.moving}
        made = self._made(wanted, field)
        for name in wanted:
            if name in self._blurred:
                raise InvalidRequest("its path is a blur, which starts at the blurred input", field=f"{field}.{name}")
            if name in made:
                detail = f'is made from "{known[name].source}", which is given as well; give one of the two'
                raise InvalidInput(detail, field=f"{field}.{name}")
            if name not in known and name not in self._sources:
                raise InvalidInput(f"no input to explain; there is {', '.join(known)}", field=f"{field}.{name}")
        for name in known:
            if name not in wanted and name not in made:
                raise InvalidInput(f"is missing; give a baseline to {', '.join(known)}", field=f"{field}.{name}")
        parts = made | {
            name: self._checked(wanted[name], spec, f"{field}.{name}") for name, spec in known.items() if name in wanted
        }
        kinds = {part.kind for part in parts.values()}
        only = next(iter(kinds)) if len(kinds) == 1 else BaselineKind.TENSOR
        return BaselineSpec(only if only in GENERIC else CUSTOM_BASELINE, parts)

    def _made(self, wanted: Mapping[str, Any], field: str) -> dict[str, BaselinePart]:
        """The parts that come from a text or another source; what belongs to no attributed input of it is left out."""
        parts: dict[str, BaselinePart] = {}
        for source in self._sources:
            specs = [spec for spec in self.moving if spec.source == source]
            if specs and source in wanted:
                tensors, _ = decode_inputs(specs, self._sources, {source: wanted[source]}, field=field)
                parts |= {name: BaselinePart(BaselineKind.TENSOR, values) for name, values in tensors.items()}
        return parts

    def _checked(self, wanted: object, spec: InputSpec, field: str) -> BaselinePart:
        """One input's part; what is wrong with it is told of that input."""
        part = self._part(wanted, spec, field)
        try:
            check_part(spec, part, self._info)
        except UnsupportedByModel as error:
            error.field = field
            raise
        return part

    def _part(self, wanted: object, spec: InputSpec, field: str) -> BaselinePart:
        if isinstance(wanted, GenericBaseline):
            return _with_sigma(self._generic(wanted, field), spec)
        if isinstance(wanted, str) and (spec.kind is not InputKind.IMAGE or len(wanted) < SHORTEST_PICTURE):
            return self._named(wanted, spec, field)
        place = field.removesuffix(f".{spec.name}")
        tensors, _ = decode_inputs([spec], {}, {spec.name: wanted}, field=place)
        return BaselinePart(BaselineKind.TENSOR, tensors[spec.name])

    def _named(self, name: str, spec: InputSpec, field: str) -> BaselinePart:
        """A baseline that the model declares, or else a kind."""
        if name in self._info.baselines:
            return BaselinePart(BaselineKind.NAMED, self._info.baselines[name].tensors[spec.name])
        if name in GENERIC:
            return _with_sigma(self._generic(GenericBaseline.model_validate({"kind": name}), field), spec)
        fitting = [kind for kind in fitting_kinds(spec, self._info) if kind not in self._info.baselines]
        close = get_close_matches(name, [*self._info.baselines, *fitting], n=2)
        raise UnknownBaseline(
            f"model '{self._info.name}' has no baseline '{name}'; "
            + (f"did you mean {' or '.join(close)}? " if close else "")
            + f"It declares {', '.join(self._info.baselines)}; of the kinds, what fits '{spec.name}' is "
            f"{', '.join(fitting)}; or send one like an input",
            field=field,
        )

    def _generic(self, wanted: GenericBaseline, field: str) -> BaselinePart:
        kind = wanted.kind
        taken = _NUMBERS.get(kind, ())
        for name in ("value", "sigma", "samples"):
            if getattr(wanted, name) is not None and name not in taken:
                raise InvalidRequest(
                    f"is no number of {kind}; it takes {' and '.join(taken) or 'none'}", field=f"{field}.{name}"
                )
        needed = _NEEDED.get(kind)
        if needed and getattr(wanted, needed) is None:
            raise InvalidRequest(
                f'{kind} needs a {needed}: {{"kind": "{kind}", "{needed}": ...}}', field=f"{field}.{needed}"
            )
        samples = (wanted.samples or self._draws) if kind in _DRAWN else 1
        return BaselinePart(kind, value=wanted.value, sigma=wanted.sigma, samples=samples)
