"""The proof at load: does a module keep what its manifest says, and what batching across requests rests on?

Knows torch and one module. Knows nothing of requests; what it finds is a sentence for the operator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from attributor.jobs.model import Feature, InputKind, ModelInfo
from attributor.registry.loader import describe

#: The text of a check that found nothing.
PASSED = "passed"

#: Three, so that a row has one neighbour on each side and one row is neither first nor last.
_ROWS = 3

#: Largest relative L1 difference between two float32 runs of the same row. Ours: ten times the 1e-5 that we promise
#: on well-conditioned nets (design.md, section 5); a model whose rows see each other is off by far more.
_ROW_TOLERANCE = 1e-4

_SEED = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What each check found, in order. `problem`: why the model must not serve, None if it may."""

    checks: Mapping[str, str]
    problem: str | None


class _Failed(Exception):
    """A check that failed: its name and a sentence."""

    def __init__(self, check: str, problem: str) -> None:
        super().__init__(problem)
        self.check = check


@dataclass(frozen=True, slots=True)
class _Run:
    """What a module said of a batch: logits (rows, classes), gradients of a fixed mix of them (rows, *shape)."""

    logits: Tensor
    gradient: Tensor

    def difference(self, other: "_Run") -> float:
        """The larger relative L1 difference of the two; NaN if there is one in either."""
        parts = _relative_l1(self.logits, other.logits), _relative_l1(self.gradient, other.gradient)
        return float(np.max(parts))


def prove(module: nn.Module, info: ModelInfo, device: str = "cpu") -> Proof:
    """Runs all checks on random rows of the declared domain, up to the first that fails. Never raises."""
    checks: dict[str, str] = {}
    try:
        for check in _checks(module, info, probe_rows(info).to(device)):
            checks[check] = PASSED
    except _Failed as failed:
        return Proof({**checks, failed.check: str(failed)}, str(failed))
    except Exception as error:  # what a bundle's code may raise is not ours to list
        problem = f"The model raised on inputs of the declared shape: {describe(error)}."
        return Proof({**checks, "runs": problem}, problem)
    return Proof(checks, None)


def layers(module: nn.Module) -> tuple[str, ...]:
    """The names of a module's submodules, in the order of their definition."""
    return tuple(name for name, _ in module.named_modules() if name)


def probe_rows(info: ModelInfo) -> Tensor:
    """Seeded random rows within the declared domain of the model's one input, float32 (rows, *shape)."""
    spec = info.inputs[0]
    baseline = info.baselines[info.default_baseline].tensors[spec.name].astype(np.float64)
    low, high = baseline - 1 - abs(baseline), baseline + 1 + abs(baseline)
    if spec.kind is InputKind.IMAGE and spec.value_range is not None:
        low, high = np.full(spec.shape, spec.value_range[0]), np.full(spec.shape, spec.value_range[1])
    if spec.features:
        bounds = [_bounds(*parts) for parts in zip(spec.features, low, high, strict=True)]
        low, high = np.array(bounds).T
    rows = np.random.default_rng(_SEED).uniform(low, high, (_ROWS, *spec.shape))
    return torch.from_numpy(rows.astype(np.float32))


def _bounds(feature: Feature, low: float, high: float) -> tuple[float, float]:
    if feature.minimum is None or feature.maximum is None:
        return low, high
    return feature.minimum, feature.maximum


def _checks(module: nn.Module, info: ModelInfo, rows: Tensor) -> Iterator[str]:
    """Yields the name of each check that passed; each rests on those before it. Raises _Failed."""
    if any(part.training for part in module.modules()):
        raise _Failed("eval_mode", "A submodule stays in training mode.")
    yield "eval_mode"
    _require_shape(module(rows.clone()), (_ROWS, len(info.output.labels)))
    yield "shapes"
    together = _run(module, rows)
    if not together.logits.isfinite().all():
        raise _Failed("finite_outputs", "The model returns NaN or infinity for finite inputs.")
    yield "finite_outputs"
    if not together.gradient.isfinite().all():
        raise _Failed("gradients", "The gradient has NaN or infinity at finite inputs.")
    yield "gradients"
    _require_deterministic(together.difference(_run(module, rows)))
    yield "deterministic"
    for row in range(_ROWS):
        alone = _run(module, rows[row : row + 1])
        _require_independent(alone.difference(_Run(together.logits[[row]], together.gradient[[row]])))
    yield "rows_independent"


def _require_shape(output: object, shape: tuple[int, int]) -> None:
    if not isinstance(output, Tensor):
        raise _Failed("shapes", f"The model returns {type(output).__name__}, not one tensor of logits.")
    if output.shape != shape:
        found, needed = list(output.shape), list(shape)
        detail = f"For a batch of {_ROWS} the model returns shape {found}; {needed} is needed, one logit per label."
        raise _Failed("shapes", detail)
    if not output.is_floating_point():
        raise _Failed("shapes", f"The model returns {output.dtype}; logits are floating point.")


def _require_deterministic(change: float) -> None:
    if not change <= _ROW_TOLERANCE:
        raise _Failed(
            "deterministic",
            f"The same batch, run twice, gave outputs or gradients that differ by {change:.1e} (relative): the model "
            "is not deterministic. Look for dropout that stays on, or noise.",
        )


def _require_independent(change: float) -> None:
    if not change <= _ROW_TOLERANCE:
        raise _Failed(
            "rows_independent",
            f"A row in a batch of {_ROWS} and the same row alone gave outputs or gradients that differ by {change:.1e} "
            "(relative): the rows of a batch influence each other, so requests could not share a batch. Look for "
            "statistics over the batch axis.",
        )


def _run(module: nn.Module, rows: Tensor) -> _Run:
    inputs = rows.clone().requires_grad_()
    logits = module(inputs)
    gradient = None
    if logits.requires_grad:
        # Unequal factors, so that no class is left out and equal shares (a softmax) do not cancel.
        mix = torch.arange(1.0, logits.shape[1] + 1, device=logits.device) / logits.shape[1]
        (gradient,) = torch.autograd.grad((logits * mix).sum(), inputs, allow_unused=True)
    if gradient is None:
        raise _Failed("gradients", "No gradient reaches the input: the output does not depend on it differentiably.")
    return _Run(logits.detach(), gradient)


def _relative_l1(one: Tensor, other: Tensor) -> float:
    """||one - other||_1 / ||other||_1; 0 where both vanish."""
    difference, norm = (one - other).double().abs().sum().item(), other.double().abs().sum().item()
    return difference / max(norm, torch.finfo(torch.float32).tiny)
