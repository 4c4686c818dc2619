"""A result of the model `photo-and-record`, to be varied."""

from dataclasses import replace
from typing import Any

import numpy as np
from attributor.jobs.explanation import Method, Term
from attributor.jobs.model import OutputScale
from attributor.jobs.result import BaselineResult, Nodes, PathResult, ResolvedTarget, ResultWarning

ZEROS = np.zeros((1, 2, 2), np.float32)
SHARES = {
    "record": np.array([0.1, 0.2], np.float32),
    "photo": np.array([[[0.3, 0.0], [-0.1, 0.0]]], np.float32),
}


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
