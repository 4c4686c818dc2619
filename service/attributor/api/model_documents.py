"""Models and their outputs to documents."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.api.mapping.paths import path_kinds
from attributor.api.mapping.targets import scales
from attributor.api.rules_of_methods import methods_for
from attributor.inputs.baselines import fitting_kinds
from attributor.jobs.explanation import Quantity
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, ModelReport, OutputKind, Readiness
from attributor.jobs.result import PredictionResult
from attributor.rendering.draw import drawable_kinds

#: Classes told of each position of a sequence: ours, a vocabulary has tens of thousands.
MOST_RANKED = 10


def model_document(info: ModelInfo, report: ModelReport | None, *, default: bool) -> dict[str, Any]:
    """A model and what it can do (ModelDocument). A report on other files than those on disk does not count."""
    if report is not None and report.digest != info.digest:
        report = None
    return {
        "name": info.name,
        "version": info.version,
        "default": default,
        "digest": info.digest,
        "title": info.title,
        "description": info.description,
        "licence": info.licence,
        "source": info.source,
        "inputs": [_input_document(declared, info) for declared in info.inputs],
        "output": {
            "name": info.output.name,
            "kind": info.output.kind,
            "labels": info.output.labels,
            "positions": info.output.positions,
        },
        "baselines": [
            {"name": b.name, "description": b.description, "default": b.name == info.default_baseline}
            for b in info.baselines.values()
        ],
        "reference_count": info.reference_count,
        "paths": info.paths,
        "layers": _layers(report),
        "methods": methods_for(info, comparators=report is None or report.comparators),
        "quantities": list(Quantity),
        "scales": scales(info.output),
        "readiness": {
            "state": report.readiness if report else Readiness.LOADING,
            "reason": report.reason if report else None,
            "checks": dict(report.checks) if report else {},
        },
    }


def _layers(report: ModelReport | None) -> list[dict[str, str | None]]:
    if report is None:
        return []
    types = report.layer_types or (None,) * len(report.layers)
    return [{"name": name, "type": kind} for name, kind in zip(report.layers, types, strict=True)]


def _input_document(declared: InputSpec, info: ModelInfo) -> dict[str, Any]:
    return {
        "name": declared.name,
        "kind": declared.kind,
        "datatype": "INT64" if declared.kind is InputKind.TOKENS else "FP32",
        "shape": declared.shape,
        "attributed": declared.attributed,
        "features": [
            {"name": f.name, "unit": f.unit, "minimum": f.minimum, "maximum": f.maximum} for f in declared.features
        ],
        "value_range": declared.value_range,
        "vocabulary": declared.vocabulary,
        "pad_id": declared.pad_id,
        "mask_id": declared.mask_id,
        "visualizations": drawable_kinds(declared) if declared.attributed else (),
        "baseline_kinds": fitting_kinds(declared, info) if declared.attributed else (),
        "path_kinds": path_kinds(declared, info) if declared.attributed else (),
    }


def prediction_document(result: PredictionResult, info: ModelInfo) -> dict[str, Any]:
    """A model's outputs by label (PredictionDocument)."""
    rows = result.outputs[info.output.name].astype(np.float64)
    item = {OutputKind.CLASSES: _classes, OutputKind.VALUES: _values, OutputKind.SEQUENCE: _sequence}[info.output.kind]
    nothing = dict.fromkeys(("class", "label", "probabilities", "logits", "values", "positions"))
    return {
        "model": {"name": info.name, "version": info.version, "digest": info.digest},
        "predictions": [nothing | item(row, info.output.labels) for row in rows],
    }


def _classes(logits: NDArray[np.float64], labels: tuple[str, ...]) -> dict[str, Any]:
    best = int(np.argmax(logits))
    return {
        "class": best,
        "label": labels[best],
        "probabilities": dict(zip(labels, _softmax(logits).tolist(), strict=True)),
        "logits": dict(zip(labels, logits.tolist(), strict=True)),
    }


def _values(values: NDArray[np.float64], labels: tuple[str, ...]) -> dict[str, Any]:
    return {"values": dict(zip(labels, values.tolist(), strict=True))}


def _sequence(logits: NDArray[np.float64], labels: tuple[str, ...]) -> dict[str, Any]:
    chances = _softmax(logits)
    best = np.argsort(-logits, axis=-1, kind="stable")[:, :MOST_RANKED].tolist()
    return {
        "positions": [
            [
                {"class": k, "label": labels[k], "probability": float(chances[i, k]), "logit": float(logits[i, k])}
                for k in ranked
            ]
            for i, ranked in enumerate(best)
        ]
    }


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted: NDArray[np.float64] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chances: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return chances
