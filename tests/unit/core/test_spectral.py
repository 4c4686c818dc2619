import numpy as np
import pytest
from attributor.core import mesh, spectral
from attributor.core.placing import Placing

NARROW = Placing(0.3, 1 / 16)


def fit_of(n, value, slope, placing):
    alpha = np.array([0.0, *spectral.alphas(n, placing), 1.0])
    h = slope(alpha)
    h[[0, -1]] = np.nan
    local = mesh.fit(alpha, value(alpha), h)
    return spectral.fit(placing, value(alpha), h, local), local


@pytest.mark.parametrize("n", [3, 8, 15])
def test_the_rule_is_exact_on_every_panel_up_to_its_degree(n):
    edges = np.array([0.0, *spectral.nodes(n), 1.0])
    for power in range(n):
        found = spectral.rows(n, Placing()) @ spectral.nodes(n) ** power
        assert found == pytest.approx(np.diff(edges ** (power + 1)) / (power + 1), abs=1e-12)


@pytest.mark.parametrize("placing", [Placing(), NARROW], ids=["even", "narrow"])
def test_every_panel_integrates_constants(placing):
    edges = np.array([0.0, *spectral.alphas(9, placing), 1.0])
    assert spectral.rows(9, placing).sum(axis=1) == pytest.approx(np.diff(edges))


def test_the_nodes_of_a_rule_are_among_those_of_the_next():
    assert spectral.nodes(15)[1::2] == pytest.approx(spectral.nodes(7), abs=1e-15)


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
    assert found is local
