"""Models and jobs for the comparators' tests: a torch module, described as a bundle's manifest would."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attributor.comparators.explain import Loaded, explain
from attributor.jobs.explanation import Explanation, Method, Target, fixed_baseline
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import (
    Baseline,
    InputKind,
    InputSpec,
    ModelInfo,
    OutputKind,
    OutputScale,
    OutputSpec,
    Tensors,
)
from attributor.jobs.result import PathResult
from torch import nn

LOGIT = Target(scale=OutputScale.LOGIT)


def row(n: int, name: str = "x") -> InputSpec:
    """An input of n plain numbers."""
    return InputSpec(name, InputKind.TENSOR, (n,))


def loaded(
    module: nn.Module,
    *inputs: InputSpec,
    labels: Sequence[str] = ("no", "yes"),
    kind: OutputKind = OutputKind.CLASSES,
    positions: int | None = None,
) -> Loaded:
    """A model whose default baseline is zero."""
    zero = {each.name: np.zeros(each.shape, np.float32) for each in inputs}
    info = ModelInfo(
        name="net",
        version="1",
        digest="d1",
        title="net",
        description="",
        licence="",
        source="",
        inputs=tuple(inputs),
        output=OutputSpec("out", tuple(labels), kind, positions),
        baselines={"zero": Baseline("zero", "absence", zero)},
        default_baseline="zero",
    )
    return Loaded(module.eval().requires_grad_(False), info, {}, torch.device("cpu"))


def comparison(model: Loaded, method: Method, *examples: Tensors, **asked: Any) -> JobSpec:
    """A job for a comparator; `asked` are fields of the explanation."""
    return JobSpec(
        JobKind.ATTRIBUTION,
        "net",
        "1",
        "d1",
        model.info.inputs,
        examples,
        "",
        Explanation(method=method, **{"targets": (LOGIT,), **asked}),
    )


def explained(model: Loaded, method: Method, *examples: Tensors, **asked: Any) -> tuple[PathResult, ...]:
    """The answers, computed in this process."""
    return explain(model, comparison(model, method, *examples, **asked)).results


def floats(*values: float) -> Tensors:
    """The one input `x` of the models with one."""
    return {"x": np.array(values, dtype=np.float32)}


def from_here(name: str, **values: Any) -> Any:
    """A baseline with these values."""
    return fixed_baseline(name, {key: np.asarray(value) for key, value in values.items()})
