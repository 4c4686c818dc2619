"""The path of a request, and the layers that it names, held against the model."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from attributor.api.schemas.bodies import AttributionBody
from attributor.api.schemas.explanation import LayerBody, SaturationBody
from attributor.api.schemas.paths import PathBody
from attributor.errors import AttributorError, InvalidRequest, UnknownLayer, UnsupportedByModel
from attributor.inputs.decode import decode_inputs
from attributor.jobs.explanation import Gamma, GammaKind, Layer, Saturation
from attributor.jobs.model import InputKind, InputSpec, ModelInfo
from attributor.ports import SourceReader

#: Of the longer side. The authors' own code starts at 50 pixels for pictures of 224 to 299 (Xu, Venugopalan,
#: Sundararajan 2020).
DEFAULT_BLUR = 0.2

#: The numbers and names that go with a kind of path.
_TAKES: Mapping[GammaKind, tuple[str, ...]] = {
    GammaKind.STRAIGHT: (),
    GammaKind.POLYLINE: ("points",),
    GammaKind.BLUR: ("sigma",),
    GammaKind.GUIDED: ("steps", "fraction"),
    GammaKind.REGISTERED: ("name",),
}
_NEEDED = {GammaKind.POLYLINE: "points", GammaKind.REGISTERED: "name"}
#: Layers named in an error; ours, so that the sentence stays readable with hundreds of them.
_LISTED_LAYERS = 20


def gammas(body: AttributionBody, info: ModelInfo, sources: Mapping[str, SourceReader]) -> dict[str, Gamma]:
    """The paths that are not straight, by input. Raises InvalidRequest, UnsupportedByModel and the errors of values."""
    if body.path is None:
        return {}
    attributed = {spec.name: spec for spec in info.inputs if spec.attributed}
    if isinstance(body.path, PathBody):
        found = _of_all(body.path, attributed, info, sources)
    else:
        found = _by_input(body.path, attributed, info)
    _require_company(found, attributed)
    return {name: gamma for name, gamma in found.items() if gamma.kind is not GammaKind.STRAIGHT}


def path_kinds(spec: InputSpec, info: ModelInfo) -> list[GammaKind]:
    """The kinds of path that an attributed input of a model can have: none where there are no gradients to follow."""
    if not info.gradients:
        return []
    fits = {
        GammaKind.BLUR: spec.kind is InputKind.IMAGE,
        GammaKind.GUIDED: _can_be_guided([each for each in info.inputs if each.attributed]),
        GammaKind.REGISTERED: bool(info.paths),
    }
    return [kind for kind in GammaKind if fits.get(kind, True)]


def layer(body: LayerBody | None, info: ModelInfo, known: Collection[str] | None) -> Layer | None:
    """The layer asked for, by its module. `known`: the model's modules, None while no worker has told. Raises
    UnknownLayer."""
    if body is None:
        return None
    return Layer(_module(body.name, info, known, "layer.name"), body.quantity)


def saturation(body: SaturationBody | None, info: ModelInfo, known: Collection[str] | None) -> Saturation | None:
    """The diagnostics asked for. Raises UnknownLayer."""
    if body is None:
        return None
    modules = [_module(name, info, known, f"saturation.layers.{i}") for i, name in enumerate(body.layers)]
    return Saturation(tuple(body.alphas), tuple(modules))


def layer_names(body: AttributionBody, info: ModelInfo) -> dict[str, str]:
    """By module, the name that the request calls it by, where that is one of the manifest's."""
    asked = [*(body.saturation.layers if body.saturation else ()), *([body.layer.name] if body.layer else ())]
    return {info.layers[name].module: name for name in asked if name in info.layers}


def _module(name: str, info: ModelInfo, modules: Collection[str] | None, field: str) -> str:
    """What the model calls a layer. The manifest's names go before the modules'."""
    if name in info.layers:
        return info.layers[name].module
    if modules is not None:
        _require_layer(name, {*info.layers, *modules}, field)
    return name


def _require_layer(name: str, known: Collection[str], field: str) -> None:
    if name in known:
        return
    close = get_close_matches(name, known, n=3)
    if close:
        raise UnknownLayer(f"the model has no layer '{name}'; did you mean {' or '.join(close)}?", field=field)
    names = sorted(known)
    more = f" and {len(names) - _LISTED_LAYERS} more" if len(names) > _LISTED_LAYERS else ""
    raise UnknownLayer(
        f"the model has no layer '{name}'; it has {', '.join(names[:_LISTED_LAYERS]) or 'none'}{more}", field=field
    )


def _of_all(
    path: PathBody, attributed: Mapping[str, InputSpec], info: ModelInfo, sources: Mapping[str, SourceReader]
) -> dict[str, Gamma]:
    _require_parts(path, "path")
    if path.kind is GammaKind.GUIDED:
        _require_guided(attributed, info, "path.kind")
        return {name: _gamma(path) for name in attributed}
    if path.kind is GammaKind.POLYLINE:
        points = [_point(item, attributed, sources, f"path.points.{i}") for i, item in enumerate(path.points or ())]
        return {name: Gamma(path.kind, tuple(point[name] for point in points)) for name in attributed}
    return {name: _of_one(path, spec, info, "path") for name, spec in attributed.items()}


def _by_input(paths: Mapping[str, PathBody], attributed: Mapping[str, InputSpec], info: ModelInfo) -> dict[str, Gamma]:
    found: dict[str, Gamma] = {}
    for name, path in paths.items():
        field = f"path.{name}"
        if name not in attributed:
            raise InvalidRequest(f"no input to explain; there is {', '.join(attributed)}", field=field)
        _require_parts(path, field)
        if path.kind is GammaKind.GUIDED:
            _require_guided(attributed, info, f"{field}.kind")
        if path.kind is GammaKind.POLYLINE:
            spec = attributed[name]
            points = [
                _point({name: value}, {name: spec}, {}, f"{field}.points.{i}", named=False)[name]
                for i, value in enumerate(path.points or ())
            ]
            found[name] = Gamma(path.kind, tuple(points))
        else:
            found[name] = _of_one(path, attributed[name], info, field)
    return found


def _of_one(path: PathBody, spec: InputSpec, info: ModelInfo, field: str) -> Gamma:
    if path.kind is GammaKind.BLUR:
        if spec.kind is not InputKind.IMAGE:
            raise UnsupportedByModel(
                f"only a picture can be blurred, and '{spec.name}' is {spec.kind}; its path can be "
                + _kinds(spec, info),
                field=f"{field}.kind",
            )
        return Gamma(path.kind, sigma=path.sigma or DEFAULT_BLUR * max(spec.shape[1:]))
    if path.kind is GammaKind.REGISTERED and path.name not in info.paths:
        raise UnsupportedByModel(
            f"the model registers no path '{path.name}'; it registers {', '.join(info.paths) or 'none'}, and the path "
            f"of '{spec.name}' can be {_kinds(spec, info)}",
            field=f"{field}.name",
        )
    return _gamma(path)


def _gamma(path: PathBody) -> Gamma:
    plain = Gamma(path.kind)
    return Gamma(path.kind, name=path.name, steps=path.steps or plain.steps, fraction=path.fraction or plain.fraction)


def _point(
    item: Any, specs: Mapping[str, InputSpec], sources: Mapping[str, SourceReader], field: str, *, named: bool = True
) -> Mapping[str, Any]:
    """A vertex, by input. With `named` False the item is one input's value, and errors do not repeat its name."""
    if not isinstance(item, Mapping):
        raise InvalidRequest("must be an object like an entry of `inputs`", field=field)
    try:
        return decode_inputs(list(specs.values()), sources, item, field=field)[0]
    except AttributorError as error:
        if not named and error.field is not None:
            (name,) = specs
            error.field = field + error.field.removeprefix(f"{field}.{name}")
        raise


def _require_parts(path: PathBody, field: str) -> None:
    taken = _TAKES[path.kind]
    for name in ("points", "sigma", "name", "steps", "fraction"):
        if getattr(path, name) is not None and name not in taken:
            raise InvalidRequest(
                f"does not go with {path.kind}, which takes {' and '.join(taken) or 'nothing'}", field=f"{field}.{name}"
            )
    needed = _NEEDED.get(path.kind)
    if needed and getattr(path, needed) is None:
        raise InvalidRequest(f"is missing; {path.kind} needs it", field=f"{field}.{needed}")


def _require_company(found: Mapping[str, Gamma], attributed: Mapping[str, InputSpec]) -> None:
    """What the inputs do together: they pass the vertices of polylines at the same time."""
    counts = {name: len(gamma.points) for name, gamma in found.items() if gamma.kind is GammaKind.POLYLINE}
    if not counts:
        return
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
        raise InvalidRequest(
            f"polylines pass their points together, so they need equally many; these are {listed}", field="path"
        )
    for name, spec in attributed.items():
        if name in counts:
            continue
        if found.get(name, Gamma()).kind is not GammaKind.STRAIGHT:
            raise InvalidRequest("beside a polyline another input can only go straight", field=f"path.{name}")
        if spec.kind is InputKind.TOKENS:
            raise InvalidRequest(
                "there is no place half-way between two tokens: give this input a polyline too", field=f"path.{name}"
            )


def _kinds(spec: InputSpec, info: ModelInfo) -> str:
    """As a sentence lists them."""
    return ", ".join(path_kinds(spec, info))


def _require_guided(attributed: Mapping[str, InputSpec], info: ModelInfo, field: str) -> None:
    if _can_be_guided(list(attributed.values())):
        return
    inputs = ", ".join(f"{spec.kind} '{name}'" for name, spec in attributed.items())
    shared = [kind for kind in GammaKind if all(kind in path_kinds(spec, info) for spec in attributed.values())]
    raise UnsupportedByModel(
        f"guided ranks the features of a single input of numbers, and this model is explained in {inputs}; "
        f"the path can be {', '.join(shared)}",
        field=field,
    )


def _can_be_guided(attributed: list[InputSpec]) -> bool:
    return len(attributed) == 1 and attributed[0].kind is not InputKind.TOKENS
