"""Explanations of a torch module by the real TorchModel and the real Engine, without bundles, store or HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from attributor.engine.engine import Engine
from attributor.jobs.explanation import BaselineSpec, Explanation, Target, Term, fixed_baseline
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import ModelInfo, OutputScale, Tensors
from attributor.jobs.result import AttributionResult, JobResult, PathResult
from attributor.runtimes.curves import PathObject
from attributor.runtimes.torch_runtime import TorchModel
from torch import nn

#: Nearer the truth than any test here asks, and still above the rounding of float32.
CLOSE = Quadrature(tolerance=1e-3, attribution_tolerance=1e-3, max_evaluations=3000)


@dataclass(frozen=True)
class OneModel:
    """A ModelProvider of one model."""

    model: TorchModel
    description: ModelInfo
    rows: Tensors

    def get(self, ref: str, digest: str) -> TorchModel:
        assert (ref, digest) == (self.description.ref, self.description.digest)
        return self.model

    def info(self, ref: str) -> ModelInfo:
        return self.description

    def reference_set(self, ref: str) -> Tensors:
        return self.rows


def outcome(
    module: nn.Module,
    info: ModelInfo,
    *examples: Tensors,
    quadrature: Quadrature | None = None,
    reference: Tensors | None = None,
    paths: Mapping[str, PathObject] | None = None,
    **asked: Any,
) -> JobResult | Failure:
    """How a job on these inputs ends; `asked` are fields of the explanation, its baseline zero if none is given."""
    asked.setdefault("baselines", (zero(info),))
    model = TorchModel(module, info, paths=paths)
    engine = Engine(OneModel(model, info, reference or {}), lambda: 0.0)
    spec = JobSpec(
        JobKind.ATTRIBUTION, info.name, info.version, info.digest, info.inputs, examples, "",
        Explanation(**asked), quadrature or Quadrature(),
    )  # fmt: skip
    engine.admit("job", spec)
    for _ in range(20_000):
        if finished := engine.step():
            return finished[0].outcome
    raise AssertionError("the job does not end")


def explain(module: nn.Module, info: ModelInfo, *examples: Tensors, **asked: Any) -> tuple[PathResult, ...]:
    """The answers; see `outcome`."""
    answer = outcome(module, info, *examples, **asked)
    assert isinstance(answer, AttributionResult), answer
    return answer.results


def explained(module: nn.Module, info: ModelInfo, example: Tensors, **asked: Any) -> PathResult:
    """The only answer."""
    (result,) = explain(module, info, example, **asked)
    return result


def baseline(**tensors: np.ndarray) -> BaselineSpec:
    """A baseline with these values."""
    return fixed_baseline("given", tensors)


def zero(info: ModelInfo) -> BaselineSpec:
    """Zero in every attributed input of numbers."""
    tensors = {each.name: np.zeros(each.shape, np.float32) for each in info.inputs if each.attributed}
    return fixed_baseline("zero", tensors)


def output(*indexes: int, scale: OutputScale = OutputScale.VALUE, position: int | None = None) -> Target:
    """The sum of these outputs."""
    return Target(tuple(Term(index) for index in indexes), scale=scale, position=position)


def fixed(n_steps: int, rule: RuleName = RuleName.GAUSS_LEGENDRE) -> Quadrature:
    """A fixed rule of so many nodes."""
    return Quadrature(rule=rule, n_steps=n_steps)


def codes(result: PathResult) -> set[str]:
    """Of the warnings."""
    return {warning.code for warning in result.warnings}


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """||found - expected||_1 / ||expected||_1."""
    expected = np.asarray(expected, dtype=np.float64)
    return float(np.abs(found - expected).sum() / np.abs(expected).sum())
