"""What all vectors of a job take at a time, in the real engine on real nets of torch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import (
    Explanation,
    Gamma,
    GammaKind,
    Layer,
    Method,
    Precision,
    Quantity,
    Smoothing,
    Target,
    Term,
)
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import InputKind, InputSpec, ModelInfo
from attributor.jobs.result import AttributionResult
from attributor.runtimes.routes import OpenRoute
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.transforms.choosing import AFFINE_PREFIX, transformed
from attributor.runtimes.transforms.proving import Sample
from attributor.runtimes.vectors import Vectors
from torch import nn
from torch_engine import OneModel, zero
from torch_nets import classes_of, described

torch.set_num_threads(1)

#: Where the adaptive rule wants as many nodes as it may have.
TIGHT = Quadrature(tolerance=1e-6, absolute_tolerance=0.0, max_evaluations=60)


@pytest.fixture
def kept(monkeypatch):
    """Bytes of all vectors at a time, after each that was kept."""
    alive: list[Vectors] = []
    seen: list[int] = [0]
    keep, init = Vectors.keep, Vectors.__init__

    def begin(self, route):
        init(self, route)
        alive.append(self)

    def keep_and_look(self, key, nodes, vectors):
        keep(self, key, nodes, vectors)
        seen.append(sum(each.nbytes for each in alive))

    def release(self):
        alive.remove(self.vectors)
        return released(self)

    released = OpenRoute.release
    monkeypatch.setattr(Vectors, "__init__", begin)
    monkeypatch.setattr(Vectors, "keep", keep_and_look)
    monkeypatch.setattr(OpenRoute, "release", release)
    return seen


def net(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    made = nn.Sequential(*layers[:-1]).eval().requires_grad_(False)
    for weights in made.parameters():
        weights.mul_(3)
    return made


def answered(model, info: ModelInfo, bound: int, n_inputs: int, quadrature: Quadrature = TIGHT, **explanation):
    shape = info.inputs[0].shape
    inputs = tuple({"x": np.random.default_rng(n).standard_normal(shape).astype(np.float32)} for n in range(n_inputs))
    explanation = {"targets": (Target((Term(0),)),), "baselines": (zero(info),), **explanation}
    spec = JobSpec(
        JobKind.ATTRIBUTION, info.name, info.version, info.digest, info.inputs, inputs, "",
        Explanation(**explanation), quadrature,
    )  # fmt: skip
    engine = Engine(OneModel(model, info, {}), lambda: 0.0, job_vector_bytes=bound)
    engine.admit("job", spec)
    for _ in range(10_000):
        if finished := engine.step():
            return finished[0].outcome
    raise AssertionError("the job does not end")


FEATURES, UNITS = 400, 5_000
ROW = FEATURES * 4

CASES = {
    "inputs": (30, {}),
    "targets": (20, {"targets": tuple(Target((Term(n),)) for n in range(3))}),
    "noisy copies": (1, {"smoothing": Smoothing(samples=20)}),
    "noisy copies of several inputs": (8, {"smoothing": Smoothing(samples=10)}),
    "baselines": (20, {"baselines": 2}),
    "interior gradients": (20, {"interior_alphas": tuple(np.linspace(0.1, 0.9, 9).tolist())}),
    "guided path": (10, {"gamma": {"x": Gamma(GammaKind.GUIDED, steps=10)}}),
    "bfloat16": (20, {"precision": Precision.BFLOAT16}),
    "draws": (20, {"method": Method.EXPECTED_GRADIENTS, "samples": 15}),
    "fixed rule": (20, {"quadrature": Quadrature(rule=RuleName.GAUSS_LEGENDRE, n_steps=200)}),
}


@pytest.mark.parametrize("name", CASES)
def test_all_vectors_of_a_job_together_take_no_more_than_its_bound(kept, name):
    n_inputs, asked = CASES[name]
    info = classes_of(FEATURES, 3)
    asked = dict(asked)
    if asked.get("baselines") == 2:
        asked["baselines"] = (zero(info), zero(info))
    bound = 100 * ROW
    outcome = answered(TorchModel(net(FEATURES, 16, 3), info), info, bound, n_inputs, **asked)
    assert isinstance(outcome, AttributionResult), outcome
    assert bound / 3 < max(kept) <= bound


@pytest.mark.parametrize("quantity", [Quantity.CONDUCTANCE, Quantity.LAYER_IG])
def test_a_layer_larger_than_the_inputs_counts_as_it_is(kept, quantity):
    info = classes_of(10, 3)
    bound = 100 * UNITS * 4
    layer = Layer("0", quantity)
    outcome = answered(TorchModel(net(10, UNITS, 3), info), info, bound, 30, layer=layer)
    assert isinstance(outcome, AttributionResult), outcome
    assert bound / 3 < max(kept) <= bound


def test_what_an_affine_prefix_makes_of_an_input_counts_as_it_is(kept):
    torch.manual_seed(0)
    info = described(InputSpec("x", InputKind.TENSOR, (3, 24, 24)), n_out=3)
    module = nn.Sequential(
        nn.Conv2d(3, 32, 7, padding=3), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(32 * 9, 3)
    )
    module = module.eval().requires_grad_(False)
    cheap = transformed(module, Sample((torch.randn(1, 3, 24, 24),), (0,)))
    assert AFFINE_PREFIX in cheap.applied
    bound = 80 * 32 * 24 * 24 * 4
    outcome = answered(TorchModel(module, info, sizes=8, transformed=cheap), info, bound, 12)
    assert isinstance(outcome, AttributionResult), outcome
    assert bound / 3 < max(kept) <= bound


@pytest.mark.parametrize(
    "asked",
    [{}, {"smoothing": Smoothing(samples=3)}, {"method": Method.EXPECTED_GRADIENTS, "samples": 20}],
    ids=["integrated", "smoothed", "expected"],
)
@pytest.mark.parametrize("n_inputs", [1, 3])
def test_what_does_not_fit_with_one_input_and_copy_at_a_time_ends_out_of_memory(asked, n_inputs):
    info = classes_of(FEATURES, 3)
    outcome = answered(TorchModel(net(FEATURES, 16, 3), info), info, 15 * ROW, n_inputs, **asked)
    assert isinstance(outcome, Failure)
    assert outcome.code == "out_of_memory"
    assert "worker.job_vector_bytes" in outcome.detail


def test_noisy_copies_a_few_at_a_time_give_the_answer_of_all_at_once():
    info = classes_of(FEATURES, 3)
    asked = {"smoothing": Smoothing(samples=6), "quadrature": Quadrature(rule=RuleName.MIDPOINT, n_steps=10)}
    few, all_at_once = (
        answered(TorchModel(net(FEATURES, 16, 3), info), info, bound, 2, **asked) for bound in (40 * ROW, 10**9)
    )
    for one, other in zip(few.results, all_at_once.results, strict=True):
        np.testing.assert_allclose(one.attributions["x"], other.attributions["x"], rtol=1e-4, atol=1e-6)


def test_orders_from_many_baselines_hold_one_visit_after_the_other():
    info = classes_of(6, 3)
    model = TorchModel(net(6, 8, 3), info, sizes=16)
    most = 0
    evaluate = model.evaluate

    def watched(points):
        nonlocal most
        most = max(most, sum(len(route._slots) for route in model._routes.values()))
        return evaluate(points)

    model.evaluate = watched
    baselines = tuple(zero(info) for _ in range(8))
    asked = {"method": Method.SHAPLEY, "samples": 20, "baselines": baselines}
    alone = answered(model, info, 2 * 16 * 6 * 4, 1, **asked)
    assert isinstance(alone, AttributionResult)
    assert 16 < most <= 2 * 16
    assert isinstance(answered(model, info, 10**9, 1, **asked), AttributionResult)
    assert most > 4 * 16
