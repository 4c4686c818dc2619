"""Models and their outputs to documents."""

from typing import Any

import numpy as np

from attributor.jobs.model import InputSpec, ModelInfo, ModelReport, OutputScale, Readiness
from attributor.jobs.result import PredictionResult
from attributor.rendering.draw import drawable_kinds


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
        "inputs": [_input_document(declared) for declared in info.inputs],
        "output": {"name": info.output.name, "labels": info.output.labels},
        "baselines": [
            {"name": b.name, "description": b.description, "default": b.name == info.default_baseline}
            for b in info.baselines.values()
        ],
        "layers": report.layers if report else (),
        "methods": ["integrated_gradients"],
        "scales": list(OutputScale),
        "readiness": {
            "state": report.readiness if report else Readiness.LOADING,
            "reason": report.reason if report else None,
            "checks": dict(report.checks) if report else {},
        },
    }


def _input_document(declared: InputSpec) -> dict[str, Any]:
    return {
        "name": declared.name,
        "kind": declared.kind,
        "datatype": "FP32",
        "shape": declared.shape,
        "features": [
            {"name": f.name, "unit": f.unit, "minimum": f.minimum, "maximum": f.maximum} for f in declared.features
        ],
        "value_range": declared.value_range,
        "visualizations": drawable_kinds(declared),
    }


def prediction_document(result: PredictionResult, info: ModelInfo) -> dict[str, Any]:
    """A model's outputs by label (PredictionDocument)."""
    labels = info.output.labels
    logits = result.outputs[info.output.name].astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    predictions = []
    for row, chances in zip(logits.tolist(), probabilities.tolist(), strict=True):
        best = int(np.argmax(row))
        predictions.append(
            {
                "class": best,
                "label": labels[best],
                "probabilities": dict(zip(labels, chances, strict=True)),
                "logits": dict(zip(labels, row, strict=True)),
            }
        )
    return {
        "model": {"name": info.name, "version": info.version, "digest": info.digest},
        "predictions": predictions,
    }
