"""Answers of the transformed module, and of paths behind its affine prefix, against those of the module as it is."""

import numpy as np
import pytest
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, Layer, Method, Precision, Quantity, Saturation, Target, Term
from attributor.jobs.job import JobKind, JobSpec, Quadrature
from attributor.jobs.result import AttributionResult
from attributor.model_port import CurveSpec, RouteSpec
from attributor.runtimes.space import PrefixSpace
from attributor.runtimes.spaces import Spaces
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.transforms.choosing import transformed
from attributor.runtimes.transforms.prefix import Bounds
from attributor.runtimes.transforms.proving import Sample
from torch import nn
from torch_engine import OneModel, baseline, off, zero
from torch_nets import PICTURE, described, uniform

torch.set_num_threads(1)

INFO = described(PICTURE, n_out=3)


def net() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(96, 3),
    )  # fmt: skip
    for _ in range(3):
        module(torch.randn(16, 2, 6, 6))
    return module.eval().requires_grad_(False)


ONE_PERCENT = Quadrature(tolerance=0.01)
MODULE = net()
CHEAP = transformed(MODULE, Sample((torch.from_numpy(uniform(0, 1, 2, 6, 6)),), (0,)), Bounds(least_work=0))


def results(cheap, *examples, quadrature=ONE_PERCENT, **asked):
    asked.setdefault("baselines", (zero(INFO),))
    model = TorchModel(MODULE, INFO, transformed=cheap)
    engine = Engine(OneModel(model, INFO, {}), lambda: 0.0)
    engine.admit("job", JobSpec(
        JobKind.ATTRIBUTION, INFO.name, INFO.version, INFO.digest, INFO.inputs, examples, "", Explanation(**asked),
        quadrature,
    ))  # fmt: skip
    for _ in range(1000):
        if finished := engine.step():
            assert isinstance(finished[0].outcome, AttributionResult), finished[0].outcome
            return finished[0].outcome.results
    raise AssertionError("the job does not end")


def test_the_net_has_a_prefix_and_its_norms_are_folded():
    assert CHEAP.applied == ("folded_norms", "affine_prefix")
    assert CHEAP.prefix.shape == (4, 6, 6)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"targets": (Target(), Target(rank=1), Target((Term(2),)))},
        {"quadrature": Quadrature(tolerance=0.05, attribution_tolerance=0.05)},
        {"baselines": (baseline(picture=uniform(3, 2, 6, 6)),)},
        {"baselines": (zero(INFO), baseline(picture=uniform(3, 2, 6, 6)))},
        {"interior_alphas": (0.0, 0.3, 1.0)},
        {"saturation": Saturation((0.5,), ("3",))},
        {"layer": Layer("1", Quantity.CONDUCTANCE)},
        {"method": Method.SALIENCY},
        {"method": Method.EXPECTED_GRADIENTS, "samples": 4},
    ],
    ids=str,
)
def test_answers_are_those_of_the_module_as_it_is(asked):
    pictures = [{"picture": uniform(seed, 2, 6, 6)} for seed in (5, 6)]  # no node within rounding of a kink
    for plain, cheap in zip(results(None, *pictures, **asked), results(CHEAP, *pictures, **asked), strict=True):
        assert cheap.score == pytest.approx(plain.score, rel=1e-5)
        assert cheap.evaluations == plain.evaluations
        for name, values in plain.attributions.items():
            assert off(cheap.attributions[name], values) < 1e-4
        if plain.attribution_error is not None:
            assert cheap.attribution_error == pytest.approx(plain.attribution_error, rel=1e-2)
        if plain.interior:
            assert off(cheap.interior.vectors["picture"], plain.interior.vectors["picture"]) < 1e-4


def test_an_example_at_its_baseline_gets_zero():
    picture = uniform(3, 2, 6, 6)
    (result,) = results(CHEAP, {"picture": picture}, baselines=(baseline(picture=picture),))
    assert not result.attributions["picture"].any()


def test_the_prefix_serves_one_straight_path_and_layers_the_module_as_it_is():
    spaces = Spaces(MODULE, INFO, torch.device("cpu"), CHEAP)
    example = {"picture": uniform(0, 2, 6, 6)}
    straight = RouteSpec(example, (Target(),), straight=True)
    assert isinstance(spaces.space(straight), PrefixSpace)
    assert spaces.space(RouteSpec(example, (Target(),))).network.module is CHEAP.module
    assert spaces.space(RouteSpec(example, (Target(),), Layer("1", Quantity.CONDUCTANCE))).network.module is MODULE
    assert spaces.space(RouteSpec(example, (Target(),), observed=())).network.module is MODULE
    narrow = RouteSpec(example, (Target(),), precision=Precision.BFLOAT16)
    assert spaces.space(narrow).network.module is CHEAP.narrow


def test_a_straight_route_of_two_curves_is_a_bug():
    model = TorchModel(MODULE, INFO, transformed=CHEAP)
    example = {"picture": uniform(0, 2, 6, 6)}
    model.open("route", RouteSpec(example, (Target(),), straight=True))
    start = {"picture": np.zeros((2, 6, 6), np.float32)}
    model.add_curve("route", CurveSpec(start, example))
    with pytest.raises(RuntimeError, match="bug"):
        model.add_curve("route", CurveSpec(start, example))
