import numpy as np
import pytest
from attributor.core import mesh, spectral
from attributor.core.placing import Placing
from attributor.core.rules import gauss_legendre

NARROW = Placing(0.3, 1 / 16)


every_kind = pytest.mark.parametrize("nested", [True, False], ids=["fejer", "gauss"])


def fit_of(n, value, slope, placing, *, nested=True):
    rule = spectral.rule(n, placing, nested=nested)
    alpha = np.array([0.0, *rule.alphas, 1.0])
    h = slope(alpha)
    h[[0, -1]] = np.nan
    local = mesh.fit(alpha, value(alpha), h)
    return spectral.fit(rule, value(alpha), h, local), local


@every_kind
@pytest.mark.parametrize("n", [2, 3, 8, 15])
def test_the_rule_is_exact_on_every_panel_up_to_its_degree(n, nested):
    rule = spectral.rule(n, Placing(), nested=nested)
    edges = np.array([0.0, *rule.alphas, 1.0])
    for power in range(n):
        found = rule.rows @ np.array(rule.alphas) ** power
        assert found == pytest.approx(np.diff(edges ** (power + 1)) / (power + 1), abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 8, 15])
def test_gausss_nodes_weigh_what_gausss_rule_says(n):
    rule, published = spectral.rule(n, Placing(), nested=False), gauss_legendre(n)
    assert rule.alphas == pytest.approx(published.nodes, abs=1e-15)
    assert rule.rows.sum(axis=0) == pytest.approx(published.weights, abs=1e-13)


@every_kind
@pytest.mark.parametrize("placing", [Placing(), NARROW], ids=["even", "narrow"])
def test_every_panel_integrates_constants(placing, nested):
    rule = spectral.rule(9, placing, nested=nested)
    assert rule.rows.sum(axis=1) == pytest.approx(np.diff([0.0, *rule.alphas, 1.0]))


def test_the_nodes_of_a_rule_are_among_those_of_the_next():
    rule = spectral.rule(7, NARROW)
    assert rule.next.alphas[1::2] == pytest.approx(rule.alphas, abs=1e-15)
    assert rule.next.every_other is rule


def test_where_no_rule_has_every_other_node_none_is_made_up():
    assert spectral.rule(8, NARROW).every_other is None
    assert spectral.rule(9, NARROW, nested=False).every_other is None


def test_on_a_smooth_score_gausss_nodes_are_the_better_ones():
    def error(nested):
        found, _ = fit_of(6, lambda a: np.exp(3 * a), lambda a: 3 * np.exp(3 * a), Placing(), nested=nested)
        return abs(found.residual.sum())

    assert error(nested=False) < 1e-3 * error(nested=True)


def test_a_peak_is_integrated_far_better_where_the_nodes_are_placed_at_it():
    def error(placing):
        found, _ = fit_of(
            15, lambda a: np.tanh((a - 0.3) / 0.04), lambda a: 25 / np.cosh((a - 0.3) / 0.04) ** 2, placing
        )
        return abs(found.residual.sum())

    assert error(NARROW) < 0.02 * error(Placing())


def test_residuals_count_in_pairs_and_never_for_more_than_they_are():
    found, local = fit_of(9, lambda a: np.sin(9 * a), lambda a: 9 * np.cos(9 * a), Placing())
    assert found is not local
    pairs = np.abs(found.residual.reshape(5, 2).sum(axis=1))
    assert found.indicator.reshape(5, 2).sum(axis=1) == pytest.approx(pairs)
    assert (found.indicator <= np.abs(found.residual) + 1e-15).all()


def test_across_a_kink_the_stencils_are_kept():
    found, local = fit_of(15, lambda a: np.abs(a - 0.43), lambda a: np.sign(a - 0.43), Placing())
    np.testing.assert_array_equal(found.weights, local.weights)
