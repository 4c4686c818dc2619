"""The golden example of a bundle: one input with its attributions, written once in float64, checked at every load.

The reference is computed here, apart from the runtime it is there to check. Knows torch and one model.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from attributor.errors import RequestError
from attributor.inputs.decode import decode_inputs
from attributor.jobs.job import Target
from attributor.jobs.model import ModelInfo, OutputScale, Tensors
from attributor.ports import GradientModel, PathSpec, Point
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.manifest import validation_sentences
from attributor.registry.seal import seal
from attributor.runtimes.targets import class_scores

#: The file's name in a bundle.
GOLDEN = "golden.json"

#: Every kink of a ReLU net costs an error in 1 / nodes, whatever the rule. The reference, computed once, takes 8192
#: nodes (its own completeness error: 2e-4 at most on our nets); the check, at every load, 512.
_REFERENCE_PANELS = 512
_CHECK_PANELS = 32
_NODES_PER_PANEL = 16

#: Relative L1 error that a check may find: twice the worst that 512 float32 nodes left on our nets (2.5e-3).
DEFAULT_TOLERANCE = 5e-3

_Number = Annotated[float, Field(allow_inf_nan=False)]


class Golden(BaseModel):
    """golden.json. `input` as in a request; scores are those of `label` on `scale`; attributions as nested lists."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: dict[str, Any]
    baseline: str
    label: str
    scale: OutputScale
    score: _Number
    baseline_score: _Number
    attributions: dict[str, list[Any]]
    tolerance: Annotated[float, Field(gt=0, lt=1)]


def write_golden(folder: Path, item: Mapping[str, object], *, scale: OutputScale = OutputScale.PROBABILITY) -> None:
    """Writes golden.json for the class predicted for `item` (one entry of a request's `inputs`); seals the bundle.

    The path starts at the default baseline. Raises BundleError, and RequestError for an item that does not fit.
    """
    seal(folder)
    bundle = open_bundle(folder)
    info = bundle.info
    example = decode_inputs(info.inputs, item, field="input")
    ends = (info.baselines[info.default_baseline].tensors, example)
    answer = _reference(load_module(bundle), info, ends, scale)
    document = {"input": dict(item), "baseline": info.default_baseline, "tolerance": DEFAULT_TOLERANCE, **answer}
    (folder / GOLDEN).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    seal(folder)


def check_golden(model: GradientModel, info: ModelInfo, data: bytes) -> str | None:
    """What is wrong between golden.json and the model behind its runtime; None if they agree."""
    try:
        golden = Golden.model_validate_json(data)
        example = decode_inputs(info.inputs, golden.input, field="input")
    except ValidationError as error:
        return f"{GOLDEN} is wrong: {validation_sentences(error)}."
    except RequestError as error:
        return f"{GOLDEN} is wrong: {error.field}: {error.detail}."
    if golden.baseline not in info.baselines or golden.label not in info.output.labels:
        return f"{GOLDEN} names baseline {golden.baseline!r} and label {golden.label!r}, which the manifest does not."
    return _disagreement(model, info, golden, example)


def _disagreement(model: GradientModel, info: ModelInfo, golden: Golden, example: Tensors) -> str | None:
    target = Target(info.output.labels.index(golden.label), golden.scale)
    spec = PathSpec(example, info.baselines[golden.baseline].tensors, target)
    baseline_score, score, attributions = _through_runtime(model, spec)
    name = info.inputs[0].name
    expected = np.asarray(golden.attributions.get(name), dtype=np.float64)
    if expected.shape != info.inputs[0].shape:
        return f"{GOLDEN} needs attributions of {name!r} in shape {list(info.inputs[0].shape)}."
    error = float(abs(attributions[name] - expected).sum() / max(abs(expected).sum(), np.finfo(np.float32).tiny))
    scale = abs(golden.score - golden.baseline_score)
    for what, found, said in (
        ("score", score, golden.score),
        ("baseline_score", baseline_score, golden.baseline_score),
    ):
        if not abs(found - said) <= golden.tolerance * scale:
            return (
                f"The golden example has {what} {said:.6g}, the model gives {found:.6g}. After a change write it anew."
            )
    if not error <= golden.tolerance:
        return f"The golden attributions are off by {error:.1e} (relative L1); {golden.tolerance:.1e} is allowed."
    return None


def _through_runtime(model: GradientModel, spec: PathSpec) -> tuple[float, float, Mapping[str, NDArray[np.float64]]]:
    """Baseline score, score, attributions, as a worker computes them, but by a fixed fine rule."""
    alphas, weights = _panels(_CHECK_PANELS)
    n_nodes = len(alphas)
    points = [Point(GOLDEN, n_nodes, 0.0, gradient=False), Point(GOLDEN, n_nodes + 1, 1.0, gradient=False)]
    points += [Point(GOLDEN, node, alpha, gradient=True) for node, alpha in enumerate(alphas.tolist())]
    model.open(GOLDEN, spec)
    try:
        evaluations = [
            evaluation
            for first in range(0, len(points), model.max_points)
            for evaluation in model.evaluate(points[first : first + model.max_points])
        ]
        attributions = model.attributions(GOLDEN, dict(enumerate(weights.tolist())))
    finally:
        model.close(GOLDEN)
    return evaluations[0].score, evaluations[1].score, attributions


def _reference(
    module: nn.Module, info: ModelInfo, ends: tuple[Tensors, Tensors], scale: OutputScale
) -> dict[str, object]:
    """Scores and attributions of the class predicted at the example, all in float64, as fields of Golden."""
    name = info.inputs[0].name
    baseline, example = (torch.from_numpy(end[name]).double() for end in ends)
    exact = copy.deepcopy(module).double()
    predicted = int(exact(example[None]).argmax())

    def scores(batch: Tensor) -> Tensor:
        return class_scores(exact(batch), [(predicted, scale)] * len(batch))

    total = torch.zeros_like(example)
    for alphas, weights in zip(
        *(np.split(part, _REFERENCE_PANELS) for part in _panels(_REFERENCE_PANELS)), strict=True
    ):
        batch = torch.stack([baseline + alpha * (example - baseline) for alpha in alphas.tolist()]).requires_grad_()
        (gradient,) = torch.autograd.grad(scores(batch).sum(), batch)
        total += torch.tensordot(torch.from_numpy(weights), gradient, 1)
    baseline_score, score = scores(torch.stack([baseline, example])).tolist()
    return {
        "label": info.output.labels[predicted],
        "scale": scale,
        "score": score,
        "baseline_score": baseline_score,
        "attributions": {name: (total * (example - baseline)).tolist()},
    }


def _panels(n_panels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes on [0, 1] and their weights: Gauss-Legendre on equal panels (Abramowitz, Stegun 1964, 25.4.30)."""
    nodes, weights = leggauss(_NODES_PER_PANEL)
    starts = np.arange(n_panels)[:, None]
    alphas = (starts + (nodes + 1) / 2) / n_panels
    return alphas.ravel(), np.tile(weights / 2 / n_panels, n_panels)
