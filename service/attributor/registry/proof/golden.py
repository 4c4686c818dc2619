"""The golden example of a bundle: one input with its attributions, written once in float64, checked at every load.

Knows what the file says, the exact path that fills it, and the port of the runtime that it is there to check.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attributor.core.asks import Asks, one_node_each
from attributor.errors import BundleError, RequestError
from attributor.inputs.decode import decode_inputs
from attributor.jobs.explanation import Target, Term
from attributor.jobs.fitting import SCALES
from attributor.jobs.lengths import output_at
from attributor.jobs.model import ModelInfo, OutputScale, Tensors
from attributor.model_port import CurveSpec, GradientModel, Points, RouteSpec
from attributor.ports import SourceReader
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.files import read_verified
from attributor.registry.loader import load_module
from attributor.registry.proof.exact import ExactPath, panels
from attributor.registry.schema.manifest_table import validation_sentences
from attributor.registry.seal import seal
from attributor.registry.sources import readers

#: The file's name in a bundle.
GOLDEN = "golden.json"

#: Of a model that cannot be differentiated.
NO_GRADIENTS = f"{GOLDEN} holds integrated gradients, and this model has no gradients; leave the file out."

#: Panels of the check: 512 nodes. It runs at every load, the reference (8192 nodes) only once.
_CHECK_PANELS = 32

#: Relative L1 error that a check may find: twice the worst that 512 float32 nodes left on our nets (2.5e-3).
DEFAULT_TOLERANCE = 5e-3

#: Most of its bytes that are read. Ours: of a picture of 1024 x 1024 in three colours; parsed, some ten times as many.
MAX_GOLDEN_BYTES = 64_000_000

_Number = Annotated[float, Field(allow_inf_nan=False)]


class Golden(BaseModel):
    """golden.json. `input` as in a request; scores are those of `label` (at `position` of a sequence) on `scale`.

    `attributions`: per attributed input as nested lists; tokens have one number per position.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: dict[str, Any]
    baseline: str
    label: str
    position: Annotated[int, Field(ge=0)] | None = None
    scale: OutputScale
    score: _Number
    baseline_score: _Number
    attributions: dict[str, list[Any]]
    tolerance: Annotated[float, Field(gt=0, lt=1)]

    def problem(self, info: ModelInfo, example: Tensors) -> str | None:
        """What in it does not fit the manifest or its own input; None if all does."""
        if not info.gradients:
            return NO_GRADIENTS
        if self.baseline not in info.baselines or self.label not in info.output.labels:
            return f"{GOLDEN} names baseline {self.baseline!r} and label {self.label!r}, which the manifest does not."
        if self.scale not in SCALES[info.output.kind]:
            known = " or ".join(SCALES[info.output.kind])
            return f"{GOLDEN} is on the scale {self.scale}; outputs of kind {info.output.kind} have {known}."
        n_positions = output_at(info.output, info.inputs, example).positions
        if (self.position is None) != (n_positions is None) or (self.position or 0) >= (n_positions or 1):
            return f"{GOLDEN} needs a position within a sequence output, and none for any other."
        for spec in info.inputs:
            shape = example[spec.name].shape
            if spec.attributed and np.shape(self.attributions.get(spec.name, [])) != shape:
                return f"{GOLDEN} needs attributions of {spec.name!r} in shape {list(shape)}, as its input has."
        return None

    def target(self, info: ModelInfo) -> Target:
        """The output that is explained."""
        return Target((Term(info.output.labels.index(self.label)),), position=self.position, scale=self.scale)


def write_golden(folder: Path, item: Mapping[str, object], *, scale: OutputScale = OutputScale.PROBABILITY) -> None:
    """Writes golden.json for the largest output for `item` (one entry of a request's `inputs`); seals the bundle.

    Of a sequence, at its last position; where the output has no such scale, on the first that it has. The path starts
    at the default baseline. Raises BundleError, also for a model without gradients, and RequestError for an item that
    does not fit.
    """
    seal(folder)
    bundle = open_bundle(folder)
    info = bundle.info
    if not info.gradients:
        raise BundleError(NO_GRADIENTS, field="gradients")
    example, _ = decode_inputs(info.inputs, readers(folder, bundle.manifest), item, field="input")
    path = ExactPath(load_module(bundle), info, example, _baseline(info, info.default_baseline, example))
    index = path.largest_output()
    known = SCALES[info.output.kind]
    scale = scale if scale in known else known[0]
    baseline_score, score = path.scores(index, scale)
    document = {
        "input": dict(item),
        "baseline": info.default_baseline,
        "tolerance": DEFAULT_TOLERANCE,
        "label": info.output.labels[index],
        **({} if path.position is None else {"position": path.position}),
        "scale": scale,
        "score": score,
        "baseline_score": baseline_score,
        "attributions": {name: values.tolist() for name, values in path.attributions(index, scale).items()},
    }
    (folder / GOLDEN).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    seal(folder)


def read_golden(bundle: Bundle) -> bytes | None:
    """What golden.json holds; None if the bundle has none. Raises BundleError if it changed, or is too large."""
    record = bundle.manifest.files.get(GOLDEN)
    if record is None:
        return None
    if record.size_bytes > MAX_GOLDEN_BYTES:
        detail = f"{GOLDEN} has {record.size_bytes} bytes; at most {MAX_GOLDEN_BYTES} are read."
        raise BundleError(detail, field=f"files.{GOLDEN}")
    return read_verified(bundle.folder, GOLDEN, record)


def check_golden(model: GradientModel, info: ModelInfo, data: bytes, sources: Mapping[str, SourceReader]) -> str | None:
    """What is wrong between golden.json and the model behind its runtime; None if they agree. `sources`: the readers of
    the bundle's sources."""
    try:
        golden = Golden.model_validate_json(data)
        example, _ = decode_inputs(info.inputs, sources, golden.input, field="input")
        problem = golden.problem(info, example)
    except ValidationError as error:
        return f"{GOLDEN} is wrong: {validation_sentences(error)}."
    except RequestError as error:
        return f"{GOLDEN} is wrong: {error.field}: {error.detail}."
    except ValueError as error:  # numpy's, for ragged lists
        return f"{GOLDEN} is wrong: attributions: {error}."
    return problem or _disagreement(model, info, golden, example)


def golden_example(info: ModelInfo, data: bytes, sources: Mapping[str, SourceReader]) -> Tensors:
    """The input in golden.json. Raises BundleError for one that does not fit."""
    try:
        golden = Golden.model_validate_json(data)
        return decode_inputs(info.inputs, sources, golden.input, field="input")[0]
    except ValidationError as error:
        raise BundleError(f"{GOLDEN} is wrong: {validation_sentences(error)}.") from None
    except RequestError as error:
        raise BundleError(f"{GOLDEN} is wrong: {error.field}: {error.detail}.") from None


def _baseline(info: ModelInfo, name: str, example: Tensors) -> Tensors:
    """A declared baseline, as long as the example where lengths vary: it is declared for the longest."""
    tensors = info.baselines[name].tensors
    return {
        spec.name: tensors[spec.name][: len(example[spec.name])] if spec.variable else tensors[spec.name]
        for spec in info.inputs
    }


def _disagreement(model: GradientModel, info: ModelInfo, golden: Golden, example: Tensors) -> str | None:
    route = RouteSpec(example, (golden.target(info),))
    baseline_score, score, attributions = _through_runtime(model, route, _baseline(info, golden.baseline, example))
    scale = abs(golden.score - golden.baseline_score)
    for what, found, said in (
        ("score", score, golden.score),
        ("baseline_score", baseline_score, golden.baseline_score),
    ):
        if not abs(found - said) <= golden.tolerance * scale:
            return (
                f"The golden example has {what} {said:.6g}, the model gives {found:.6g}. After a change write it anew."
            )
    expected = {name: np.asarray(values, dtype=np.float64) for name, values in golden.attributions.items()}
    size = max(sum(abs(values).sum() for values in expected.values()), np.finfo(np.float32).tiny)
    error = sum(float(abs(attributions[name] - values).sum()) for name, values in expected.items()) / size
    if not error <= golden.tolerance:
        return f"The golden attributions are off by {error:.1e} (relative L1); {golden.tolerance:.1e} is allowed."
    return None


def _through_runtime(
    model: GradientModel, route: RouteSpec, baseline: Tensors
) -> tuple[float, float, Mapping[str, NDArray[np.float64]]]:
    """Baseline score, score, attributions, as a worker computes them, but by a fixed fine rule."""
    alphas, weights = panels(_CHECK_PANELS)
    n_nodes = len(alphas)
    ends = one_node_each(0, [1.0, 0.0], n_nodes, gradient=False)
    inner = one_node_each(0, alphas.tolist(), 0, gradient=True)
    model.open(GOLDEN, route)
    try:
        model.add_curve(GOLDEN, CurveSpec(baseline, route.example))
        (at_ends,) = model.evaluate([Points(GOLDEN, ends)])
        size = model.max_points  # which follows what passes take, and would leave out or repeat nodes
        for first in range(0, n_nodes, size):
            model.evaluate([Points(GOLDEN, Asks(inner[first : first + size]))])
        attributions = model.attributions(GOLDEN, 0, dict(enumerate(weights.tolist())))
    finally:
        model.close(GOLDEN)
    score, baseline_score = at_ends.scores[:, 0].tolist()
    return baseline_score, score, attributions
