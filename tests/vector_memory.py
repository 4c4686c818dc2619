"""A program of its own, as memory is measured by process: 500 nodes of a picture of 3x224x224 in the real engine.

Prints what the vectors took at most, how far the process grew, and how far the answer is from one with room for all.
"""

import json
import resource
from dataclasses import dataclass

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
#: Such that the adaptive rule needs about so many nodes too.
TOLERANCE = 1e-4
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


class ManyKinks(nn.Module):
    """A ReLU per square of 16 pixels and channel, each with its kink on the path from zero to an example: 392."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.look, self.head = nn.Conv2d(3, 2, 16, stride=16, bias=False), nn.Linear(2 * 14 * 14, 2)
        for layer in (self.look, self.head):
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) / 20
        reached = self.look(example[None])[0].detach()
        self.register_buffer("bias", -torch.rand(reached.shape, generator=generator) * reached)
        settled(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.look(x) + self.bias).flatten(1))


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


def main() -> None:
    torch.set_num_threads(1)
    info = described(InputSpec("x", InputKind.TENSOR, SHAPE))
    model = TorchModel(ManyKinks(torch.from_numpy(uniform(1, *SHAPE))), info, sizes=POINTS)
    most = watched()
    asked = {
        "fixed": Quadrature(rule=RuleName.MIDPOINT, n_steps=N_NODES),
        "adaptive": Quadrature(tolerance=TOLERANCE, absolute_tolerance=0.0, max_evaluations=2 * N_NODES),
    }
    explained(model, BOUND_BYTES, Quadrature(rule=RuleName.MIDPOINT, n_steps=2 * POINTS))  # what passes take is known
    before = peak_bytes()
    bounded = {name: explained(model, BOUND_BYTES, quadrature) for name, quadrature in asked.items()}
    kept, grown = most.seen, peak_bytes() - before
    whole = {name: explained(model, 10 * BOUND_BYTES, quadrature) for name, quadrature in asked.items()}
    print(
        json.dumps(
            {
                "kept_bytes": kept,
                "grown_bytes": grown,
                "kept_without_bound_bytes": most.seen,
                "evaluations": {name: result.evaluations for name, result in bounded.items()},
                "converged": {name: result.converged for name, result in bounded.items()},
                "error": {name: result.relative_completeness_error for name, result in bounded.items()},
                "off": {name: off(bounded[name].attributions["x"], whole[name].attributions["x"]) for name in asked},
            }
        )
    )


if __name__ == "__main__":
    main()
