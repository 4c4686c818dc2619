"""A program of its own, as memory is measured by process: 500 nodes of a picture of 3x224x224 in the real engine.

Prints what the vectors took at most, how far the process grew, and how far the answer is from one with room for all.
"""

import json
import resource
from dataclasses import dataclass

import numpy as np
import torch
from attributor.core.asks import Indices
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, Target, Term
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import InputKind, InputSpec
from attributor.jobs.result import AttributionResult, PathResult
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.vectors import Vectors
from torch import Tensor, nn
from torch_engine import OneModel, off, zero
from torch_nets import described, settled, uniform

SHAPE = (3, 224, 224)
N_NODES = 500
BOUND_BYTES = 200_000_000
#: Small passes, whose own memory is then small beside the vectors.
POINTS = 4


@dataclass
class Most:
    """Bytes of one route's vectors, at most."""

    seen: int = 0


def watched() -> Most:
    """From now on, after each pass."""
    most, keep = Most(), Vectors.keep

    def keep_and_look(self: Vectors, key: tuple[int, str], nodes: Indices, vectors: Tensor) -> None:
        keep(self, key, nodes, vectors)
        most.seen = max(most.seen, self.nbytes)

    Vectors.keep = keep_and_look  # type: ignore[method-assign]
    return most


def net() -> nn.Module:
    """A thousand and a half kinks on the path, at little cost."""
    torch.manual_seed(3)
    look = nn.Conv2d(3, 2, 8, stride=8)
    look.bias.data = -torch.rand(2) * 0.5
    return settled(nn.Sequential(look, nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 28, 2)))


def explained(model: TorchModel, bound_bytes: int, quadrature: Quadrature) -> PathResult:
    info = described(InputSpec("x", InputKind.TENSOR, SHAPE))
    engine = Engine(OneModel(model, info, {}), lambda: 0.0, job_vector_bytes=bound_bytes)
    explanation = Explanation(targets=(Target((Term(0),)),), baselines=(zero(info),))
    example = {"x": uniform(1, *SHAPE)}
    spec = JobSpec(
        JobKind.ATTRIBUTION, info.name, info.version, info.digest, info.inputs, (example,), "", explanation, quadrature
    )  # fmt: skip
    engine.admit("job", spec)
    for _ in range(20_000):
        if finished := engine.step():
            answer = finished[0].outcome
            assert isinstance(answer, AttributionResult), answer
            return answer.results[0]
    raise AssertionError("the job does not end")


def peak_bytes() -> int:
    """Of this process, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compared(model: TorchModel, most: Most, quadrature: Quadrature) -> dict[str, object]:
    """Bounded first: a peak does not fall."""
    most.seen, before = 0, peak_bytes()
    bounded = explained(model, BOUND_BYTES, quadrature)
    kept, grown = most.seen, peak_bytes() - before
    most.seen = 0
    whole = explained(model, 10 * BOUND_BYTES, quadrature)
    return {
        "kept_bytes": kept,
        "grown_bytes": grown,
        "kept_by_the_other_bytes": most.seen,
        "evaluations": bounded.evaluations,
        "off": off(bounded.attributions["x"], whole.attributions["x"]),
        "stop_reason": bounded.stop_reason,
        "converged": bounded.converged,
        "error": bounded.completeness_error,
        "gap": abs(bounded.score - (bounded.baseline_score or 0.0)),
    }


def main() -> None:
    torch.set_num_threads(1)
    info = described(InputSpec("x", InputKind.TENSOR, SHAPE))
    model, most = TorchModel(net(), info, sizes=POINTS), watched()
    adaptive = Quadrature(tolerance=1e-5, absolute_tolerance=0.0, max_evaluations=N_NODES)
    explained(model, BOUND_BYTES, Quadrature(rule=RuleName.MIDPOINT, n_steps=2 * POINTS))  # what passes take, at first
    found = {"adaptive": compared(model, most, adaptive)}
    fixed = Quadrature(rule=RuleName.MIDPOINT, n_steps=N_NODES)
    found["fixed"] = compared(model, most, fixed)
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
