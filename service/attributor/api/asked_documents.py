"""What was asked, as every result repeats it: path, baselines, smoothing, draws. No arrays, which the client has."""

from typing import Any

from attributor.api.rules_of_methods import RULES
from attributor.jobs.explanation import BaselinePart, Explanation, Gamma, GammaKind, Method, Quantity
from attributor.jobs.job import JobSpec
from attributor.jobs.model import InputSpec

_PATH_METHODS = frozenset({Method.INTEGRATED_GRADIENTS, Method.EXPECTED_GRADIENTS})


#: Documents kept, and how much an explanation of theirs may hold. Ours: a few megabytes at most.
_MOST, _MOST_NUMBERS = 256, 1_000
#: By the id of an explanation: itself, so that no other has its id; the inputs that it was for; its document.
_kept: dict[int, tuple[Explanation, tuple[InputSpec, ...], dict[str, Any]]] = {}


def asked_document(spec: JobSpec) -> dict[str, Any]:
    """The fields of a result that say what was computed, besides its numbers (part of ResultDocument). Not to be
    changed: requests that differ in their inputs only share an explanation, and this."""
    explanation = spec.explanation
    kept = _kept.get(id(explanation))
    if kept is not None and kept[1] is spec.declared:
        return kept[2]
    document = _document(spec)
    if _size(explanation) <= _MOST_NUMBERS:
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[id(explanation)] = explanation, spec.declared, document
    return document


def _size(explanation: Explanation) -> int:
    """About how many numbers and objects it holds."""
    parts = [part for baseline in explanation.baselines for part in baseline.parts.values()]
    points = [point for gamma in explanation.gamma.values() for point in gamma.points]
    return (
        sum(1 if part.values is None else part.values.size for part in parts)
        + sum(point.size for point in points)
        + sum(1 + len(target.terms) for target in explanation.targets)
    )


def _document(spec: JobSpec) -> dict[str, Any]:
    explanation = spec.explanation
    smoothing = explanation.smoothing
    rules = RULES[explanation.method]
    return {
        "path": _path(spec),
        "baselines_asked": [
            {
                "name": each.name,
                "samples": each.samples,
                "inputs": {name: _part(part) for name, part in each.parts.items()},
            }
            for each in explanation.baselines
        ],
        "smoothing": None
        if smoothing is None
        else {"form": smoothing.form, "samples": smoothing.samples, "noise": smoothing.noise},
        "samples": None if rules.samples is None else explanation.samples,
        "absolute": explanation.absolute if explanation.method is Method.SALIENCY else None,
        "options": dict(explanation.options),
    }


def _path(spec: JobSpec) -> dict[str, Any] | None:
    explanation = spec.explanation
    if explanation.method not in _PATH_METHODS or _is_in_a_layer(explanation):
        return None
    plain = Gamma()
    return {each.name: _gamma(explanation.gamma.get(each.name, plain)) for each in spec.declared if each.attributed}


def _is_in_a_layer(explanation: Explanation) -> bool:
    """Then the path is straight in the layer's output, and no input moves by itself."""
    return explanation.layer is not None and explanation.layer.quantity is Quantity.LAYER_IG


def _gamma(gamma: Gamma) -> dict[str, Any]:
    guided = gamma.kind is GammaKind.GUIDED
    return {
        "kind": gamma.kind,
        "points": len(gamma.points) or None,
        "sigma": gamma.sigma,
        "name": gamma.name,
        "steps": gamma.steps if guided else None,
        "fraction": gamma.fraction if guided else None,
    }


def _part(part: BaselinePart) -> dict[str, Any]:
    return {"kind": part.kind, "value": part.value, "sigma": part.sigma}
