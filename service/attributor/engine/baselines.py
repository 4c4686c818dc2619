"""Baselines as asked for, made into inputs: constants, blurs, noise, and what the reference set gives.

Knows one example, what the manifest says of the model, and its reference set; asks the model nothing (a baseline of
another class is a search, and stands in `boundary`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.core.scale_space import blurred
from attributor.errors import UnsupportedByModel
from attributor.jobs.domain import Bounds, declared_bounds, pixel_values
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec
from attributor.jobs.fitting import FITS
from attributor.jobs.model import NO_TOKEN, InputSpec, ModelInfo, Tensors

#: Standard deviation of a blur that names none, as a share of the picture's longer side. Ours: shapes are gone, large
#: areas of colour stay.
BLUR_SHARE = 0.1

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class NamedBaseline:
    """One x'. `random`: it was drawn, so another seed gives another. `place`: its place in the request's list."""

    name: str
    tensors: Tensors
    random: bool
    place: int = 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """The baseline of one input: what it is, what is asked, its value in x, its rows of the reference set if any."""

    declared: InputSpec
    part: BaselinePart
    example: Values
    rows: Values | None

    def reference(self) -> Values:
        """The rows, or a refusal."""
        if self.declared.variable:
            raise self.refused("has no fixed length, which rows of a reference set have")
        if self.rows is None:
            raise self.refused("needs a reference set, and the model has none")
        return self.rows

    def refused(self, why: str) -> UnsupportedByModel:
        """A refusal that names what was asked and of which input."""
        return UnsupportedByModel(f"{self.part.kind} for the input '{self.declared.name}' {why}", field="baseline")


def resolve_baselines(
    specs: Sequence[BaselineSpec],
    example: Tensors,
    info: ModelInfo,
    reference: Tensors,
    generator: Callable[[], np.random.Generator],
) -> list[NamedBaseline]:
    """The baselines of one example, in order: one for each, or one per draw for a random one.

    Tensors are of the example's shapes and types; inputs that are not attributed take its values. A draw is named by
    its number from 1, a row of the reference set by its number from 0. `generator` makes the source of random numbers,
    where any are needed.
    Raises UnsupportedByModel with field "baseline" for what does not fit an input, or lacks a reference set.
    """
    return [drawn for spec in specs for drawn in _drawn(spec, example, info, reference, generator)]


def _drawn(
    spec: BaselineSpec,
    example: Tensors,
    info: ModelInfo,
    reference: Tensors,
    generator: Callable[[], np.random.Generator],
) -> list[NamedBaseline]:
    """One spec's baselines. Inputs that take rows of the reference set take the same row."""
    wishes = _wishes(spec, example, info, reference)
    fixed = {name: _of_type(_FIXED[wish.part.kind](wish), wish) for name, wish in wishes.items() if _is_fixed(wish)}
    noisy = {name: wish for name, wish in wishes.items() if wish.part.kind in _NOISE}
    by_row = {name: wish for name, wish in wishes.items() if wish.part.kind is BaselineKind.REFERENCE}
    if not noisy and not by_row:
        return [NamedBaseline(spec.name, {**example, **fixed}, random=False)]
    rng = generator()
    n_rows = min((len(wish.reference()) for wish in by_row.values()), default=0)
    rows = _rows(n_rows, spec.samples, rng) if by_row else []
    drawn: list[NamedBaseline] = []
    by_number: dict[int, NamedBaseline] = {}  # a row that is drawn again is the same input, not an equal one
    for i in range(spec.samples):
        if rows and not noisy and rows[i] in by_number:
            drawn.append(by_number[rows[i]])
            continue
        tensors = {**example, **fixed}
        tensors |= {name: _of_type(wish.reference()[rows[i]], wish) for name, wish in by_row.items()}
        tensors |= {name: _of_type(_NOISE[wish.part.kind](wish, rng), wish) for name, wish in noisy.items()}
        number = f" {rows[i]}" if rows else f" {i + 1}" if spec.samples > 1 else ""
        drawn.append(NamedBaseline(f"{spec.name}{number}", tensors, random=True))
        if rows:
            by_number[rows[i]] = drawn[-1]
    return drawn


def _is_fixed(wish: _Wish) -> bool:
    return wish.part.kind not in RANDOM_KINDS


def _wishes(spec: BaselineSpec, example: Tensors, info: ModelInfo, reference: Tensors) -> dict[str, _Wish]:
    """What is asked of each attributed input."""
    wishes = {}
    for declared in info.inputs:
        if not declared.attributed:
            continue
        if declared.name not in spec.parts:
            detail = f"no baseline is given for the input '{declared.name}'; every attributed input needs one"
            raise UnsupportedByModel(detail, field="baseline")
        rows = reference.get(declared.name)
        wish = _Wish(
            declared,
            spec.parts[declared.name],
            example[declared.name],
            rows if rows is not None and len(rows) else None,
        )
        if wish.part.kind is BaselineKind.OTHER_CLASS:
            raise ValueError("other_class is searched for on the model (boundary.py)")
        if declared.kind not in FITS[wish.part.kind]:
            raise wish.refused(f"does not fit its kind, {declared.kind}")
        wishes[declared.name] = wish
    return wishes


def _rows(n_rows: int, samples: int, rng: np.random.Generator) -> list[int]:
    """Numbers of rows drawn: each once as long as there are enough."""
    return [int(row) for row in rng.choice(n_rows, samples, replace=samples > n_rows)]


def _of_type(values: Values, wish: _Wish) -> Values:
    return np.ascontiguousarray(values, dtype=wish.example.dtype)


def _given(wish: _Wish) -> Values:
    values = wish.part.values
    if values is not None and wish.declared.variable and wish.part.kind is BaselineKind.NAMED:
        values = values[: len(wish.example)]  # the manifest declares it for the longest example
    if values is None or values.shape != wish.example.shape:
        raise wish.refused(f"needs values of shape {list(wish.example.shape)}, as its example has")
    return values


def _zero(wish: _Wish) -> Values:
    return np.zeros_like(wish.example)


def _constant(wish: _Wish) -> Values:
    if wish.part.value is None:
        raise wish.refused("needs a value")
    return np.full_like(wish.example, wish.part.value)


def _black(wish: _Wish) -> Values:
    return np.broadcast_to(_pixel_values(wish)[0], wish.example.shape)


def _white(wish: _Wish) -> Values:
    return np.broadcast_to(_pixel_values(wish)[1], wish.example.shape)


def _pixel_values(wish: _Wish) -> Bounds:
    found = pixel_values(wish.declared)
    if found is None:
        raise wish.refused("needs the declared values of pixel 0 and pixel 255")
    return found


def _blur(wish: _Wish) -> Values:
    sigma = wish.part.sigma
    if sigma is None:
        sigma = BLUR_SHARE * max(wish.example.shape[1:])
    if not sigma > 0:
        raise wish.refused("needs a sigma above 0")
    return blurred(wish.example, sigma)


def _mean(wish: _Wish) -> Values:
    return np.asarray(wish.reference().mean(axis=0, dtype=np.float64))


def _median(wish: _Wish) -> Values:
    return np.asarray(np.median(wish.reference(), axis=0))


def _mode(wish: _Wish) -> Values:
    """Per feature its most frequent value; of equally frequent ones the smallest (so, where no value comes twice, the
    smallest of all: a mode says little about measurements)."""
    ascending = np.sort(wish.reference(), axis=0)
    best = np.ones(ascending.shape[1:], int)
    value: Values = ascending[0]
    run = best
    for before, here in pairwise(ascending):
        run = np.where(here == before, run + 1, 1)
        value, best = np.where(run > best, here, value), np.maximum(run, best)
    return value


def _pad(wish: _Wish) -> Values:
    if wish.declared.pad_id is None:
        raise wish.refused("needs a declared pad token; zero_embedding needs none")
    return np.full_like(wish.example, wish.declared.pad_id)


def _mask(wish: _Wish) -> Values:
    if wish.declared.mask_id is None:
        raise wish.refused("needs a declared mask token; zero_embedding needs none")
    return _but_pads(wish, wish.declared.mask_id)


def _zero_embedding(wish: _Wish) -> Values:
    return _but_pads(wish, NO_TOKEN)


def _but_pads(wish: _Wish, token: int) -> Values:
    """The token at every position of the text; what fills it up is no part of it and stays."""
    return np.where(wish.example == wish.declared.pad_id, wish.example, token)


def _uniform(wish: _Wish, rng: np.random.Generator) -> Values:
    """Noise over the valid range (Sturmfels, Lundberg, Lee 2020): as declared, else as in the reference set."""
    low, high = declared_bounds(wish.declared, wish.example.shape)
    if wish.rows is not None:
        low = np.where(np.isfinite(low), low, wish.rows.min(axis=0))
        high = np.where(np.isfinite(high), high, wish.rows.max(axis=0))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise wish.refused(f"needs {_unbounded(wish.declared)}, or a reference set; the model has neither")
    return rng.uniform(low, high)


def _gaussian(wish: _Wish, rng: np.random.Generator) -> Values:
    """Noise around the example, cut off at the declared range (Sturmfels, Lundberg, Lee 2020)."""
    if wish.part.sigma is None or not wish.part.sigma > 0:
        raise wish.refused("needs a sigma above 0")
    return np.clip(rng.normal(wish.example, wish.part.sigma), *declared_bounds(wish.declared, wish.example.shape))


def _unbounded(declared: InputSpec) -> str:
    """What a uniform draw lacks, in words."""
    missing = [element.name for element in declared.elements if element.minimum is None or element.maximum is None]
    return f"a declared minimum and maximum of the feature '{missing[0]}'" if missing else "a declared range"


_FIXED: Mapping[BaselineKind, Callable[[_Wish], Values]] = {
    BaselineKind.NAMED: _given,
    BaselineKind.TENSOR: _given,
    BaselineKind.ZERO: _zero,
    BaselineKind.CONSTANT: _constant,
    BaselineKind.BLACK: _black,
    BaselineKind.WHITE: _white,
    BaselineKind.BLUR: _blur,
    BaselineKind.MEAN: _mean,
    BaselineKind.MEDIAN: _median,
    BaselineKind.MODE: _mode,
    BaselineKind.PAD: _pad,
    BaselineKind.MASK: _mask,
    BaselineKind.ZERO_EMBEDDING: _zero_embedding,
}

_NOISE: Mapping[BaselineKind, Callable[[_Wish, np.random.Generator], Values]] = {
    BaselineKind.UNIFORM: _uniform,
    BaselineKind.GAUSSIAN: _gaussian,
}

#: Those that are drawn: another seed gives another.
RANDOM_KINDS = frozenset({*_NOISE, BaselineKind.REFERENCE})
