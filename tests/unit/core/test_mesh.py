import numpy as np
import pytest
from attributor.core import mesh

EVEN = np.linspace(0, 1, 6)
UNEVEN = np.array([0.0, 0.25, 0.375, 0.4375, 0.5, 1.0])


def fit_of(alpha, value, slope):
    with np.errstate(all="ignore"):
        return mesh.fit(alpha, value(alpha), slope(alpha))


@pytest.mark.parametrize("alpha", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("power", [0, 1, 2, 3, 4])
def test_slopes_up_to_the_third_degree_leave_no_residual_on_even_nodes(alpha, power):
    found = fit_of(alpha, lambda a: a ** (power + 1), lambda a: (power + 1) * a**power)
    if power <= 1 or (power <= 3 and alpha is EVEN):
        assert np.abs(found.residual).max() <= found.noise.max()
    if power == 4:
        assert np.abs(found.residual).max() > 1e-4
    assert found.weights @ ((power + 1) * alpha**power) - 1 == pytest.approx(found.residual.sum(), abs=1e-12)


def test_the_trapezoid_residual_is_that_of_two_nodes():
    found = fit_of(EVEN, lambda a: a**3, lambda a: 3 * a**2)
    a, b = EVEN[:-1], EVEN[1:]
    assert found.trapezoid_residual == pytest.approx((b - a) * 1.5 * (a**2 + b**2) - (b**3 - a**3))


def test_the_chosen_residual_is_never_the_worse_one_above_rounding():
    found = fit_of(UNEVEN, lambda a: np.sin(9 * a), lambda a: 9 * np.cos(9 * a))
    assert (np.abs(found.residual) <= np.abs(found.trapezoid_residual) + found.noise).all()


def test_stencils_do_not_reach_across_a_kink():
    # A kink at a node: on both sides of it the slope is linear, so every panel has an exact stencil.
    found = fit_of(EVEN, lambda a: np.abs(a - 0.4) ** 2, lambda a: 2 * np.abs(a - 0.4) * np.sign(a - 0.4))
    assert np.abs(found.residual).max() < 1e-12


def test_no_stencil_amplifies_by_more_than_the_bound():
    # A jump between narrow panels: a long stencil from there into the wide panels would weigh its nodes by 30 widths.
    alpha = np.array([0.0, 0.25, 0.4921875, 0.49609375, 0.5, 1.0])
    found = fit_of(alpha, lambda a: (a > 0.495) + np.sin(a), np.cos)
    assert np.abs(found.weights).sum() <= mesh.MOST_AMPLIFICATION


@pytest.mark.parametrize("alpha", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("ends", [(0,), (-1,), (0, -1)], ids=["first", "last", "both"])
def test_an_open_end_is_integrated_from_its_inner_side(alpha, ends):
    slope = 2 * alpha
    slope[list(ends)] = np.nan
    found = mesh.fit(alpha, alpha**2, slope)
    assert (found.weights[list(ends)] == 0).all()
    assert found.weights.sum() == pytest.approx(1)
    assert np.isfinite(found.residual).all()
    assert np.isfinite(found.trapezoid_residual).all()
    # The line is continued where the neighbours are wide enough to continue it without amplifying.
    if alpha is EVEN:
        assert np.abs(found.residual).max() <= found.noise.max()


def test_the_indicator_is_the_geometric_mean_of_both_residuals():
    found = mesh.indicator(np.array([-1e-2, 1e-2]), np.array([4e-2, -1e-2]), np.full(2, 1e-6))
    assert found == pytest.approx([2e-2, 1e-2])


def test_at_rounding_the_indicator_is_the_residual_itself():
    assert mesh.indicator(np.array([-1e-7]), np.array([4e-2]), np.full(1, 1e-6)) == pytest.approx([1e-7])


def test_noise_grows_with_the_scores():
    low = fit_of(EVEN, lambda a: a, np.ones_like)
    high = fit_of(EVEN, lambda a: a + 1000, np.ones_like)
    assert low.noise.max() < 2e-6
    assert high.noise.min() > 500 * low.noise.max()


def test_every_other_node_keeps_both_ends():
    slope = np.ones(6)
    assert mesh.every_other(slope).tolist() == [0, 2, 4, 5]
    assert mesh.every_other(slope[:5]).tolist() == [0, 2, 4]
    slope[[0, -1]] = np.nan
    assert mesh.every_other(slope).tolist() == [0, 1, 3, 5]


def test_too_few_usable_nodes_make_no_coarse_mesh():
    slope = np.ones(4)
    slope[[0, -1]] = np.nan
    assert len(mesh.every_other(slope)) == 0


@pytest.mark.parametrize("sealed", [[True, True, True, False, False], [False, True, True, False, False], [True] * 5])
def test_a_score_of_zero_is_integrated_beside_sealed_panels_too(sealed):
    zero = np.zeros(len(EVEN))
    found = mesh.fit(EVEN, zero, zero, np.array(sealed))
    assert (found.residual == 0).all()
    assert found.weights.sum() == pytest.approx(np.diff(EVEN)[~np.array(sealed)].sum())


def test_one_mesh_of_all_is_fitted_like_a_mesh_of_each():
    rng = np.random.default_rng(2)
    alpha = np.sort(rng.uniform(size=13))
    alpha[0], alpha[-1] = 0.0, 1.0
    score, slope = rng.normal(size=(2, 6, 13))
    slope[:, [0, -1]] = np.nan
    of_all, of_each = mesh.fit_all(alpha, score, slope), mesh.fit_all(np.tile(alpha, (6, 1)), score, slope)
    np.testing.assert_allclose(of_all.weights, of_each.weights, atol=1e-12)
    np.testing.assert_allclose(of_all.indicator, of_each.indicator, atol=1e-12)
