"""Answers from passes in bfloat16, by the real engine and runtime."""

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import Layer, Method, Precision, Quantity, Smoothing
from torch import nn
from torch_engine import explained, fixed, off
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
