"""Counts that are told beforehand, held to those of the real engine on a real net."""

import numpy as np
import pytest
import torch
from attributor.api.mapping.counting import Count, counts
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Explanation,
    Gamma,
    GammaKind,
    Method,
    Precision,
    Saturation,
    Smoothing,
    Target,
)
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import Baseline, InputKind, InputSpec, ModelInfo, OutputScale, OutputSpec
from torch import nn
from torch_engine import baseline, explain, zero

X = {"x": np.array([0.3, -1.2, 0.8, 0.5], np.float32)}
OTHER = baseline(x=np.full(4, 0.1, np.float32))
TARGET = Target(scale=OutputScale.LOGIT)
INFO = ModelInfo(
    "net", "1", "d", "", "", "", "", (InputSpec("x", InputKind.TENSOR, (4,)),), OutputSpec("logits", ("no", "yes")),
    {"zero": Baseline("zero", "", {"x": np.zeros(4, np.float32)})}, "zero",
)  # fmt: skip
UNIFORM = BaselineSpec("uniform", {"x": BaselinePart(BaselineKind.GAUSSIAN, sigma=0.5, samples=3)})
GUIDED = {"x": Gamma(GammaKind.GUIDED, steps=4)}
BENT = {"x": Gamma(GammaKind.POLYLINE, points=(np.full(4, 0.4, np.float32), np.full(4, 0.2, np.float32)))}


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)).eval()


def told(quadrature: Quadrature, **asked):
    asked = {"baselines": (zero(INFO),), "targets": (TARGET,)} | asked
    job = JobSpec(
        JobKind.ATTRIBUTION, "net", "1", "d", INFO.inputs, (X,), "", Explanation(**asked), quadrature
    )  # fmt: skip
    return counts(job, INFO, looks=False)  # the net is small


def done(quadrature: Quadrature, **asked):
    first, *_ = explain(net(), INFO, X, quadrature=quadrature, **({"targets": (TARGET,)} | asked))
    return first.evaluations, first.forwards


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"baselines": (zero(INFO), OTHER)},
        {"gamma": BENT},
        {"gamma": BENT, "baselines": (zero(INFO), OTHER)},
        {"targets": (TARGET, Target(rank=1, scale=OutputScale.LOGIT))},
        {"gamma": GUIDED},
        {"smoothing": Smoothing(samples=3)},
        {"interior_alphas": (0.1, 0.7)},
        {"saturation": Saturation((0.33, 0.77))},
    ],
)
@pytest.mark.parametrize("rule", [rule for rule in RuleName if rule is not RuleName.ADAPTIVE])
def test_what_a_fixed_rule_takes_is_told_to_the_point(rule, asked):
    quadrature = Quadrature(rule=rule, n_steps=6)
    found = told(quadrature, **asked)
    assert (found.evaluations.expected, found.forwards.expected) == done(quadrature, **asked)
    assert found.evaluations.at_most == found.evaluations.expected


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        (Method.SALIENCY, {}),
        (Method.GRADIENT_X_INPUT, {"smoothing": Smoothing(samples=3)}),
        (Method.EXPECTED_GRADIENTS, {"samples": 20}),
        (Method.EXPECTED_GRADIENTS, {"samples": 20, "baselines": (UNIFORM,)}),
    ],
)
def test_what_a_method_without_an_error_to_control_takes_is_told_to_the_point(method, asked):
    found = told(Quadrature(), method=method, **asked)
    assert (found.evaluations.expected, found.forwards.expected) == done(Quadrature(), method=method, **asked)


def test_sampled_orders_take_a_pass_per_feature():
    found = told(Quadrature(), method=Method.SHAPLEY, samples=5)
    assert found.evaluations == Count(0, 0)
    # The input is in both passes, of the baseline and of the orders, and in one of its own.
    assert found.forwards.expected == done(Quadrature(), method=Method.SHAPLEY, samples=5)[1] == 6 * 3 + 1 + 3
    assert found.forwards.at_most == 2 * 6 * 3 + 3, "passes of a point each, and the input"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"baselines": (zero(INFO), OTHER)},
        {"gamma": GUIDED},
        {"smoothing": Smoothing(samples=3)},
        {"method": Method.EXPECTED_GRADIENTS, "samples": 20},
    ],
)
@pytest.mark.parametrize("n_steps", [2, 6])
def test_what_is_evaluated_again_in_float32_is_told_to_the_point_where_nothing_was_freed(n_steps, asked):
    quadrature = Quadrature(rule=RuleName.MIDPOINT, n_steps=n_steps)
    asked = asked | {"precision": Precision.BFLOAT16}
    found = told(quadrature, **asked)
    assert (found.evaluations.expected, found.forwards.expected) == done(quadrature, **asked)
    assert found.evaluations.at_most >= found.evaluations.expected


@pytest.mark.parametrize("most", [9, 30])
@pytest.mark.parametrize("asked", [{}, {"gamma": GUIDED}, {"interior_alphas": (0.1, 0.5, 0.7)}])
def test_a_budget_has_the_check_of_low_precision_and_a_walk_in_it_but_not_the_interior(most, asked):
    quadrature = Quadrature(tolerance=1e-6, absolute_tolerance=1e-12, max_evaluations=most)
    asked = asked | {"precision": Precision.BFLOAT16}
    found, (evaluations, forwards) = told(quadrature, **asked), done(quadrature, **asked)
    assert evaluations <= found.evaluations.at_most
    assert forwards <= found.forwards.at_most
    if "gamma" not in asked or most > 9:
        assert found.evaluations.at_most == most + len(asked.get("interior_alphas", ()))


@pytest.mark.parametrize("tolerance", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("asked", [{}, {"baselines": (zero(INFO), OTHER)}, {"gamma": BENT}, {"gamma": GUIDED}])
def test_the_adaptive_rule_takes_about_what_is_expected_and_never_more_than_its_most(tolerance, asked):
    quadrature = Quadrature(tolerance=tolerance, max_evaluations=400)
    found, (evaluations, forwards) = told(quadrature, **asked), done(quadrature, **asked)
    assert evaluations <= found.evaluations.at_most <= 403
    assert forwards <= found.forwards.at_most
    assert 0.5 < found.evaluations.expected / evaluations < 2
    assert 0.5 < found.forwards.expected / forwards < 2


def test_a_small_budget_is_the_most_and_is_expected():
    found = told(Quadrature(tolerance=1e-6, max_evaluations=10)).evaluations
    assert found == Count(10, 10)


def test_the_windows_of_occlusion_and_the_samples_of_others_are_counted():
    occluded = told(Quadrature(), method=Method.OCCLUSION, options={"window": 2, "stride": 1})
    assert occluded.forwards.expected == 3 + 2
    assert told(Quadrature(), method=Method.LIME, options={"samples": 100}).forwards.expected == 100 + 2
    assert told(Quadrature(), method=Method.LRP, baselines=()).evaluations.expected == 1
