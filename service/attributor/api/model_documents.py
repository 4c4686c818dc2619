"""Models and their outputs to documents."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.api.mapping.paths import path_kinds
from attributor.api.mapping.targets import scales
from attributor.api.rules_of_methods import methods_for
from attributor.inputs.baselines import fitting_kinds
from attributor.jobs.explanation import Quantity
from attributor.jobs.model import (
    Feature,
    InputKind,
    InputSpec,
    ModelInfo,
    ModelReport,
    OutputKind,
    Readiness,
    Source,
    SourceKind,
)
from attributor.jobs.result import PredictionResult
from attributor.rendering.draw import drawable_kinds

#: Classes told of each position of a sequence: ours, a vocabulary has tens of thousands.
MOST_RANKED = 10


#: What stands in a request's `inputs` under the name of a source.
_TO_SEND = {
    SourceKind.TEXT: 'a text, or a pair of them: {"text": "...", "pair": "..."}',
    SourceKind.SMILES: 'a molecule as SMILES, such as "CCO"',
}


def model_document(
    info: ModelInfo,
    report: ModelReport | None,
    *,
    default: bool,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """A model and what it can do (ModelDocument). `aliases`: the version that each alias of the model stands for.

    A report on other files than those on disk does not count.
    """
    if report is not None and report.digest != info.digest:
        report = None
    return {
        "name": info.name,
        "version": info.version,
        "default": default,
        "aliases": [alias for alias, version in aliases.items() if version == info.version],
        "digest": info.digest,
        "title": info.title,
        "description": info.description,
        "licence": info.licence,
        "source": info.source,
        "framework": info.framework,
        "gradients": info.gradients,
        "sources": [_source_document(source, info) for source in info.sources.values()],
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
        "layers": _layers(info, report),
        "methods": methods_for(info, comparators=report is None or report.comparators),
        "quantities": list(Quantity) if info.gradients else [],
        "scales": scales(info.output),
        "readiness": _readiness(report),
    }


def _readiness(report: ModelReport | None) -> dict[str, Any]:
    return {
        "state": report.readiness if report else Readiness.LOADING,
        "reason": report.reason if report else None,
        "checks": dict(report.checks) if report else {},
        "loaded": report is not None and report.loaded,
        "memory_bytes": report.memory_bytes if report else None,
        "seconds_per_evaluation": report.seconds_per_evaluation if report else None,
        "points_per_pass": report.points_per_pass if report else None,
        "transforms": list(report.transforms) if report else [],
    }


def _layers(info: ModelInfo, report: ModelReport | None) -> list[dict[str, str | None]]:
    """Those that the manifest names, then the modules that a worker found."""
    modules = report.layers if report else ()
    types = dict(zip(modules, report.layer_types, strict=True)) if report and report.layer_types else {}
    declared = [
        {"name": each.name, "type": types.get(each.module), "module": each.module, "description": each.description}
        for each in info.layers.values()
    ]
    found = [
        {"name": name, "type": types.get(name), "module": name, "description": None}
        for name in modules
        if name not in info.layers
    ]
    return declared + found


def _source_document(source: Source, info: ModelInfo) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind,
        "send": _TO_SEND[source.kind],
        "tokenizer": source.file,
        "elements": source.elements,
        "inputs": [each.name for each in info.inputs if each.source == source.name],
    }


def _feature_document(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "unit": feature.unit,
        "minimum": feature.minimum,
        "maximum": feature.maximum,
        "categories": feature.categories,
        "one_hot": feature.one_hot,
        "missing": feature.missing if feature.missing_category is None else feature.missing_category,
    }


def _input_document(declared: InputSpec, info: ModelInfo) -> dict[str, Any]:
    return {
        "name": declared.name,
        "kind": declared.kind,
        "datatype": "INT64" if declared.kind is InputKind.TOKENS else "FP32",
        "shape": declared.shape,
        "variable": declared.variable,
        "attributed": declared.attributed,
        "source": declared.source,
        "part": declared.part,
        "features": [_feature_document(feature) for feature in declared.features],
        "groups": dict(declared.groups),
        "value_range": declared.value_range,
        "normalise": [{"mean": mean, "std": std} for mean, std in declared.normalise],
        "fit": declared.fit,
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
    item = _ITEMS[info.output.kind]
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


def _probabilities(chances: NDArray[np.float64], labels: tuple[str, ...]) -> dict[str, Any]:
    """As the model gave them: it has no logits to show."""
    best = int(np.argmax(chances))
    return {
        "class": best,
        "label": labels[best],
        "probabilities": dict(zip(labels, chances.tolist(), strict=True)),
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


_ITEMS: Mapping[OutputKind, Callable[[NDArray[np.float64], tuple[str, ...]], dict[str, Any]]] = {
    OutputKind.CLASSES: _classes,
    OutputKind.PROBABILITIES: _probabilities,
    OutputKind.VALUES: _values,
    OutputKind.SEQUENCE: _sequence,
}
