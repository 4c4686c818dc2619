"""What a request will cost at the least, held against what it allows itself and what one job may cost.

A worker computes many inputs of a job side by side, and what ends one of them ends the others at about the same time:
so counts are of the whole job, and each bound keeps one turn of the worker far below the 120 s after which it is taken
for hung (`worker.step_timeout_s`), or its memory within what a machine has. Sizes of layers are known to the worker
only; what is kept of them is not counted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from attributor.api.mapping.seeds import DRAWN
from attributor.api.schemas.bodies import FEWEST_EVALUATIONS, MOST_EVALUATIONS, AttributionBody
from attributor.core.first_round import FEWEST_FIRST_NODES
from attributor.errors import InvalidRequest
from attributor.inputs.baselines import shapley_features
from attributor.inputs.perturbing import default_samples, n_patches
from attributor.jobs.explanation import BaselineSpec, Explanation, Method
from attributor.jobs.job import Quadrature, RuleName
from attributor.jobs.keeping import DEFAULT_JOB_VECTOR_BYTES, kept, n_baselines, n_pieces
from attributor.jobs.model import InputKind, ModelInfo

#: Nodes of a fixed rule if the request does not say: what Captum and the TruLens practice start from.
DEFAULT_STEPS = 50
#: Paths of a job, each target counted; of methods without paths, gradients. Ours: a path and target cost up to 260
#: microseconds when an input ends (measured: expected gradients of a small net on a CPU core), so 9 s if all end in the
#: same turn.
MOST_PATHS = 32_768
#: Smooth pieces of all paths of a job. Ours: 75 microseconds to place each (measured), so 10 s in one turn.
MOST_PIECES = 131_072
#: Forward passes of a job's sampled orders, each target counted. Ours: four minutes of a small net on a CPU core, at
#: 60 microseconds; a score is kept until its input ends, 32 to 72 bytes, so 300 MB.
MOST_SCORES = 4_000_000
#: Samples times features of one linear model that is fitted. Ours: Captum and the regression keep 24 bytes for each,
#: so 800 MB.
MOST_DESIGN_CELLS = 2**25
#: Of what must be in memory at once. Ours: what a worker can have on a machine with 4 GB, beside the model and torch.
MOST_KEPT_BYTES = 2_000_000_000
#: Of the vectors that a job keeps at a time: fewer of its inputs and noisy copies are then under way at once, and
#: panels are sealed, their vectors added up and freed. As `worker.job_vector_bytes` is by default.
MOST_VECTOR_BYTES = DEFAULT_JOB_VECTOR_BYTES
#: Of the inputs of a job, as the store takes them: a few kilobytes of PNG may be a picture of megabytes. Ours: as much
#: as an answer.
MOST_JOB_BYTES = 256_000_000
#: Of an answer. Redis and Valkey refuse values above 512 MB (proto-max-bulk-len); half of it, because the nodes that
#: the adaptive rule adds are not known beforehand.
MOST_ANSWER_BYTES = 256_000_000

#: Of an element of a tensor, float32; of a vertex, which is kept as an array and on the device.
_FLOAT_BYTES, _VERTEX_BYTES = 4, 8
#: Of a token id, int64.
_ID_BYTES = 8
#: Of a node, or a baseline with its name and score, as the store keeps it: JSON numbers of up to 20 characters.
_RECORD_BYTES = 70
_WITHOUT_PATHS = frozenset({Method.SALIENCY, Method.GRADIENT_X_INPUT, Method.LRP}) | {
    Method.GUIDED_BACKPROPAGATION,
    Method.DECONVOLUTION,
}


@dataclass(frozen=True, slots=True)
class Size:
    """How often each part of a request multiplies its cost. `paths`: of one copy of an input, in one target.

    `paths_field` names what decides them. `drawn`: baselines that are made. `nodes`: of one copy, at the least;
    `kept`: vectors of one copy that a worker keeps at a time, at the least. `steps`: of a fixed rule on each piece,
    else 1. `adds`: whether the worker adds nodes.
    """

    inputs: int
    copies: int
    paths: int
    paths_field: str
    pieces: int
    drawn: int
    nodes: int
    steps: int
    targets: int
    adds: bool = False
    kept: int = 0

    @property
    def factors(self) -> Mapping[str, int]:
        """By field of the request."""
        return {
            "inputs": self.inputs,
            "smoothing.samples": self.copies,
            self.paths_field: self.paths,
            "target": self.targets,
        }


def require_budget(body: AttributionBody, explanation: Explanation, info: ModelInfo) -> None:
    """Whether what a request asks for can be computed, kept and stored at all. Raises InvalidRequest."""
    if body.method is Method.INTEGRATED_GRADIENTS:
        _require_evaluations(body, explanation)
    size = size_of(body, explanation)
    paths = "gradients" if body.method in _WITHOUT_PATHS else "paths"
    _require(prod(size.factors.values()), MOST_PATHS, f"{paths}, each target counted", size.factors)
    points = len(explanation.interior_alphas)
    interior = {
        "inputs": size.inputs,
        "smoothing.samples": size.copies,
        "interior.alphas": points,
        "target": size.targets,
    }
    _require(prod(interior.values()), MOST_PATHS, "interior gradients, each target counted", interior)
    pieces = {name: count for name, count in size.factors.items() if name != "target"} | {"path": size.pieces}
    _require(prod(pieces.values()), MOST_PIECES, "pieces of paths", pieces)
    if body.method is Method.SHAPLEY:
        scores = {**size.factors, "samples": explanation.samples, "": shapley_features(info)}
        _require(prod(scores.values()), MOST_SCORES, "forward passes, features and targets counted", scores)
    if body.method in (Method.KERNEL_SHAP, Method.LIME):
        _require_design(body, info)
    _require_sendable(size, info)
    _require_memory(size, explanation, info)
    _require_storable(size, explanation, info)


def require_prediction(n_inputs: int, info: ModelInfo) -> None:
    """Whether so many inputs, and the model's outputs for them, can be stored. Raises InvalidRequest."""
    factors = {"inputs": n_inputs}
    for one, what in ((input_bytes(info), "of inputs"), (prod(info.output.shape) * _FLOAT_BYTES, "of outputs")):
        _require(n_inputs * one // 1_000_000, MOST_JOB_BYTES // 1_000_000, what, factors, "MB")


def _require(number: int, most: int, what: str, factors: Mapping[str, int], unit: str = "") -> None:
    """Refuses more than `most`; names what to lower, the largest factor first."""
    if number <= most:
        return
    named = {field: count for field, count in factors.items() if field and count > 1}
    fields = sorted(named, key=lambda field: named[field], reverse=True) or ["inputs"]
    asked = " times ".join(f"{named[field]} ({field})" for field in fields if field in named)
    unit = f" {unit}" if unit else ""
    raise InvalidRequest(
        f"the request takes {number}{unit} {what}{f', from {asked}' if asked else ''}: at most {most}{unit}; lower "
        + " or ".join(fields),
        field=fields[0],
    )


def _require_evaluations(body: AttributionBody, explanation: Explanation) -> None:
    """Of one input: whether its own budget has room for all paths' first nodes, or a fixed rule's nodes are few."""
    n_paths, pieces = n_baselines(explanation), n_pieces(explanation)
    paths = f"{n_paths} path{'s' * (n_paths > 1)} of {pieces} piece{'s' * (pieces > 1)}"
    if body.rule is not RuleName.ADAPTIVE:
        nodes = n_paths * pieces * (body.n_steps or DEFAULT_STEPS)
        if nodes > MOST_EVALUATIONS:
            raise InvalidRequest(f"{nodes} nodes for {paths}: at most {MOST_EVALUATIONS}", field="n_steps")
    elif (fewest := FEWEST_FIRST_NODES * n_paths * pieces) > body.max_evaluations:
        raise InvalidRequest(
            f"must be at least {fewest} for {paths}; or take fewer baselines or points", field="max_evaluations"
        )


def _require_design(body: AttributionBody, info: ModelInfo) -> None:
    window = body.options.get("window")
    features = n_patches(info.inputs, None if window is None else int(window))
    samples = int(body.options.get("samples", default_samples(body.method, features)))
    if samples * features > MOST_DESIGN_CELLS:
        field = "options.window" if "samples" not in body.options else "options.samples"
        raise InvalidRequest(
            f"the linear model is fitted to {samples} samples of {features} features, {samples * features} numbers: at "
            f"most {MOST_DESIGN_CELLS}; lower options.samples, or raise options.window, of which a feature is made",
            field=field,
        )


def _require_sendable(size: Size, info: ModelInfo) -> None:
    """Of the inputs alone, attributed or not."""
    _require(
        size.inputs * input_bytes(info) // 1_000_000,
        MOST_JOB_BYTES // 1_000_000,
        "of inputs",
        {"inputs": size.inputs},
        "MB",
    )


def _require_memory(size: Size, explanation: Explanation, info: ModelInfo) -> None:
    """The vectors of one copy of an input alone; and all that is there at once."""
    one = 0 if explanation.layer else _features(info) * _FLOAT_BYTES * size.kept * size.targets
    _require(
        one // 1_000_000,
        MOST_VECTOR_BYTES // 1_000_000,
        "for the vectors of one input",
        {
            size.paths_field: size.paths,
            "target": size.targets,
            "path": size.pieces,
            "n_steps": size.steps,
            "interior.alphas": len(explanation.interior_alphas),
        },
        "MB",
    )
    _require(
        (point_bytes(size, info) + vector_bytes(size, explanation, info)) // 1_000_000,
        MOST_KEPT_BYTES // 1_000_000,
        "for vectors and points, at the least",
        {**size.factors, "path": size.pieces, "n_steps": size.steps},
        "MB",
    )


def _require_storable(size: Size, explanation: Explanation, info: ModelInfo) -> None:
    integrated = _has_nodes(size, explanation)
    factors = {"inputs": size.inputs, "target": size.targets, "interior.alphas": len(explanation.interior_alphas)}
    _require(
        answer_bytes(size, explanation, info) // 1_000_000,
        MOST_ANSWER_BYTES // 1_000_000,
        "for the answer",
        {**factors, size.paths_field: size.paths, "n_steps": size.steps if integrated else 1},
        "MB",
    )


def input_bytes(info: ModelInfo) -> int:
    """Of one input, as a job carries it; token ids of variable length at their longest."""
    return sum(
        prod(spec.shape) * (_ID_BYTES if spec.kind is InputKind.TOKENS else _FLOAT_BYTES) for spec in info.inputs
    )


def point_bytes(size: Size, info: ModelInfo) -> int:
    """Of a job's examples, noisy copies, baselines and vertices, in the worker."""
    vertices = 1 + size.drawn + size.paths * (size.pieces - 1)
    return size.inputs * size.copies * _features(info) * _VERTEX_BYTES * vertices


def vector_bytes(size: Size, explanation: Explanation, info: ModelInfo) -> int:
    """Of the vectors at a job's nodes, in the worker, at most; not of a layer, whose size is unknown."""
    if explanation.layer:
        return 0
    whole = size.inputs * size.copies * _features(info) * _FLOAT_BYTES * size.nodes * size.targets
    return min(whole, MOST_VECTOR_BYTES)


def answer_bytes(size: Size, explanation: Explanation, info: ModelInfo) -> int:
    """Of a job's results as the store keeps them: tensors (not of a layer, whose size is unknown), nodes, baselines."""
    features = _features(info)
    spreads = size.paths > 1 or size.copies > 1
    tensors = features * ((explanation.layer is None) * (1 + spreads) + (explanation.method not in _WITHOUT_PATHS))
    tensors += len(explanation.interior_alphas) * (features + _importances(info))
    records = size.paths + (size.nodes if _has_nodes(size, explanation) else 0)
    return size.inputs * size.targets * (_FLOAT_BYTES * tensors + _RECORD_BYTES * records)


def _has_nodes(size: Size, explanation: Explanation) -> bool:
    return explanation.method is Method.INTEGRATED_GRADIENTS and size.copies == 1


def size_of(body: AttributionBody, explanation: Explanation) -> Size:
    """How often each part of a request multiplies its cost, at the least."""
    drawn = paths = n_baselines(explanation)
    pieces, field = n_pieces(explanation), "baseline"
    nodes, steps = 0 if body.method is Method.SHAPLEY else paths, 1
    if body.method is Method.EXPECTED_GRADIENTS:
        field, nodes = "samples", explanation.samples
        drawn = sum(explanation.samples if _is_random(spec) else 1 for spec in explanation.baselines) or 1
        paths = explanation.samples
    elif body.method is Method.INTEGRATED_GRADIENTS:
        if body.rule is RuleName.ADAPTIVE:
            nodes = max(FEWEST_FIRST_NODES * paths * pieces, FEWEST_EVALUATIONS)
        else:
            steps = body.n_steps or DEFAULT_STEPS
            nodes = steps * paths * pieces
    copies = explanation.smoothing.samples if explanation.smoothing else 1
    adds = body.method is Method.INTEGRATED_GRADIENTS and body.rule is RuleName.ADAPTIVE
    quadrature = Quadrature(rule=body.rule, max_evaluations=body.max_evaluations, n_steps=body.n_steps or DEFAULT_STEPS)
    needed = kept(explanation, quadrature)
    return Size(
        inputs=len(body.inputs),
        copies=copies,
        paths=paths,
        paths_field=field,
        pieces=pieces,
        drawn=drawn,
        nodes=nodes,
        steps=steps,
        targets=len(explanation.targets),
        adds=adds,
        kept=needed.nodes + needed.beside,
    )


def _is_random(spec: BaselineSpec) -> bool:
    return any(part.kind in DRAWN for part in spec.parts.values())


def _features(info: ModelInfo) -> int:
    """Elements of the inputs that are attributed."""
    return sum(prod(spec.shape) for spec in info.inputs if spec.attributed)


def _importances(info: ModelInfo) -> int:
    """Elements of interior importances: an image's channels are summed."""
    return sum(
        prod(spec.shape[1:] if spec.kind is InputKind.IMAGE else spec.shape) for spec in info.inputs if spec.attributed
    )
