"""On both bundles, 50 inputs each: completeness within tolerance on all, and the vector right, not only its sum.

The reference is independent of the engine and of the runtime: the bundle's module in float64, composite Gauss-Legendre
with 64 panels of 16 nodes.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, fixed_baseline
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.result import AttributionResult
from attributor.registry.catalog import FolderCatalog
from attributor.registry.loader import load_module
from attributor.registry.registry import Registry
from sklearn.datasets import load_breast_cancer, load_digits

MODELS = Path(__file__).parents[2] / "models"
N_INPUTS = 50
PANELS, NODES_PER_PANEL = 64, 16
#: float32 scores and gradients on the way: what completeness can miss beyond the tolerance, in units of the score.
ROUNDING = 1e-6


def _inputs(name):
    rows = load_breast_cancer().data if name == "breast-cancer" else load_digits().images[:, None] / 16
    picked = np.random.default_rng(2017).choice(len(rows), N_INPUTS, replace=False)
    return rows[picked].astype(np.float32)


def _reference(module, x, baseline, class_index):
    """Attributions in float64, shape of x."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES_PER_PANEL)
    starts = np.arange(PANELS) / PANELS
    alpha = torch.tensor((starts[:, None] + (nodes + 1) / 2 / PANELS).ravel())
    weight = torch.tensor(np.tile(weights / 2 / PANELS, PANELS))
    x, baseline = torch.tensor(x, dtype=torch.float64), torch.tensor(baseline, dtype=torch.float64)
    column = alpha.reshape(-1, *[1] * x.dim())
    points = (baseline + column * (x - baseline)).requires_grad_(True)
    score = module(points).softmax(1)[:, class_index].sum()
    (gradient,) = torch.autograd.grad(score, points)
    return ((gradient * weight.reshape(column.shape)).sum(0) * (x - baseline)).numpy()


class Bench:
    """One bundle, ready to compute and to check."""

    def __init__(self, name):
        torch.set_num_threads(1)
        catalog = FolderCatalog(MODELS)
        self.info = catalog.get(name)
        self.registry = Registry()
        self.registry.load_all(catalog)
        self.exact_module = copy.deepcopy(load_module(catalog.bundle(name))).double()
        self.input = self.info.inputs[0].name
        self.inputs = _inputs(name)
        self.baseline = self.info.baselines[self.info.default_baseline].tensors

    def explain(self, quadrature):
        spec = JobSpec(
            kind=JobKind.ATTRIBUTION,
            model=self.info.name,
            version=self.info.version,
            digest=self.info.digest,
            declared=self.info.inputs,
            inputs=tuple({self.input: row} for row in self.inputs),
            fingerprint="",
            explanation=Explanation(baselines=(fixed_baseline("default", self.baseline),)),
            quadrature=quadrature,
        )
        engine = Engine(self.registry, lambda: 0.0)
        engine.admit("job", spec)
        while not (finished := engine.step()):
            pass
        outcome = finished[0].outcome
        assert isinstance(outcome, AttributionResult)
        return outcome.results

    def l1_errors(self, results):
        errors = []
        for row, result in zip(self.inputs, results, strict=True):
            exact = _reference(self.exact_module, row, self.baseline[self.input], result.target.terms[0].index)
            errors.append(np.abs(result.attributions[self.input] - exact).sum() / np.abs(exact).sum())
        return np.array(errors)


@pytest.fixture(scope="module", params=["breast-cancer", "digits"])
def bench(request):
    return Bench(request.param)


@pytest.mark.parametrize("tolerance", [0.05, 0.01, 0.001])
def test_completeness_holds_within_tolerance_on_every_input(bench, tolerance):
    for result in bench.explain(Quadrature(tolerance=tolerance)):
        gap = abs(result.score - result.baseline_score)
        assert result.converged
        assert result.completeness_error <= max(tolerance * gap, result.absolute_tolerance) + ROUNDING
        assert result.attribution_sum == pytest.approx(result.score - result.baseline_score, abs=tolerance * gap + 1e-5)


def test_at_one_percent_the_vector_is_right_within_two_percent_in_the_median(bench):
    results = bench.explain(Quadrature(tolerance=0.01))
    errors = bench.l1_errors(results)
    evaluations = [result.evaluations for result in results]
    print(
        f"{bench.info.ref}: L1 error median {np.median(errors):.2%}, largest {errors.max():.2%}; "
        f"evaluations median {np.median(evaluations):g}, largest {max(evaluations)}"
    )
    assert np.median(errors) <= 0.02


@pytest.mark.parametrize(
    ("rule", "median"),
    [
        (RuleName.GAUSS_LEGENDRE, 0.01),
        (RuleName.MIDPOINT, 0.01),
        (RuleName.TRAPEZOID, 0.01),
        (RuleName.RIGHT_RIEMANN, 0.10),
    ],
)
def test_fixed_rules_with_many_nodes_reach_the_same_vector(bench, rule, median):
    results = bench.explain(Quadrature(rule=rule, n_steps=100))
    assert np.median(bench.l1_errors(results)) <= median
    assert {result.evaluations for result in results} == {100}
