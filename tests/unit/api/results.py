"""A result of the model `photo-and-record`, to be varied."""

from dataclasses import replace
from typing import Any

import numpy as np
from attributor.jobs.explanation import Method, Term
from attributor.jobs.model import OutputScale
from attributor.jobs.result import BaselineResult, Nodes, PathResult, ResolvedTarget, ResultColumns, ResultWarning

ZEROS = np.zeros((1, 2, 2), np.float32)
SHARES = {
    "record": np.array([0.1, 0.2], np.float32),
    "photo": np.array([[[0.3, 0.0], [-0.1, 0.0]]], np.float32),
}

#: Columns of one number per row.
NUMBERS = (
    "sums",
    "errors",
    "relative_errors",
    "baseline_errors",
    "absolute_tolerances",
    "attribution_errors",
    "computing_s",
)


def result(**changes: Any) -> PathResult:
    plain = PathResult(
        input=0,
        method=Method.INTEGRATED_GRADIENTS,
        target=ResolvedTarget((Term(1),), ("ill",), "ill", None, OutputScale.PROBABILITY, True),
        score=0.9,
        baseline_score=0.4,
        attribution_sum=0.5,
        completeness_error=0.001,
        relative_completeness_error=0.002,
        completeness_reason=None,
        tolerance=0.01,
        absolute_tolerance=1e-5,
        attribution_tolerance=None,
        converged=True,
        stop_reason="tolerance",
        attribution_error=0.03,
        rule="adaptive",
        evaluations=9,
        forwards=9,
        backwards=9,
        nodes=Nodes((0.0, 1.0), (0.5, 0.5), (0.4, 0.9), (None, 0.5), (0, 0)),
        attributions=SHARES,
        baseline={"photo": ZEROS, "record": np.zeros(2, np.float32)},
        baselines=(BaselineResult("none", 0.4, 0.001),),
        warnings=(ResultWarning("not_converged", "why"),),
        computing_s=0.1,
    )
    return replace(plain, **changes)


def columns(like: PathResult, shapes: dict[str, tuple[int, ...]], inputs: list[int], seed: int = 0) -> ResultColumns:
    """Results of such inputs as columns, with numbers drawn by chance, some of them lacking."""
    rng, n, nodes = np.random.default_rng(seed), len(inputs), 5
    numbers = {name: rng.normal(size=n) for name in NUMBERS}
    numbers["relative_errors"][::2] = np.nan
    numbers["attribution_errors"][1::2] = np.nan
    alpha = tuple(np.linspace(0, 1, nodes).tolist())
    warnings = (), (ResultWarning("one", "100 % of \u00e9"), ResultWarning("two", 'a "quoted" \x00 word'))
    return ResultColumns(
        like=replace(like, nodes=Nodes(alpha, (), (), (), (0,) * nodes)),
        inputs=np.array(inputs),
        targets=(like.target, replace(like.target, label="well", terms=(Term(0),), labels=("well",))),
        target=np.arange(n) % 2,
        scores=rng.normal(size=(n, nodes)),
        weights=rng.random((n, nodes)),
        slopes=rng.normal(size=(n, nodes - 2)),
        **numbers,
        attributions={name: rng.normal(size=(n, *shape)).astype(np.float32) for name, shape in shapes.items()},
        warnings=warnings,
        warned=np.arange(n) // 2 % 2,
    )
