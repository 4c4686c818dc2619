"""ai.onnx.ml: what scikit-learn's pipelines become, as far as it has gradients."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator

_DOMAIN = "ai.onnx.ml"


def _kept(values: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    """A list of numbers as a tensor like another; of float64, as attributes hold float32 exactly."""
    array = torch.tensor(values, dtype=torch.float64)
    return lambda like: array.to(like)


@operator("Scaler", versions=(1,), attributes="offset scale", domain=_DOMAIN)
def scaler(node: Node) -> Function:
    """(x - offset) * scale, in float32."""
    offset, scale = _kept(node.numbers("offset") or (0.0,)), _kept(node.numbers("scale") or (1.0,))

    def run(x: Tensor) -> Tensor:
        wide = _floats(x, node)
        return (wide - offset(wide)) * scale(wide)

    return run


@operator("Normalizer", versions=(1,), attributes="norm", domain=_DOMAIN)
def normalizer(node: Node) -> Function:
    """Rows divided by their largest magnitude, their L1 or their L2 norm."""
    norm = node.text("norm", "MAX")
    orders = {"MAX": float("inf"), "L1": 1.0, "L2": 2.0}
    if norm not in orders:
        raise Unsupported(f"has norm {norm}")

    def run(x: Tensor) -> Tensor:
        wide = _floats(x, node)
        # onnxruntime's MAX divides by the largest value, not the largest magnitude.
        size = wide.amax(-1, keepdim=True) if norm == "MAX" else _length(wide, orders[norm])
        return wide / torch.where(size == 0, torch.ones_like(size), size)

    return run


def _length(x: Tensor, order: float) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(x, order, -1, keepdim=True)
    return size


@operator("ArrayFeatureExtractor", versions=(1,), domain=_DOMAIN)
def array_feature_extractor(node: Node) -> Function:
    """Columns of the last axis."""

    def run(x: Tensor, index: Tensor) -> Tensor:
        found = x.index_select(-1, index.reshape(-1).long())
        return found[None] if found.dim() == 1 else found

    return run


@operator("FeatureVectorizer", versions=(1,), attributes="inputdimensions", domain=_DOMAIN)
def feature_vectorizer(node: Node) -> Function:
    """Columns side by side."""
    sizes = node.integers("inputdimensions")

    def run(*parts: Tensor) -> Tensor:
        rows = [_floats(part.reshape(len(part), -1), node) for part in parts]
        if sizes is not None and tuple(row.shape[1] for row in rows) != sizes:
            raise ValueError(f"FeatureVectorizer takes columns {list(sizes)}, not {[row.shape[1] for row in rows]}")
        return torch.cat(rows, 1)

    return run


@operator("LinearRegressor", versions=(1,), attributes="coefficients intercepts post_transform targets", domain=_DOMAIN)
def linear_regressor(node: Node) -> Function:
    """x W + b."""
    n = node.integer("targets", 1)
    transform = _post_transform(node, ("NONE",))
    scores = _linear(node, n)
    return lambda x: transform(scores(_floats(x, node)))


@operator(
    "LinearClassifier",
    versions=(1,),
    attributes="classlabels_ints classlabels_strings coefficients intercepts multi_class post_transform",
    domain=_DOMAIN,
)
def linear_classifier(node: Node) -> Function:
    """Scores of classes by x W + b; of two classes with one row of coefficients, those of both."""
    if node.wanted[0]:
        raise Unsupported("gives labels, which cannot be differentiated; take its scores as the output")
    n_labels = len(node.integers("classlabels_ints") or node.texts("classlabels_strings") or ())
    n_rows = len(node.numbers("intercepts") or ()) or n_labels
    transform = _post_transform(node, ("NONE", "SOFTMAX", "LOGISTIC"))
    if n_rows != n_labels:
        raise Unsupported(f"has {n_rows} rows of coefficients for {n_labels} classes")
    scores = _linear(node, n_rows)
    return lambda x: (None, transform(scores(_floats(x, node))))


def _linear(node: Node, n_rows: int) -> Callable[[Tensor], Tensor]:
    coefficients = node.numbers("coefficients") or ()
    if n_rows == 0 or len(coefficients) % n_rows:
        raise Unsupported(f"has {len(coefficients)} coefficients for {n_rows} rows")
    weight = torch.tensor(np.reshape(coefficients, (n_rows, -1)), dtype=torch.float64)
    bias = torch.tensor(node.numbers("intercepts") or (0.0,) * n_rows, dtype=torch.float64)
    return lambda x: torch.nn.functional.linear(x, weight.to(x), bias.to(x))


def _post_transform(node: Node, known: tuple[str, ...]) -> Callable[[Tensor], Tensor]:
    name = node.text("post_transform", "NONE")
    if name not in known:
        raise Unsupported(f"has post_transform {name}")
    transforms: dict[str, Callable[[Tensor], Tensor]] = {
        "NONE": lambda scores: scores,
        "SOFTMAX": lambda scores: scores.softmax(-1),
        "LOGISTIC": torch.sigmoid,
    }
    return transforms[name]


def _floats(x: Tensor, node: Node) -> Tensor:
    return x.to(node.floating())


@operator("ZipMap", versions=(1,), attributes="classlabels_int64s classlabels_strings", domain=_DOMAIN)
def zip_map(node: Node) -> Function:
    """Refused: its output is a list of dictionaries."""
    raise Unsupported("gives a list of dictionaries; take its input as the output, or convert with zipmap=False")
