"""Results to documents, and to what can be drawn of them. Needs nothing but what the job itself carries."""

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.api.answers import in_microseconds
from attributor.api.asked_documents import asked_document
from attributor.api.explained_documents import explained_documents
from attributor.api.form import USUAL, Form
from attributor.errors import UnsupportedVisualization
from attributor.jobs.job import JobSpec, Visualization
from attributor.jobs.model import InputSpec, OutputScale, Tensors
from attributor.jobs.once import once
from attributor.jobs.result import (
    Estimate,
    InteriorGradients,
    Nodes,
    PathResult,
    ResolvedTarget,
    ResultWarning,
    SaturationResult,
)
from attributor.rendering.draw import draw, drawable_kinds, drawn_input
from attributor.rendering.reading import reading
from attributor.rendering.subject import Subject

#: Attributions with more values than this go as base64 npy: as JSON numbers they take four times the time and bytes.
MOST_NUMBERS = 10_000


@dataclass(frozen=True, slots=True)
class _Given:
    """What fields are made of. `asked`: what all results of the job say alike."""

    result: PathResult
    spec: JobSpec
    encoding: str
    queued_s: float | None
    asked: Mapping[str, Any]


#: The fields of a result, in their order (ResultDocument), and how each is made.
_FIELDS: Mapping[str, Callable[[_Given], Any]] = {
    "input": lambda of: of.result.input,
    "method": lambda of: of.result.method,
    "target": lambda of: target_document(of.result.target),
    "baseline": lambda of: _baseline_name(of.result),
    "score": lambda of: of.result.score,
    "baseline_score": lambda of: of.result.baseline_score,
    "baselines": lambda of: _baselines(of.result),
    "attribution_sum": lambda of: of.result.attribution_sum,
    "completeness_error": lambda of: _completeness_error(of.result),
    "completeness_reason": lambda of: of.result.completeness_reason,
    "tolerance": lambda of: _tolerance(of.result),
    "converged": lambda of: of.result.converged,
    "stop_reason": lambda of: of.result.stop_reason,
    "attribution_error": lambda of: of.result.attribution_error,
    "rule": lambda of: of.result.rule,
    "evaluations": lambda of: of.result.evaluations,
    "forwards": lambda of: of.result.forwards,
    "backwards": lambda of: of.result.backwards,
    "nodes": lambda of: _nodes(of.result.nodes),
    "attributions": lambda of: _tensors(of.result.attributions, of.spec, of.encoding),
    "explained": lambda of: _explained(of.result, of.spec),
    "spread": lambda of: _tensors(of.result.spread, of.spec, of.encoding),
    "standard_error": lambda of: _tensors(of.result.standard_error, of.spec, of.encoding),
    "interior": lambda of: _interior(of.result.interior, of.spec, of.encoding),
    "saturation": lambda of: _saturation(of.result.saturation, of.spec),
    "layer": lambda of: _layer(of.result, of.spec),
    "seed": lambda of: of.result.seed,
    "precision": lambda of: of.result.precision,
    "precision_error": lambda of: of.result.precision_error,
    "path": lambda of: of.asked["path"],
    "baselines_asked": lambda of: of.asked["baselines_asked"],
    "smoothing": lambda of: of.asked["smoothing"],
    "samples": lambda of: of.asked["samples"],
    "absolute": lambda of: of.asked["absolute"],
    "options": lambda of: of.asked["options"],
    "visualizations": lambda of: _visualizations(of.result, of.spec),
    "warnings": lambda of: warning_documents(of.result.warnings),
    "timings": lambda of: {"queued_s": of.queued_s, "computing_s": in_microseconds(of.result.computing_s)},
}


FIELDS = tuple(_FIELDS)


def result_documents(
    results: Iterable[PathResult], spec: JobSpec, queued_s: float, form: Form = USUAL
) -> list[dict[str, Any]]:
    """The answers, one for each input and target (ResultDocument); what they share is made once."""
    asked, queued = asked_document(spec), in_microseconds(queued_s)
    made = {name: make for name, make in _FIELDS.items() if form.has(name)}
    given = (_Given(result, spec, form.encoding, queued, asked) for result in results)
    return [{name: make(of) for name, make in made.items()} for of in given]


def estimate_document(estimate: Estimate, spec: JobSpec, form: Form) -> dict[str, Any]:
    """What is known of an input under way (EstimateDocument); attributions where results have them."""
    document: dict[str, Any] = {
        "input": estimate.input,
        "evaluations": estimate.evaluations,
        "completeness_error": estimate.completeness_error,
    }
    if form.has("attributions"):
        document["attributions"] = _tensors(estimate.attributions, spec, form.encoding)
    return document


def subject(result: PathResult, spec: JobSpec, view: Visualization) -> Subject:
    """What a picture is of. Raises UnsupportedVisualization where there is nothing to draw."""
    if result.layer is not None:
        raise UnsupportedVisualization("a layer's units cannot be drawn", field="kind")
    declared = drawn_input(spec.declared, view.input, field="input", kind=view.kind)
    if declared is None:
        kinds = ", ".join(each.kind for each in spec.declared)
        raise UnsupportedVisualization(f"no input of this model can be drawn; it takes {kinds}", field="kind")
    name, explanation = declared.name, spec.explanation
    smoothing = explanation.smoothing
    return Subject(
        input_spec=declared,
        example=spec.inputs[result.input][name],
        baseline=None if result.baseline is None else result.baseline.get(name),
        attributions=result.attributions[name],
        target_label=result.target.label,
        score=result.score,
        baseline_score=result.baseline_score,
        completeness_error=result.completeness_error,
        relative_completeness_error=result.relative_completeness_error,
        completeness_reason=result.completeness_reason,
        reading=reading(result.method, absolute=explanation.absolute, form=smoothing.form if smoothing else None),
    )


def default_view(spec: JobSpec) -> Visualization | None:
    """The first picture asked for, else the last kind that can be drawn: overlay or bars. None: nothing can."""
    if spec.visualizations:
        return spec.visualizations[0]
    if spec.explanation.layer is not None:
        return None
    declared = drawn_input(spec.declared, None, field="input")
    return Visualization(drawable_kinds(declared)[-1]) if declared else None


def npy(values: NDArray[np.float32]) -> bytes:
    """An array as a npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _completeness_error(result: PathResult) -> dict[str, Any] | None:
    if result.completeness_error is None:
        return None
    return {"absolute": result.completeness_error, "relative": result.relative_completeness_error}


def _tolerance(result: PathResult) -> dict[str, Any]:
    return {
        "relative": result.tolerance,
        "absolute": result.absolute_tolerance,
        "attribution": result.attribution_tolerance,
    }


def _nodes(nodes: Nodes | None) -> dict[str, Any] | None:
    if nodes is None:
        return None
    return {
        "alpha": nodes.alpha,
        "weight": nodes.weight,
        "score": nodes.score,
        "slope": nodes.slope,
        "piece": nodes.piece,
    }


def _explained(result: PathResult, spec: JobSpec) -> dict[str, Any] | None:
    return None if result.layer is not None else explained_documents(result.attributions, result.input, spec)


def _layer(result: PathResult, spec: JobSpec) -> dict[str, Any] | None:
    layer = result.layer
    return None if layer is None else {"name": _called(layer.name, spec), "quantity": layer.quantity, "cut": layer.cut}


def _visualizations(result: PathResult, spec: JobSpec) -> list[dict[str, Any]]:
    return [draw(view, subject(result, spec, view)).payload() for view in spec.visualizations]


def target_document(target: ResolvedTarget) -> dict[str, Any]:
    """What was explained (part of ResultDocument)."""
    single = len(target.terms) == 1 and target.terms[0].weight == 1
    return {
        "class": target.terms[0].index if single else None,
        "label": target.label,
        "scale": target.scale,
        "predicted": target.predicted if single and target.scale is not OutputScale.VALUE else None,
        "position": target.position,
        "terms": [
            {"output": term.index, "label": label, "weight": term.weight}
            for term, label in zip(target.terms, target.labels, strict=True)
        ],
    }


def warning_documents(warnings: Iterable[ResultWarning]) -> list[dict[str, str]]:
    """What a reader should know (part of ResultDocument)."""
    return [{"code": each.code, "message": each.message} for each in warnings]


def _baselines(result: PathResult) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "score": each.score, "completeness_error": each.completeness_error}
        for each in result.baselines
    ]


def _baseline_name(result: PathResult) -> str | None:
    if not result.baselines:
        return None
    return result.baselines[0].name if len(result.baselines) == 1 else f"{len(result.baselines)} baselines"


def _interior(interior: InteriorGradients | None, spec: JobSpec, encoding: str) -> dict[str, Any] | None:
    if interior is None:
        return None
    return {
        "alphas": interior.alphas,
        "vectors": _tensors(interior.vectors, spec, encoding),
        "importance": _tensors(interior.importance, spec, encoding),
        "mean_magnitude": dict(interior.mean_magnitude),
    }


def _called(module: str, spec: JobSpec) -> str:
    """A layer's name as the request has it."""
    return spec.explanation.layer_names.get(module, module)


def _saturation(saturation: SaturationResult | None, spec: JobSpec) -> dict[str, Any] | None:
    if saturation is None:
        return None
    return {
        "alphas": saturation.alpha,
        "score": saturation.score,
        "probability": saturation.probability,
        "logit": saturation.logit,
        "layers": [
            {"layer": _called(each.layer, spec), "l2_distance": each.l2, "cosine_distance": each.cosine}
            for each in saturation.layers
        ],
    }


def _tensors(tensors: Tensors | None, spec: JobSpec, encoding: str) -> dict[str, Any] | None:
    """By input, in the declared order, or by layer."""
    if tensors is None:
        return None
    ordered = {
        each.name: _tensor(tensors[each.name], _elements(each), encoding)
        for each in spec.declared
        if each.name in tensors
    }
    layers = {_called(name, spec): _tensor(tensors[name], [], encoding) for name in tensors if name not in ordered}
    return ordered | layers


@once
def _elements(declared: InputSpec) -> list[str]:
    return [element.name for element in declared.elements]


def _tensor(values: NDArray[np.float32], elements: list[str], encoding: str) -> dict[str, Any]:
    as_numbers = encoding == "numbers" or (encoding == "auto" and values.size <= MOST_NUMBERS)
    document: dict[str, Any] = {
        "datatype": "FP32",
        "shape": list(values.shape),
        "encoding": "numbers" if as_numbers else "base64-npy",
        "data": np.ascontiguousarray(values) if as_numbers else base64.b64encode(npy(values)).decode(),
    }
    if elements:
        document["features"] = elements
    return document
