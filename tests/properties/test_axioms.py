"""The axioms of Sundararajan, Taly and Yan 2017, sections 2 to 4, on random nets, by the real runtime and engine."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import Target, Term
from attributor.jobs.job import Quadrature
from attributor.jobs.model import OutputScale
from attributor.jobs.result import PathResult
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_engine import CLOSE, baseline, explained, fixed, output
from torch_nets import ACTIVATIONS, PICTURE, classes_of, cnn, described, mlp, normal, settled, uniform, values_of, wide

#: The same examples at every run.
quick = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
activations = st.sampled_from(sorted(ACTIVATIONS))
VALUE = output(0)
#: Rounding of float32 over a net, relative to the attributions.
ROUNDING = 1e-5
#: Two integrations whose nodes differ, both by CLOSE: each is estimated to be within 1e-3.
TWO_MESHES = 2e-3


@dataclass(frozen=True)
class Question:
    """A net of n numbers and one value, and the two ends of a path."""

    net: nn.Module
    x: np.ndarray
    x0: np.ndarray

    def ask(self, quadrature: Quadrature = CLOSE) -> np.ndarray:
        return ask(self.net, self.x, self.x0, quadrature)


def ask(net: nn.Module, x: np.ndarray, x0: np.ndarray, quadrature: Quadrature = CLOSE) -> np.ndarray:
    """Integrated gradients of a net's one value."""
    return answer(net, x, x0, quadrature).attributions["x"]


def answer(net: nn.Module, x: np.ndarray, x0: np.ndarray, quadrature: Quadrature = CLOSE) -> PathResult:
    return explained(
        net, values_of(len(x)), {"x": x}, baselines=(baseline(x=x0),), targets=(VALUE,), quadrature=quadrature
    )


@st.composite
def questions(draw, n_features: int = 5) -> Question:
    seed = draw(seeds)
    widths = draw(st.lists(st.integers(4, 24), min_size=1, max_size=3))
    net = mlp(seed, (n_features, *widths, 1), draw(activations))
    return Question(net, normal(seed + 1, n_features), normal(seed + 2, n_features))


def agree(found: np.ndarray, expected: np.ndarray, share: float, size: float | None = None) -> bool:
    """Whether two vectors differ by no more than a share of the second's L1 norm (or of `size`), or by rounding."""
    allowed = share * float(np.abs(expected).sum() if size is None else size)
    return float(np.abs(found - expected).sum()) <= allowed + ROUNDING


def value64(net: nn.Module, x: np.ndarray) -> float:
    return wide(net)(torch.tensor(x[None], dtype=torch.float64)).item()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, activations, st.sampled_from([0.05, 0.01, 1e-3]), st.sampled_from(list(OutputScale)[:3]))
def test_completeness_the_attributions_add_up_to_the_difference_of_the_scores(seed, activation, tolerance, scale):
    net = mlp(seed, (6, 20, 12, 3), activation)
    x, x0 = normal(seed + 1, 6), normal(seed + 2, 6)
    target = Target((Term(seed % 3),), scale=scale)
    result = explained(
        net, classes_of(6, 3), {"x": x}, baselines=(baseline(x=x0),), targets=(target,),
        quadrature=Quadrature(tolerance=tolerance, max_evaluations=3000),
    )  # fmt: skip
    read = {
        OutputScale.LOGIT: lambda z: z,
        OutputScale.PROBABILITY: lambda z: z.softmax(1),
        OutputScale.LOG_PROBABILITY: lambda z: z.log_softmax(1),
    }[scale]
    at, at0 = read(wide(net)(torch.tensor(np.stack([x, x0]), dtype=torch.float64)))[:, seed % 3].tolist()
    rounding = ROUNDING * max(1.0, abs(at), abs(at0))
    assert result.converged
    assert result.score == pytest.approx(at, abs=rounding)
    assert result.baseline_score == pytest.approx(at0, abs=rounding)
    allowed = max(tolerance * abs(at - at0), result.absolute_tolerance)
    assert abs(float(result.attributions["x"].sum(dtype=np.float64)) - (at - at0)) <= allowed + rounding


@quick
@given(seeds, activations)
def test_completeness_holds_for_pictures(seed, activation):
    net, picture, other = cnn(seed, activation), uniform(seed + 1, 2, 6, 6), uniform(seed + 2, 2, 6, 6)
    result = explained(
        net, described(PICTURE, n_out=3), {"picture": picture}, baselines=(baseline(picture=other),),
        targets=(output(seed % 3, scale=OutputScale.LOGIT),), quadrature=Quadrature(max_evaluations=3000),
    )  # fmt: skip
    at, at0 = wide(net)(torch.tensor(np.stack([picture, other])).double())[:, seed % 3].tolist()
    assert result.converged
    assert abs(float(result.attributions["picture"].sum(dtype=np.float64)) - (at - at0)) <= (
        max(0.01 * abs(at - at0), result.absolute_tolerance) + ROUNDING
    )


@quick
@given(questions(), st.integers(0, 4))
def test_sensitivity_a_the_one_feature_that_differs_gets_all_of_the_difference(question, place):
    x = question.x0.copy()
    x[place] = question.x[place]
    gap = value64(question.net, x) - value64(question.net, question.x0)
    assume(abs(gap) > 0.01)
    result = answer(question.net, x, question.x0)
    shares = result.attributions["x"]
    # Where the score goes up and down on the way, the tolerance may be wider than a part of the difference.
    assert shares[place] == pytest.approx(gap, rel=1e-3, abs=min(result.absolute_tolerance, 0.01 * abs(gap)))
    assert shares[place] != 0
    assert not np.delete(shares, place).any()


class Blind(nn.Module):
    """A net that is given some of the features only."""

    def __init__(self, net: nn.Module, places: list[int]) -> None:
        super().__init__()
        self.net, self.places = net, places

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, self.places])


@quick
@given(questions(n_features=3), st.permutations(range(6)))
def test_sensitivity_b_what_the_function_does_not_depend_on_gets_nothing(question, order):
    seen, unseen = order[:3], order[3:]
    x, x0 = normal(1, 6), normal(2, 6)
    x[seen], x0[seen] = question.x, question.x0
    shares = ask(settled(Blind(question.net, seen)), x, x0)
    assert not shares[unseen].any()
    assert agree(shares[seen], question.ask(), TWO_MESHES)


@quick
@given(questions(), seeds)
def test_sensitivity_b_holds_where_weights_make_a_feature_idle(question, seed):
    # Not left out, but multiplied by zero: in every pass, and exactly.
    idle = seed % 5
    question.net[0].weight.data[:, idle] = 0
    assert question.ask()[idle] == 0


def rewired(net: nn.Sequential, seed: int) -> nn.Sequential:
    """Another net of linear and ReLU that is the same function: hidden units in another order and on other scales, one
    of them in two halves, and a pair of layers that does nothing."""
    generator = torch.Generator().manual_seed(seed)
    first, act, *rest = net
    second = rest[0]
    n = first.out_features
    order = torch.randperm(n, generator=generator)
    scale = torch.rand(n, generator=generator) * 3 + 0.1
    # Unit 0 twice, each read by half.
    order, scale = torch.cat([order, order[:1]]), torch.cat([scale, scale[:1]])
    share = torch.ones(n + 1)
    share[0] = share[n] = 0.5
    one, two = nn.Linear(first.in_features, n + 1), nn.Linear(n + 1, second.out_features)
    one.weight.data = first.weight[order] * scale[:, None]
    one.bias.data = first.bias[order] * scale
    two.weight.data, two.bias.data = second.weight[:, order] * share / scale, second.bias.clone()
    # z = ReLU(z) - ReLU(-z).
    eye = torch.eye(second.out_features)
    both, back = nn.Linear(len(eye), 2 * len(eye), bias=False), nn.Linear(2 * len(eye), len(eye), bias=False)
    both.weight.data, back.weight.data = torch.cat([eye, -eye]), torch.cat([eye, -eye], 1)
    return settled(nn.Sequential(one, act, two, both, nn.ReLU(), back, *rest[1:]))


@quick
@given(seeds, st.integers(2, 16), st.integers(2, 16))
def test_implementation_invariance_equal_functions_get_equal_attributions(seed, n, m):
    net = mlp(seed, (5, n, m, 1), "relu")
    other = rewired(net, seed + 3)
    points = torch.randn(50, 5, generator=torch.Generator().manual_seed(seed)).double()
    assert torch.allclose(wide(net)(points), wide(other)(points))
    x, x0 = normal(seed + 1, 5), normal(seed + 2, 5)
    assert agree(ask(other, x, x0), ask(net, x, x0), TWO_MESHES)
    # At equal nodes nothing but rounding is left.
    assert agree(ask(other, x, x0, fixed(32)), ask(net, x, x0, fixed(32)), 2 * ROUNDING)


class Mixed(nn.Module):
    """a f1 + b f2."""

    def __init__(self, one: nn.Module, two: nn.Module, a: float, b: float) -> None:
        super().__init__()
        self.one, self.two, self.a, self.b = one, two, a, b

    def forward(self, x: Tensor) -> Tensor:
        return self.a * self.one(x) + self.b * self.two(x)


@quick
@given(questions(), seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_linearity_a_mixture_of_functions_gets_the_mixture_of_attributions(question, seed, a, b):
    other = mlp(seed + 5, (5, 7, 9, 1), "tanh")
    ends = (question.x, question.x0)
    one, two = question.ask(), ask(other, *ends)
    mixture = settled(Mixed(question.net, other, a, b))
    size = abs(a) * np.abs(one).sum() + abs(b) * np.abs(two).sum()
    assert agree(ask(mixture, *ends), a * one + b * two, TWO_MESHES, size)
    one, two, mixed = (ask(net, *ends, fixed(12)) for net in (question.net, other, mixture))
    assert agree(mixed, a * one + b * two, 2 * ROUNDING, size)


@quick
@given(seeds, activations, st.floats(-3, 3), st.floats(-3, 3))
def test_linearity_holds_for_weighted_sums_of_one_nets_outputs(seed, activation, a, b):
    net, info = mlp(seed, (5, 12, 2), activation), values_of(5, 2)
    target = Target((Term(0, a), Term(1, b)), scale=OutputScale.VALUE)
    asked = {"baselines": (baseline(x=normal(seed + 2, 5)),), "quadrature": fixed(12)}
    one, two, mixed = (
        explained(net, info, {"x": normal(seed + 1, 5)}, targets=(each,), **asked).attributions["x"]
        for each in (output(0), output(1), target)
    )
    size = abs(a) * np.abs(one).sum() + abs(b) * np.abs(two).sum()
    assert agree(mixed, a * one + b * two, 2 * ROUNDING, size)


class Exchangeable(nn.Module):
    """A function that two of its arguments may be exchanged in."""

    def __init__(self, net: nn.Module, i: int, j: int) -> None:
        super().__init__()
        self.net, self.order = net, list(range(5))
        self.order[i], self.order[j] = j, i

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.net(x[:, self.order]) + self.net(x) + self.net(x[:, self.order])


@quick
@given(questions(), st.permutations(range(5)))
def test_symmetry_exchangeable_features_of_equal_values_get_equal_shares(question, order):
    i, j = order[:2]
    x, x0 = question.x.copy(), question.x0.copy()
    x[j], x0[j] = x[i], x0[i]
    shares = ask(settled(Exchangeable(question.net, i, j)), x, x0)
    assert abs(shares[i] - shares[j]) <= 1e-4 * np.abs(shares).sum()
