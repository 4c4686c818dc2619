"""Shapley values by random orders of the features: what each adds to the score when its turn comes.

The average over all orders is the Shapley-Shubik method (Sundararajan, Taly and Yan 2017, section 4), sampled as by
Castro, Gomez and Tejada 2009. Knows scores, no gradients.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from attributor.engine.route import Route
from attributor.engine.steps import Steps
from attributor.engine.visits import room, visit
from attributor.errors import UnsupportedByModel
from attributor.jobs.fitting import MOST_SHAPLEY_FEATURES
from attributor.jobs.model import Tensors


@dataclass(frozen=True, slots=True)
class Sampled:
    """Shapley values per target, float64 and of the inputs' shapes, with the standard errors of their sampling.

    `score`, `baseline_score`: F(x) and F(x') per target. `forwards`: points evaluated.
    """

    values: list[Tensors]
    standard_error: list[Tensors]
    score: tuple[float, ...]
    baseline_score: tuple[float, ...]
    forwards: int


@dataclass(frozen=True, slots=True)
class _Player:
    """A feature: elements of one input, by place in the flat array, that change together."""

    name: str
    elements: NDArray[np.intp]


def shapley_values(
    route: Route,
    baseline: Tensors,
    example: Tensors,
    samples: int,
    rng: np.random.Generator,
    images: Collection[str] = (),
) -> Steps[Sampled]:
    """The mean over `samples` random orders of all features; one fewer forward passes per order than features.

    A feature is an element; of the inputs named in `images`, of shape (channels, height, width), a pixel, whose value
    is shared out evenly over its channels. Features equal in both ends get zero, which is exact, and cost nothing.
    Every order is followed by its reverse, which takes out most of what depends on coming early or late (Mitchell,
    Cooper, Frank, Holmes 2022), so an odd count is rounded up. The standard error is over pairs; of a single pair it is
    taken over its two orders, as if they were independent, and rather too large.
    Sums are F(x) - F(x') in every order. Raises UnsupportedByModel, field "method", above MOST_SHAPLEY_FEATURES;
    NonFiniteScore.
    """
    players = _players(baseline, example, images)
    if len(players) > MOST_SHAPLEY_FEATURES:
        raise UnsupportedByModel(
            f"{len(players)} features differ from the baseline, and shapley takes {MOST_SHAPLEY_FEATURES} at most; "
            "integrated_gradients has no such limit",
            field="method",
        )
    orders = _orders(len(players), samples, rng)
    ends = yield from visit(route, [baseline])
    at_example, at_baseline = (tuple(scores) for scores in ends.scores.tolist())
    inner: list[tuple[float, ...]] = []
    forwards = 2
    points = (point for order in orders for point in _along(order, players, baseline, example))
    while chunk := list(islice(points, room(route))):
        told = yield from visit(route, chunk)
        inner += [tuple(scores) for scores in told.scores[1:].tolist()]
        forwards += len(told.scores)
    shares = _shares(orders, inner, at_baseline, at_example)
    pairs = (shares[0::2] + shares[1::2]) / 2
    draws = pairs if len(pairs) > 1 else shares
    errors = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    return Sampled(
        values=[_spread(each, players, example) for each in pairs.mean(axis=0).T],
        standard_error=[_spread(each, players, example) for each in errors.T],
        score=at_example,
        baseline_score=at_baseline,
        forwards=forwards,
    )


def _players(baseline: Tensors, example: Tensors, images: Collection[str]) -> list[_Player]:
    """The features that differ."""
    players = []
    for name, end in example.items():
        differs = (baseline[name] != end).reshape(end.shape[0] if name in images else 1, -1)
        numbers = np.arange(end.size).reshape(differs.shape)
        players += [_Player(name, numbers[:, k]) for k in np.flatnonzero(differs.any(axis=0))]
    return players


def _orders(n_players: int, samples: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Random orders, each followed by its reverse."""
    pairs = [rng.permutation(n_players) for _ in range(max(1, (samples + 1) // 2))]
    return [order for each in pairs for order in (each, each[::-1])]


def _along(
    order: NDArray[np.intp], players: Sequence[_Player], baseline: Tensors, example: Tensors
) -> Iterator[Tensors]:
    """The inputs between baseline and example, as one feature after the other takes its value; neither end."""
    here = dict(baseline)
    for number in order[:-1]:
        player = players[number]
        values = here[player.name].copy()
        values.flat[player.elements] = example[player.name].flat[player.elements]
        here = {**here, player.name: values}
        yield here


def _shares(
    orders: Sequence[NDArray[np.intp]],
    inner: Sequence[tuple[float, ...]],
    first: tuple[float, ...],
    last: tuple[float, ...],
) -> NDArray[np.float64]:
    """What each feature added in each order, shape (orders, features, targets)."""
    n_features, n_inner = len(orders[0]), max(len(orders[0]) - 1, 0)
    shares = np.zeros((len(orders), n_features, len(first)))
    if not n_features:
        return shares
    for k, order in enumerate(orders):
        scores = np.array([first, *inner[k * n_inner : (k + 1) * n_inner], last])
        shares[k, order] = np.diff(scores, axis=0)
    return shares


def _spread(per_player: NDArray[np.float64], players: Sequence[_Player], example: Tensors) -> Tensors:
    """Numbers per feature as arrays of the inputs' shapes."""
    arrays = {name: np.zeros(end.shape) for name, end in example.items()}
    for player, value in zip(players, per_player.tolist(), strict=True):
        arrays[player.name].flat[player.elements] = value / len(player.elements)
    return arrays
