"""Results to documents, and to what can be drawn of them. Needs nothing but what the job itself carries."""

import base64
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.api.answers import in_microseconds
from attributor.api.asked_documents import asked_document
from attributor.api.explained_documents import explained_documents
from attributor.errors import UnsupportedVisualization
from attributor.jobs.job import JobSpec, Visualization
from attributor.jobs.model import InputSpec, OutputScale, Tensors
from attributor.jobs.once import once
from attributor.jobs.result import (
    Estimate,
    InteriorGradients,
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


def result_documents(
    results: Iterable[PathResult], spec: JobSpec, encoding: str, queued_s: float
) -> list[dict[str, Any]]:
    """The answers, one for each input and target (ResultDocument); what they share is made once."""
    asked, queued = asked_document(spec), in_microseconds(queued_s)
    return [_document(result, spec, encoding, queued, asked) for result in results]


def _document(
    result: PathResult, spec: JobSpec, encoding: str, queued_s: float | None, asked: dict[str, Any]
) -> dict[str, Any]:
    nodes = result.nodes
    return {
        "input": result.input,
        "method": result.method,
        "target": target_document(result.target),
        "baseline": _baseline_name(result),
        "score": result.score,
        "baseline_score": result.baseline_score,
        "baselines": [
            {"name": each.name, "score": each.score, "completeness_error": each.completeness_error}
            for each in result.baselines
        ],
        "attribution_sum": result.attribution_sum,
        **_exactness(result),
        "evaluations": result.evaluations,
        "forwards": result.forwards,
        "backwards": result.backwards,
        "nodes": None
        if nodes is None
        else {
            "alpha": nodes.alpha,
            "weight": nodes.weight,
            "score": nodes.score,
            "slope": nodes.slope,
            "piece": nodes.piece,
        },
        "attributions": _tensors(result.attributions, spec, encoding),
        "explained": None if result.layer is not None else explained_documents(result.attributions, result.input, spec),
        "spread": _tensors(result.spread, spec, encoding),
        "standard_error": _tensors(result.standard_error, spec, encoding),
        "interior": _interior(result.interior, spec, encoding),
        "saturation": _saturation(result.saturation, spec),
        "layer": None
        if result.layer is None
        else {"name": _called(result.layer.name, spec), "quantity": result.layer.quantity, "cut": result.layer.cut},
        "seed": result.seed,
        "precision": result.precision,
        "precision_error": result.precision_error,
        **asked,
        "visualizations": [draw(view, subject(result, spec, view)).payload() for view in spec.visualizations],
        "warnings": warning_documents(result.warnings),
        "timings": {"queued_s": queued_s, "computing_s": in_microseconds(result.computing_s)},
    }


def estimate_document(estimate: Estimate, spec: JobSpec, encoding: str) -> dict[str, Any]:
    """What is known of an input under way (EstimateDocument)."""
    return {
        "input": estimate.input,
        "evaluations": estimate.evaluations,
        "completeness_error": estimate.completeness_error,
        "attributions": _tensors(estimate.attributions, spec, encoding),
    }


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


def _exactness(result: PathResult) -> dict[str, Any]:
    """How exact it is, and what was allowed."""
    return {
        "completeness_error": None
        if result.completeness_error is None
        else {"absolute": result.completeness_error, "relative": result.relative_completeness_error},
        "completeness_reason": result.completeness_reason,
        "tolerance": {
            "relative": result.tolerance,
            "absolute": result.absolute_tolerance,
            "attribution": result.attribution_tolerance,
        },
        "converged": result.converged,
        "stop_reason": result.stop_reason,
        "attribution_error": result.attribution_error,
        "rule": result.rule,
    }


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
