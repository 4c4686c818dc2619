"""Prints how near each quadrature comes to the true attributions, and at how many gradients: ours, Captum's, SHAP's.

`python -m benchmarks.quadrature [--nets mlp lstm ...] [--half tuning|held_out] [--cases 50] [--only WORD ...]`;
by default all nets, both halves and all rows (`--only ours gausslegendre` leaves out the slow ones). Inputs
whose score hardly differs from its baseline's stand apart. Gradients are evaluated once per point and kept for the
other rows of ours in the same run, so its wall time says nothing.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import shap
import torch
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Curve
from attributor.core.integrator import Integral, Tolerance
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import nn

from .quadrature_nets.cases import NAMES, Case, load
from .quadrature_nets.reference import reference

STRAIGHT = (Curve(1, 0),)
TOLERANCES = (0.05, 0.01)
BUDGETS = (10, 20, 40)
MOST_EVALUATIONS = 500
ABSOLUTE = 1e-5
#: Too tight to be met, so that the budget is what stops.
OUT_OF_REACH = 1e-6
CAPTUM_RULES = ("riemann_right", "riemann_left", "riemann_middle", "riemann_trapezoid", "gausslegendre")
BATCH = 16
#: Below this difference of scores, a relative tolerance asks for more than the score means.
SMALL_GAP = 0.02
#: What float32 scores can add to a completeness error that is within the limit.
ROUNDING = 3e-6
#: True errors below float32's own need no attribution error that covers them.
NEGLIGIBLE = 1e-5
#: What a forward pass costs, in gradients: a gradient is a forward pass and a backward one of about twice its work.
FORWARD_COST = 1 / 3
ROW = "{:<12}{:<27}{:>6}{:>8}{:>7}{:>9}{:>7}{:>10}{:>10}{:>9}{:>9}{:>8}"
HEAD = ROW.format(
    "net",
    "quadrature",
    "inputs",
    "grads",
    "most",
    "forwards",
    "cost",
    "L1 median",
    "L1 p90",
    "covered",
    "est/true",
    "unmet",
)

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """One attribution: its true relative L1 error, what it cost, and what was claimed of it."""

    l1: float
    gradients: int
    forwards: int = 0
    estimate: float | None = None
    converged: bool = True


@dataclass(slots=True)
class Asked:
    """A case with everything that was evaluated on its path, and its true attributions."""

    case: Case
    exact: Vector
    scores: dict[float, float] = field(default_factory=dict)
    vectors: dict[float, Vector] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        self.evaluate([0.0, 1.0], gradient=False)
        return self.scores[1.0] - self.scores[0.0]

    def evaluate(self, alphas: Sequence[float], *, gradient: bool) -> None:
        """Know the scores, and the vectors if `gradient`, at these alphas."""
        known = self.vectors if gradient else self.scores
        missing = [alpha for alpha in alphas if alpha not in known]
        step = self.case.example - self.case.baseline
        for first in range(0, len(missing), BATCH):
            chunk = missing[first : first + BATCH]
            alpha = torch.tensor(chunk, dtype=step.dtype).view(-1, *(1,) * step.dim())
            points = torch.lerp(self.case.baseline, self.case.example, alpha).requires_grad_(gradient)
            scores = self.case.score(points)
            self.scores |= zip(chunk, scores.tolist(), strict=True)
            if gradient:
                (gradients,) = torch.autograd.grad(scores.sum(), points)
                vectors = (gradients * step).flatten(1).double().numpy()
                self.vectors |= zip(chunk, vectors, strict=True)

    def summed(self, alphas: Sequence[float], weights: Sequence[float]) -> Vector:
        self.evaluate(alphas, gradient=True)
        return np.asarray(np.array(weights) @ np.stack([self.vectors[alpha] for alpha in alphas]))

    def error(self, found: Vector) -> float:
        return float(np.abs(found.ravel() - self.exact).sum() / np.abs(self.exact).sum())


def ours(asked: Asked, relative: float, budget: int = MOST_EVALUATIONS) -> Answer:
    """The adaptive integrator, with its attribution error as the service states it."""
    absolute = 0.0 if relative == OUT_OF_REACH else ABSOLUTE
    integrator = AdaptiveIntegrator(STRAIGHT, 1, Tolerance(relative, absolute), budget)
    gradients = forwards = 0
    while not integrator.done:
        asks = integrator.ask()
        for kind in asks.kinds:
            asked.evaluate([ask.nodes[0].alpha for ask in kind], gradient=kind[0].gradient)
        alphas = [ask.nodes[0].alpha for ask in asks]
        slopes = [float(asked.vectors[ask.nodes[0].alpha].sum()) if ask.gradient else np.nan for ask in asks]
        integrator.tell(asks, np.array([[asked.scores[alpha]] for alpha in alphas]), np.array(slopes)[:, None])
        wanted = sum(ask.gradient for ask in asks)
        gradients += wanted
        forwards += len(asks) - wanted
    return _judged(asked, integrator.result(), gradients, forwards)


def _judged(asked: Asked, integral: Integral, gradients: int, forwards: int) -> Answer:
    alphas = {told.node.index: told.node.alpha for told in integral.nodes}

    def summed(weights: dict[int, float]) -> Vector:
        return asked.summed([alphas[index] for index in weights], list(weights.values()))

    found = summed(dict(integral.weights[0]))
    missing = abs(found.sum() - integral.gaps[0])
    if integral.converged[0] and missing > integral.limits[0] + ROUNDING:
        raise AssertionError(f"converged, but {missing:g} off where {integral.limits[0]:g} is allowed")
    coarse = integral.coarse_weights[0]
    estimate = None
    if coarse is not None:
        estimate = max(np.abs(found - summed(dict(coarse))).sum(), missing) / np.abs(found).sum()
    return Answer(asked.error(found), gradients, forwards, estimate, integral.converged[0])


def captum(asked: Asked, rule: str, n: int) -> Answer:
    """Captum's integrated gradients; it evaluates n gradients whatever the rule."""
    case = asked.case
    found = IntegratedGradients(case.score).attribute(
        case.example[None], case.baseline[None], n_steps=n, method=rule, internal_batch_size=BATCH
    )
    return Answer(asked.error(found[0].detach().double().numpy()), n)


def saliency(asked: Asked) -> Answer:
    """Gradient times (input - baseline) at the input: a path of one node at its end."""
    return Answer(asked.error(asked.summed([1.0], [1.0])), 1)


class _Score(nn.Module):
    """A case's score as the module with a column of outputs that SHAP wants."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._score = case.score

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self._score(points)[:, None]


def expected_gradients(asked: Asked, n: int, seed: int) -> Answer:
    """SHAP's expected gradients (Erion et al. 2021) with the one baseline as background: alphas drawn at random."""
    explainer = shap.GradientExplainer(_Score(asked.case), asked.case.baseline[None], batch_size=BATCH)
    found = explainer.shap_values(asked.case.example[None], nsamples=n, rseed=seed)
    return Answer(asked.error(np.asarray(found, float)), n)


def quadratures() -> Iterator[tuple[str, Callable[[int, Asked], Answer]]]:
    """Names, and what answers the case of a number."""
    for tolerance in TOLERANCES:
        yield f"ours, {tolerance:.0%}", lambda _, asked, t=tolerance: ours(asked, t)
    yield "gradient x (x - x')", lambda _, asked: saliency(asked)
    for n in BUDGETS:
        yield f"ours, at most {n}", lambda _, asked, n=n: ours(asked, OUT_OF_REACH, n)
        for rule in CAPTUM_RULES:
            yield f"Captum {rule} {n}", lambda _, asked, n=n, rule=rule: captum(asked, rule, n)
        yield f"SHAP expected gradients {n}", lambda i, asked, n=n: expected_gradients(asked, n, i)


def line(net: str, name: str, answers: Sequence[Answer]) -> str:
    """A row of the table: medians over the inputs."""
    l1 = np.array([answer.l1 for answer in answers])
    estimates = [(a.estimate, a.l1) for a in answers if a.estimate is not None]
    covered = ratio = ""
    if estimates:
        covered = f"{np.mean([e >= true or true < NEGLIGIBLE for e, true in estimates]):.0%}"
        ratio = f"{np.median([e / true for e, true in estimates]):.1f}"
    gradients = [answer.gradients for answer in answers]
    forwards = [answer.forwards for answer in answers]
    cost = np.median(np.array(gradients) + FORWARD_COST * np.array(forwards))
    unmet = "" if "%" not in name else str(sum(not answer.converged for answer in answers))
    return ROW.format(
        net, name, len(answers), f"{np.median(gradients):g}", max(gradients), f"{np.median(forwards):g}", f"{cost:.1f}",
        f"{np.median(l1):.4%}", f"{np.quantile(l1, 0.9):.3%}", covered, ratio, unmet,
    )  # fmt: skip


def report(net_name: str, half: str, most_cases: int, only: Sequence[str]) -> None:
    """The rows of one net and half."""
    net = load(net_name)
    first = 0 if half == "tuning" else len(net.tuning)
    exact = reference(net)
    cases = getattr(net, half)[:most_cases]
    everyone = [Asked(case, exact[first + i].ravel()) for i, case in enumerate(cases)]
    groups = {
        net_name: [(i, asked) for i, asked in enumerate(everyone) if abs(asked.gap) >= SMALL_GAP],
        "  small gap": [(i, asked) for i, asked in enumerate(everyone) if abs(asked.gap) < SMALL_GAP],
    }
    for label, members in groups.items():
        if members:
            for name, answer in quadratures():
                if not any(word in name for word in only):
                    continue
                print(line(label, name, [answer(i, asked) for i, asked in members]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--half", choices=("tuning", "held_out"))
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name has one of these words")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for half in [chosen.half] if chosen.half else ("tuning", "held_out"):
        print(f"\n{half}\n{HEAD}")
        for net_name in chosen.nets:
            report(net_name, half, chosen.cases, chosen.only)
