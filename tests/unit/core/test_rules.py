import numpy as np
import pytest
from attributor.core.rules import FIXED_RULES, every_other, gauss_legendre, midpoint, right_riemann, trapezoid

CASES = [(name, n) for name in FIXED_RULES for n in range(2 if name == "trapezoid" else 1, 65)]
every_rule = pytest.mark.parametrize(("name", "n"), CASES)


def quadrature_of_legendre(rule, degree):
    """The rule's answer for the Legendre polynomial of a degree, moved to [0, 1]; the integral is 0 above degree 0.

    Monomials of high degree differ by less than rounding there; Legendre polynomials stay of size 1.
    """
    polynomial = np.polynomial.legendre.Legendre.basis(degree, domain=[0, 1])
    return float(np.dot(rule.weights, polynomial(np.array(rule.nodes))))


@every_rule
def test_weights_sum_to_1_and_nodes_ascend_inside_the_path(name, n):
    rule = FIXED_RULES[name](n)
    assert rule.name == name
    assert len(rule.nodes) == len(rule.weights) == n
    assert sum(rule.weights) == pytest.approx(1, abs=1e-14)
    assert all(a < b for a, b in zip(rule.nodes[:-1], rule.nodes[1:], strict=True))
    assert rule.nodes[0] >= 0
    assert rule.nodes[-1] <= 1


@every_rule
def test_polynomials_up_to_the_degree_are_exact_and_no_further(name, n):
    rule = FIXED_RULES[name](n)
    for degree in range(1, rule.degree + 1):
        assert quadrature_of_legendre(rule, degree) == pytest.approx(0, abs=1e-13)
    assert abs(quadrature_of_legendre(rule, rule.degree + 1)) > 1e-4


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64])
def test_the_midpoint_rule_errs_on_squares_by_the_known_amount(n):
    rule = midpoint(n)
    assert np.dot(rule.weights, np.square(rule.nodes)) == pytest.approx(1 / 3 - 1 / (12 * n**2), abs=1e-14)


@pytest.mark.parametrize("n", [2, 3, 10, 64])
def test_the_trapezoid_rule_errs_on_squares_by_the_known_amount(n):
    rule = trapezoid(n)
    assert np.dot(rule.weights, np.square(rule.nodes)) == pytest.approx(1 / 3 + 1 / (6 * (n - 1) ** 2), abs=1e-14)


def test_right_riemann_has_the_papers_nodes():
    assert right_riemann(4).nodes == (0.25, 0.5, 0.75, 1.0)


def test_gauss_legendre_has_the_textbook_nodes():
    rule = gauss_legendre(3)
    assert rule.nodes == pytest.approx((0.5 - np.sqrt(0.15), 0.5, 0.5 + np.sqrt(0.15)))
    assert rule.weights == pytest.approx((5 / 18, 8 / 18, 5 / 18))


def test_a_trapezoid_needs_two_ends():
    with pytest.raises(ValueError, match="at least 2"):
        trapezoid(1)


@pytest.mark.parametrize("panels", [1, 2, 5, 25])
def test_every_other_node_of_an_odd_trapezoid_is_the_trapezoid_on_half(panels):
    coarse = every_other(trapezoid(2 * panels + 1))
    assert coarse[1::2] == (0.0,) * panels
    assert coarse[::2] == pytest.approx(trapezoid(panels + 1).weights)


@every_rule
def test_every_other_node_keeps_constants_exact(name, n):
    coarse = every_other(FIXED_RULES[name](n))
    if n == 1:
        assert coarse is None
        return
    assert sum(coarse) == pytest.approx(1, abs=1e-13)
    assert len(coarse) == n
    assert [i for i, w in enumerate(coarse) if w] == list(range(n - 1, -1, -2))[::-1]


@pytest.mark.parametrize("n", [2, 10, 50])
def test_every_other_node_of_the_right_riemann_rule_is_that_rule_with_half_the_nodes(n):
    half = right_riemann(n // 2)
    weights = every_other(right_riemann(n))
    kept = [i for i, weight in enumerate(weights) if weight]
    assert [right_riemann(n).nodes[i] for i in kept] == pytest.approx(half.nodes)
    assert [weights[i] for i in kept] == pytest.approx(half.weights)


def test_every_other_node_of_an_odd_right_riemann_rule_still_adds_up():
    assert sum(every_other(right_riemann(5))) == pytest.approx(1)
