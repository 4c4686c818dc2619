"""The proof at load: does a module keep what its manifest says, and what batching across requests rests on?

Knows torch and one module. Knows nothing of requests; what it finds is a sentence for the operator.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.errors import RequestError
from attributor.jobs.model import Feature, InputSpec, ModelInfo, Tensors
from attributor.registry.loader import LoadedBundle, describe
from attributor.registry.path_proof import check_paths
from attributor.registry.places import Batch, forward, places_of

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
    """What a module said of a batch: outputs (rows, *output shape), gradients of a fixed mix of them per place."""

    outputs: Tensor
    gradients: Batch

    def row(self, row: int) -> "_Run":
        """A batch of one of its rows."""
        return _Run(self.outputs[[row]], {name: gradient[[row]] for name, gradient in self.gradients.items()})

    def difference(self, other: "_Run") -> float:
        """The largest relative L1 difference in outputs or a gradient; NaN if there is one in either."""
        gradients = [_relative_l1(self.gradients[name], other.gradients[name]) for name in self.gradients]
        return float(np.max([_relative_l1(self.outputs, other.outputs), *gradients]))


def prove(loaded: LoadedBundle, info: ModelInfo, references: Tensors, device: str = "cpu") -> Proof:
    """Runs all checks on random rows of the declared domain, up to the first that fails. Never raises."""
    checks: dict[str, str] = {}
    try:
        rows = {name: tensor.to(device) for name, tensor in probe_rows(info, references).items()}
        for check in _checks(loaded, info, rows):
            checks[check] = PASSED
    except _Failed as failed:
        return Proof({**checks, failed.check: str(failed)}, str(failed))
    except Exception as error:  # what a bundle's code may raise is not ours to list
        problem = f"The model raised on inputs of the declared shape: {describe(error)}."
        return Proof({**checks, "runs": problem}, problem)
    return Proof(checks, None)


def layers(module: nn.Module) -> dict[str, str]:
    """A module's submodules in the order of their definition: the class of each, by its name."""
    return {name: type(part).__name__ for name, part in module.named_modules() if name}


def probe_rows(info: ModelInfo, references: Tensors) -> dict[str, Tensor]:
    """Seeded rows within the declared domain, per input (rows, *shape): float32, or int64 token ids.

    Attributed inputs are random, so that any value is met. What is only given (a mask) has to make sense, and nothing
    declares its domain: it comes from the reference set, else from the default baseline.
    """
    random = np.random.default_rng(_SEED)
    baseline = info.baselines[info.default_baseline].tensors
    rows = {}
    for spec in info.inputs:
        if spec.attributed:
            values = _random_rows(spec, baseline[spec.name], random)
        else:
            values = np.resize(references.get(spec.name, baseline[spec.name][None]), (_ROWS, *spec.shape))
        rows[spec.name] = torch.from_numpy(values)
    return rows


def _random_rows(spec: InputSpec, baseline: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    if spec.vocabulary is not None:
        return random.integers(spec.vocabulary, size=(_ROWS, *spec.shape))
    wide = baseline.astype(np.float64)
    low, high = wide - 1 - abs(wide), wide + 1 + abs(wide)
    if spec.value_range is not None:
        low, high = np.full(spec.shape, spec.value_range[0]), np.full(spec.shape, spec.value_range[1])
    if spec.features:
        bounds = [_bounds(*parts) for parts in zip(spec.features, low, high, strict=True)]
        low, high = np.array(bounds).T
    return random.uniform(low, high, (_ROWS, *spec.shape)).astype(np.float32)


def _bounds(feature: Feature, low: float, high: float) -> tuple[float, float]:
    if feature.minimum is None or feature.maximum is None:
        return low, high
    return feature.minimum, feature.maximum


def _checks(loaded: LoadedBundle, info: ModelInfo, rows: Batch) -> Iterator[str]:
    """Yields the name of each check that passed; each rests on those before it. Raises _Failed."""
    module = loaded.module
    if any(part.training for part in module.modules()):
        raise _Failed("eval_mode", "A submodule stays in training mode.")
    yield "eval_mode"
    _require_shape(module(*(rows[spec.name].clone() for spec in info.inputs)), (_ROWS, *info.output.shape))
    yield "shapes"
    places = _require_places(module, info, rows)
    if any(spec.embedding for spec in info.inputs):
        yield "embeddings"
    together = _run(module, info, rows)
    if not together.outputs.isfinite().all():
        raise _Failed("finite_outputs", "The model returns NaN or infinity for finite inputs.")
    yield "finite_outputs"
    _require_finite_gradients(together)
    yield "gradients"
    _require_deterministic(together.difference(_run(module, info, rows)))
    yield "deterministic"
    for row in range(_ROWS):
        alone = _run(module, info, {name: tensor[[row]] for name, tensor in rows.items()})
        _require_independent(alone.difference(together.row(row)))
    yield "rows_independent"
    if loaded.paths:
        if problem := check_paths(loaded.paths, places):
            raise _Failed("paths", problem)
        yield "paths"


def _require_shape(output: object, shape: tuple[int, ...]) -> None:
    if not isinstance(output, Tensor):
        raise _Failed("shapes", f"The model returns {type(output).__name__}, not one tensor.")
    if output.shape != shape:
        found, needed = list(output.shape), list(shape)
        detail = f"For a batch of {_ROWS} the model returns shape {found}; {needed} is needed, one number per label"
        raise _Failed("shapes", f"{detail} (of a sequence, per position and label).")
    if not output.is_floating_point():
        raise _Failed("shapes", f"The model returns {output.dtype}; its output has to be floating point.")


def _require_places(module: nn.Module, info: ModelInfo, rows: Batch) -> Batch:
    try:
        return places_of(module, info, rows)
    except RequestError as error:
        raise _Failed("embeddings", f"The embedding of a token input cannot be used: {error.detail}") from error


def _require_finite_gradients(run: _Run) -> None:
    for name, gradient in run.gradients.items():
        if not gradient.isfinite().all():
            raise _Failed("gradients", f"The gradient has NaN or infinity at finite inputs, in {name!r}.")


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


def _run(module: nn.Module, info: ModelInfo, rows: Batch) -> _Run:
    places = {name: place.clone().requires_grad_() for name, place in places_of(module, info, rows).items()}
    outputs = cast("Tensor", forward(module, info, rows, places))
    gradients: Sequence[Tensor | None] = [None] * len(places)
    if outputs.requires_grad:
        flat = outputs.flatten(1)
        # Unequal factors, so that no class is left out and equal shares (a softmax) do not cancel.
        mix = torch.arange(1.0, flat.shape[1] + 1, device=flat.device) / flat.shape[1]
        gradients = torch.autograd.grad((flat * mix).sum(), list(places.values()), allow_unused=True)
    found: dict[str, Tensor] = {}
    for name, gradient in zip(places, gradients, strict=True):
        if gradient is None:
            detail = f"No gradient reaches the input {name!r}: the output does not depend on it differentiably."
            raise _Failed("gradients", detail)
        found[name] = gradient
    return _Run(outputs.detach(), found)


def _relative_l1(one: Tensor, other: Tensor) -> float:
    """||one - other||_1 / ||other||_1; 0 where both vanish."""
    difference, norm = (one - other).double().abs().sum().item(), other.double().abs().sum().item()
    return difference / max(norm, torch.finfo(torch.float32).tiny)
