from itertools import count

import numpy as np
import pytest
from attributor.core.panels import JUMP_SPLITS, NARROWEST_PANEL, CurvePanels, side_by_side
from attributor.core.placing import Placing
from attributor.core.spectral import rule


def curve_of(*values, weight=1.0, slopes=None, nodes=5):
    """A curve on even nodes; `values` are functions of alpha, `slopes` likewise (default: 0)."""
    curve = CurvePanels(weight)
    for alpha in np.linspace(0, 1, nodes).tolist():
        add(curve, alpha, values, slopes)
    curve.fit()
    return curve


#: Of nodes, each used once.
NUMBERS = count()


def add(curve, alpha, values, slopes=None):
    """A node; `slopes` None: 0, a slope None: there is none."""
    h = [np.nan if f is None else float(f(alpha)) for f in slopes] if slopes else [0.0] * len(values)
    told = np.array([alpha]), np.array([[float(f(alpha)) for f in values]]), np.array([h])
    curve.add(np.array([next(NUMBERS)]), *told)


def step(alpha):
    return float(alpha > 0.3)


def split_at_the_jump(curve, values, times):
    for _ in range(times):
        panels = curve.panels
        add(curve, curve.halve(int(panels.size[0].argmax())), values)
        curve.fit()


def test_a_residual_that_does_not_shrink_is_a_jump_after_so_many_splits():
    curve = curve_of(step)
    split_at_the_jump(curve, [step], JUMP_SPLITS - 1)
    assert not curve.panels.jumped.any()
    assert curve.jump is None
    split_at_the_jump(curve, [step], 1)
    assert curve.panels.jumped.sum() == 1
    assert curve.jump == pytest.approx(0.3, abs=0.25 / 2**JUMP_SPLITS)
    assert curve.panels.idle.tolist() == (curve.panels.jumped | curve.panels.at_rounding).tolist()


def test_a_jump_of_one_target_is_none_of_the_others():
    values = [step, lambda alpha: alpha]
    curve = curve_of(*values, slopes=[lambda alpha: 0.0, lambda alpha: 1.0])
    for _ in range(JUMP_SPLITS):
        panels = curve.panels
        add(curve, curve.halve(int(panels.size[0].argmax())), values, [lambda alpha: 0.0, lambda alpha: 1.0])
        curve.fit()
    assert curve.panels.jumped.any(axis=1).tolist() == [True, False]


def test_panels_that_are_left_alone_keep_what_is_known_of_them():
    curve = curve_of(step)
    split_at_the_jump(curve, [step], JUMP_SPLITS)
    jump = curve.panels.jumped[0].tolist().index(True)
    add(curve, curve.halve(len(curve.alpha) - 2), [step])
    curve.fit()
    assert curve.panels.jumped[0].tolist().index(True) == jump


def test_all_sums_carry_the_curves_weight():
    one, half = curve_of(step), curve_of(step, weight=0.5)
    assert half.residuals == [one.residuals[0] / 2]
    assert half.squares == [one.squares[0] / 4]
    assert half.variations == [one.variations[0] / 2] == [0.5]
    assert half.gap(0) == one.gap(0) / 2 == 0.5
    assert list(half.weights(0).values()) == [weight / 2 for weight in one.weights(0).values()]
    assert list(half.weights(0)) == half.index.tolist()
    assert half.panels.size.tolist() == (one.panels.size / 2).tolist()
    assert half.panels.noise.tolist() == (one.panels.noise / 2).tolist()


def test_several_curves_stand_side_by_side():
    together = side_by_side([curve_of(step).panels, curve_of(step, nodes=3).panels])
    assert together.indicator.shape == (1, 6)
    assert together.width.tolist() == [[0.25] * 4 + [0.5] * 2]


def test_a_panel_too_narrow_to_be_split_is_idle():
    curve = curve_of(step)
    add(curve, NARROWEST_PANEL, [lambda alpha: 0.0], [lambda alpha: 5.0])
    curve.fit()
    assert curve.panels.narrow.tolist() == [[True, False, False, False, False]]
    assert curve.panels.idle[0, 0]


NARROW = Placing(0.25, 1 / 8)


def spectral_curve(n, value, slope, *, nested=True):
    its_rule = rule(n, NARROW, nested=nested)
    curve = CurvePanels(1.0, its_rule)
    for alpha in [0.0, *its_rule.alphas, 1.0]:
        add(curve, alpha, [value], [None if alpha in (0.0, 1.0) else slope])
    curve.fit()
    return curve


@pytest.mark.parametrize("n", [3, 4, 5, 9])
@pytest.mark.parametrize("nested", [True, False], ids=["fejer", "gauss"])
def test_the_coarse_rule_of_any_number_of_nodes_integrates_constants(n, nested):
    curve = spectral_curve(n, lambda alpha: alpha, lambda alpha: 1.0, nested=nested)
    coarse = curve.coarse_weights(0)
    assert sum(coarse.values()) == pytest.approx(1)
    assert len(coarse) in (n // 2, (n + 1) // 2)
    assert sum(curve.weights(0).values()) == pytest.approx(1)


def test_too_few_gradients_make_no_coarse_rule():
    curve = spectral_curve(2, lambda alpha: alpha, lambda alpha: 1.0)
    assert curve.coarse_weights(0) is None


def test_an_extended_curve_keeps_all_its_nodes_and_a_halved_one_is_extended_no_more():
    curve = spectral_curve(7, np.exp, np.exp)
    assert curve.panels.indicator.shape == (1, 8)
    assert curve.extensible
    new = curve.extend()
    assert sorted([*new, *curve.alpha[1:-1]]) == pytest.approx(rule(15, NARROW).alphas)
    curve.halve(0)
    assert not curve.extensible
    with pytest.raises(RuntimeError, match="bug"):
        curve.extend()
