"""What a reader should know of the examples themselves: features that stay at their baseline, or leave their domain.

Knows declarations, examples and baselines; no scores and no integrals (`cautions.py`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.engine.baselines import Values
from attributor.jobs.columns import columns_outside, equal_columns, may_be_outside
from attributor.jobs.domain import declared_bounds
from attributor.jobs.explanation import Explanation, Gamma, GammaKind, Method
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, Tensors

#: A stable code and a sentence.
Caution = tuple[str, str]

#: Methods and paths by which a feature that does not move gets nothing.
_BY_MOVEMENT = (Method.INTEGRATED_GRADIENTS, Method.EXPECTED_GRADIENTS, Method.SHAPLEY, Method.DEEP_LIFT)
_STAYING = (GammaKind.STRAIGHT, GammaKind.GUIDED)
#: Share of features at their baseline from which it is said that they get zero. Ours: less is no surprise to anyone.
EQUAL_SHARE = 0.1
#: So many features outside their domain are named; the rest are counted.
NAMED_FEATURES = 5
#: How far float32 may carry a pixel at the end of its range, relative. Ours: eight roundings (2^-24 each), as
#: normalising takes a few.
PIXEL_ROUNDING = 8 * 2.0**-24


def of_inputs(
    explanation: Explanation, info: ModelInfo, examples: Tensors, baselines: Sequence[Tensors]
) -> list[list[Caution]]:
    """Per example. `examples`: per input, shape (examples, *input shape); `baselines`: of all of them, of the input's
    shape."""
    found: list[list[Caution]] = [[] for _ in next(iter(examples.values()))]
    moves = explanation.method in _BY_MOVEMENT and not (explanation.layer or explanation.smoothing)
    for declared in info.inputs:
        if not declared.attributed:
            continue
        values = examples[declared.name]
        stays = explanation.gamma.get(declared.name, Gamma()).kind in _STAYING
        if moves and stays and baselines:
            shares = _equal_shares(declared, values, [each[declared.name] for each in baselines])
            for cautions, share in zip(found, shares, strict=True):
                if share >= EQUAL_SHARE:
                    cautions.append(
                        (
                            "features_equal_to_baseline",
                            f"{share:.0%} of the features of '{declared.name}' equal the baseline; they get zero by "
                            "construction",
                        )
                    )
        for number, outside in _outside_domain(declared, values):
            named = ", ".join(outside[:NAMED_FEATURES])
            more = f" and {len(outside) - NAMED_FEATURES} more" if len(outside) > NAMED_FEATURES else ""
            found[number].append(("outside_domain", f"outside the domain that the model declares: {named}{more}"))
    return found


def _equal_shares(declared: InputSpec, values: Values, baselines: Sequence[Values]) -> list[float]:
    """Per example, the share of its features that agree with all baselines."""
    equal = [_equal(declared, values, baseline) for baseline in baselines]
    agree = equal[0] if len(equal) == 1 else np.all(equal, axis=0)
    agree = agree.reshape(len(values), -1)
    shares: list[float] = (agree.sum(axis=1) / agree.shape[1]).tolist()
    return shares


def _equal(declared: InputSpec, values: Values, baseline: Values) -> NDArray[np.bool_]:
    """Which features agree: of a table its columns, whose one-hot elements are one feature; else every element."""
    if declared.features:
        return equal_columns(declared, values, baseline)
    return np.asarray(values == baseline)


def _outside_domain(declared: InputSpec, values: Values) -> Iterator[tuple[int, list[str]]]:
    """The numbers of the examples with values outside their domain, and which."""
    if declared.kind is InputKind.IMAGE:
        yield from _outside_pixels(declared, values)
        return
    for number in np.flatnonzero(may_be_outside(declared, values)).tolist():
        said = [(column, column.value(values[number])) for column in columns_outside(declared, values[number])]
        if said:
            yield (
                number,
                [
                    f"{column.feature.name} = {value:.4g}"
                    if isinstance(value, float)
                    else f"{column.feature.name} is not 1 for one category and 0 for the others"
                    for column, value in said
                ],
            )


def _outside_pixels(declared: InputSpec, values: Values) -> Iterator[tuple[int, list[str]]]:
    low, high = declared_bounds(declared, values.shape[1:])
    slack = PIXEL_ROUNDING * np.maximum(abs(low), abs(high))
    beyond = ((values < low - slack) | (values > high + slack)).reshape(len(values), -1).sum(axis=1)
    where = "what pixels can be" if declared.normalise else f"[{low.min():g}, {high.max():g}]"
    for number in np.flatnonzero(beyond).tolist():
        yield number, [f"{beyond[number]} values of '{declared.name}' beyond {where}"]
