"""The table of known answers, tested itself: a wrong entry would make every test that leans on it worthless."""

from itertools import pairwise

import numpy as np
import pytest
from problems import PROBLEMS, TAGS, Problem, tagged

#: No finite difference is taken nearer to a break than this, in alpha.
CLEARANCE = 1e-3
STEP = 1e-6

every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


def smooth_alphas(problem: Problem) -> np.ndarray:
    alpha = np.linspace(0.0071, 0.9937, 37)
    return alpha[[all(abs(a - b) > CLEARANCE for b in problem.breaks) for a in alpha]]


def fine_reference(problem: Problem) -> np.ndarray:
    """Gauss-Legendre with 80 nodes between breaks, after a substitution that removes square roots at their ends."""
    node, weight = np.polynomial.legendre.leggauss(80)
    t, w = (node + 1) / 2, weight / 2
    cuts = sorted({0.0, 1.0, *problem.breaks, *np.linspace(0, 1, 9)})
    total = np.zeros(len(problem.example))
    for a, b in pairwise(cuts):
        alpha = a + (b - a) * (3 * t**2 - 2 * t**3)
        total += (w * (b - a) * 6 * t * (1 - t)) @ problem.vectors(alpha)
    return total


def test_names_are_unique_and_tags_are_spelt_right():
    names = [problem.name for problem in PROBLEMS]
    assert len(names) == len(set(names))
    assert {problem.tag for problem in PROBLEMS} == TAGS


def test_there_is_no_problem_of_a_tag_that_does_not_exist():
    assert tagged("smooht") == ()


@every_problem
def test_the_gradient_is_the_derivative_of_the_value(problem):
    points = problem.points(smooth_alphas(problem))
    gradient = problem.gradient(points)
    for i in range(points.shape[1]):
        shift = np.zeros_like(points)
        shift[:, i] = STEP
        difference = (problem.value(points + shift) - problem.value(points - shift)) / (2 * STEP)
        np.testing.assert_allclose(gradient[:, i], difference, rtol=1e-6, atol=1e-7)


@every_problem
def test_the_slope_is_the_derivative_along_the_path(problem):
    alpha = smooth_alphas(problem)
    difference = (problem.scores(alpha + STEP) - problem.scores(alpha - STEP)) / (2 * STEP)
    np.testing.assert_allclose(problem.slopes(alpha), difference, rtol=1e-6, atol=1e-7)


@every_problem
def test_exact_attributions_agree_with_a_fine_reference(problem):
    np.testing.assert_allclose(problem.exact, fine_reference(problem), rtol=1e-9, atol=1e-12)


@every_problem
def test_exact_attributions_add_up_unless_the_score_jumps(problem):
    jump = problem.gap - sum(problem.exact)
    assert abs(jump) == pytest.approx(1.0 if problem.tag == "jump" else 0.0, abs=1e-12)


@every_problem
def test_breaks_are_where_the_tag_says(problem):
    if problem.tag == "smooth":
        assert problem.breaks == ()
        assert np.isfinite(problem.slopes(np.linspace(0, 1, 101))).all()
        return
    breaks = np.array(problem.breaks)
    assert len(breaks)
    inside = (breaks > 0) & (breaks < 1)
    if problem.tag == "singular_end":
        assert not inside.any()
        assert not np.isfinite(problem.slopes(breaks)).any()
        return
    assert inside.all()
    of = problem.slopes if problem.tag == "kinked" else problem.scores
    assert (np.abs(of(breaks + 1e-9) - of(breaks - 1e-9)) > 0.1).all()
