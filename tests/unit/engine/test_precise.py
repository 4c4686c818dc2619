"""Answers from passes in bfloat16, by the real engine and runtime."""

import numpy as np
import pytest
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, Gamma, GammaKind, Layer, Method, Precision, Quantity, Smoothing
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.result import AttributionResult, PathResult
from attributor.runtimes.torch_runtime import TorchModel
from torch import nn
from torch_engine import OneModel, explained, fixed, off, zero
from torch_nets import classes_of

torch.set_num_threads(1)

INFO = classes_of(20, 3)


def net(activation: type[nn.Module] = nn.GELU) -> nn.Module:
    torch.manual_seed(0)
    hidden = nn.Linear(64, 64)
    return nn.Sequential(nn.Linear(20, 64), activation(), hidden, activation(), nn.Linear(64, 3)).eval()


def example(seed: int) -> dict[str, np.ndarray]:
    return {"x": (3 * np.random.default_rng(seed).standard_normal(20)).astype(np.float32)}


def asked(seed: int, precision: Precision, **kwargs):
    return explained(net(), INFO, example(seed), precision=precision, quadrature=fixed(15), **kwargs)


def test_what_is_stated_covers_the_true_error():
    apart, stated = [], []
    for seed in range(10):
        exact, rounded = (asked(seed, precision) for precision in (Precision.FLOAT32, Precision.BFLOAT16))
        assert (exact.precision, exact.precision_error) == (Precision.FLOAT32, None)
        assert rounded.precision is Precision.BFLOAT16
        apart.append(off(rounded.attributions["x"], exact.attributions["x"]))
        stated.append(rounded.precision_error)
    assert min(apart) > 1e-5, "the passes were not in bfloat16"
    assert all(a <= s for a, s in zip(apart, stated, strict=True))


def test_scores_at_the_ends_are_in_float32_whatever_the_gradients_are_in():
    exact, rounded = (asked(0, precision) for precision in (Precision.FLOAT32, Precision.BFLOAT16))
    assert rounded.score == exact.score
    assert rounded.baseline_score == exact.baseline_score
    assert rounded.attribution_sum == pytest.approx(float(rounded.attributions["x"].sum(dtype=np.float64)))


def test_the_nodes_that_are_checked_are_evaluated_and_counted():
    exact, rounded = (asked(0, precision) for precision in (Precision.FLOAT32, Precision.BFLOAT16))
    assert rounded.evaluations == exact.evaluations + 3


@pytest.mark.parametrize(
    "more",
    [
        {"layer": Layer("2", Quantity.LAYER_IG)},
        {"layer": Layer("2", Quantity.CONDUCTANCE)},
        {"smoothing": Smoothing(samples=2)},
        {"method": Method.EXPECTED_GRADIENTS, "samples": 5},
        {"interior_alphas": (0.5,)},
    ],
    ids=["layer_ig", "conductance", "smoothing", "expected_gradients", "interior"],
)
def test_it_is_stated_for_all_that_goes_along_a_path(more):
    found = explained(net(), INFO, example(1), precision=Precision.BFLOAT16, quadrature=fixed(9), **more)
    assert 0 <= found.precision_error < 1


#: Room for 28 vectors of 20 numbers, the fewest that an integration is begun with: 18 nodes, sums and checks.
TIGHT = 28 * 20 * 4


def in_little_room(seed: int, precision: Precision, quadrature: Quadrature, vector_bytes: int = TIGHT) -> PathResult:
    """The answer where not all vectors can be kept."""
    engine = Engine(OneModel(TorchModel(net(), INFO), INFO, {}), lambda: 0.0, job_vector_bytes=vector_bytes)
    explanation = Explanation(baselines=(zero(INFO),), precision=precision)
    spec = JobSpec(
        JobKind.ATTRIBUTION, INFO.name, INFO.version, INFO.digest, INFO.inputs, (example(seed),), "",
        explanation, quadrature,
    )  # fmt: skip
    engine.admit("job", spec)
    while not (finished := engine.step()):
        pass
    outcome = finished[0].outcome
    assert isinstance(outcome, AttributionResult), outcome
    return outcome.results[0]


CLOSELY = Quadrature(tolerance=1e-4, absolute_tolerance=0.0, max_evaluations=80)


@pytest.mark.parametrize(
    "quadrature", [fixed(60), fixed(61, RuleName.TRAPEZOID), CLOSELY], ids=["gauss", "ends", "adaptive"]
)
def test_where_vectors_were_sealed_an_error_is_stated_all_the_same_and_covers_the_true_one(quadrature):
    for seed in range(8):
        exact = in_little_room(seed, Precision.FLOAT32, fixed(200), 10**9)
        rounded = in_little_room(seed, Precision.BFLOAT16, quadrature)
        apart = off(rounded.attributions["x"], exact.attributions["x"])
        assert 1e-5 < apart <= rounded.precision_error


def test_sealing_changes_nothing_of_a_fixed_rule_in_bfloat16():
    """All of its nodes matter equally, but for their slopes: other nodes may be checked."""
    free, sealed = (in_little_room(0, Precision.BFLOAT16, fixed(60), room) for room in (10**9, TIGHT))
    assert free.evaluations == 60 + 3
    assert sealed.evaluations in (60 + 3, 60 + 6)
    assert off(sealed.attributions["x"], free.attributions["x"]) < free.precision_error


@pytest.mark.parametrize("vector_bytes", [TIGHT, 10**9])
@pytest.mark.parametrize("most", [12, 40])
def test_the_budget_holds_for_the_nodes_that_are_checked_too(most, vector_bytes):
    quadrature = Quadrature(tolerance=1e-9, absolute_tolerance=0.0, max_evaluations=most)
    assert in_little_room(0, Precision.BFLOAT16, quadrature, vector_bytes).evaluations <= most


@pytest.mark.parametrize("rule", [RuleName.GAUSS_LEGENDRE, RuleName.TRAPEZOID, RuleName.RIGHT_RIEMANN])
def test_the_class_and_the_scores_are_those_of_float32_by_every_rule(rule):
    torch.manual_seed(0)
    info = classes_of(20, 200)
    undecided = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 200)).eval()  # the best two are close
    for seed in range(10):
        exact, rounded = (
            explained(undecided, info, example(seed), precision=precision, quadrature=fixed(9, rule))
            for precision in (Precision.FLOAT32, Precision.BFLOAT16)
        )
        assert rounded.target == exact.target
        # Of passes of other sizes.
        assert rounded.score == pytest.approx(exact.score, rel=1e-5)
        assert rounded.baseline_score == pytest.approx(exact.baseline_score, rel=1e-5)


def test_a_gradient_at_the_example_is_one_of_the_class_that_float32_finds():
    exact, rounded = (
        explained(net(), INFO, example(3), precision=precision, method=Method.SALIENCY, baselines=())
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert rounded.score == pytest.approx(exact.score, rel=1e-6)


@pytest.mark.parametrize("quantity", [Quantity.INFLUENCE, Quantity.LAYER_IG])
def test_where_all_nodes_are_checked_the_answer_is_that_of_float32(quantity):
    bends = tuple(np.random.default_rng(n).standard_normal(20).astype(np.float32) for n in range(2))
    found = [
        explained(
            net(), INFO, example(2), precision=precision, quadrature=fixed(1), layer=Layer("1", quantity),
            gamma={"x": Gamma(GammaKind.POLYLINE, bends)},
        )
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    ]  # fmt: skip
    exact, rounded = found
    assert rounded.evaluations == 2 * exact.evaluations == 6
    (name,) = exact.attributions
    assert off(rounded.attributions[name], exact.attributions[name]) < 1e-5
