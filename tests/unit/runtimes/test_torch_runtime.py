from pathlib import Path

import numpy as np
import pytest
import torch
from attributor.core.asks import Asks
from attributor.errors import UnknownLayer, UnsupportedByModel
from attributor.jobs.explanation import Layer, Quantity, Target, Term
from attributor.jobs.model import OutputScale
from attributor.model_port import CurveSpec, Points, RouteSpec
from attributor.runtimes.torch_runtime import TorchModel
from modules import (
    LOGIT,
    MASKED_INFO,
    Formula,
    Masked,
    Skipping,
    TwoClasses,
    at,
    evaluated,
    open_straight,
    row,
    said,
    vector_info,
)

MODELS = Path(__file__).parents[3] / "models"
ZERO = {"x": row(0, 0)}
ONE_CLASS = vector_info(n_labels=1)


def opened(module: torch.nn.Module, *example: float, baseline: tuple[float, ...] = (0.0, 0.0)) -> TorchModel:
    model = TorchModel(module, ONE_CLASS if isinstance(module, Formula) else vector_info())
    open_straight(model, "p", {"x": row(*example)}, {"x": row(*baseline)})
    return model


#: Sundararajan, Taly, Yan 2017: sensitivity (section 2.1), implementation invariance (the appendix), symmetry.
CLOSED_FORMS = [
    ("1 - relu(1 - x)", lambda a, b: 1 - (1 - a).relu() + 0 * b, (2.0, 5.0), (1.0, 0.0)),
    ("f of the appendix", lambda a, b: (a.relu() - 1 - b.relu()).relu(), (3.0, 1.0), (1.5, -0.5)),
    ("g of the appendix", lambda a, b: ((a - 1).relu() - b.relu()).relu(), (3.0, 1.0), (1.5, -0.5)),
    ("minimum", torch.minimum, (1.0, 3.0), (1.0, 0.0)),
    ("product", lambda a, b: a * b, (2.0, 3.0), (3.0, 3.0)),
    ("sum of squares", lambda a, b: a**2 + 2 * b**2, (1.0, -2.0), (1.0, 8.0)),
]


@pytest.mark.parametrize(("name", "formula", "example", "exact"), CLOSED_FORMS)
def test_attributions_are_those_of_the_closed_form(name, formula, example, exact):
    n = 1000  # nodes of the midpoint rule: exact to about 1 / n for one kink
    model = opened(Formula(formula), *example)
    evaluated(model, "p", list((np.arange(n) + 0.5) / n))
    attributions = model.attributions("p", 0, dict.fromkeys(range(1, n + 1), 1 / n))["x"]
    assert attributions.dtype == np.float64
    np.testing.assert_allclose(attributions, exact, atol=2e-3, err_msg=name)


def test_score_and_slope_at_a_point():
    model = opened(Formula(lambda a, b: a**2 + 3 * b), 3.0, 1.0, baseline=(1.0, 1.0))
    # At alpha 1/2 the point is (2, 1), the gradient (4, 3), and gamma' (2, 0).
    assert said(evaluated(model, "p", [0.5])) == ([[7.0]], [[8.0]], [0])


def test_the_ends_of_the_path_are_evaluated_exactly():
    module = Formula(lambda a, b: a + b)
    ends = (np.random.default_rng(0).normal(size=(2, 2)) * [[1e4], [1e-4]]).astype(np.float32)
    model = opened(module, *ends[1], baseline=tuple(ends[0]))
    model.evaluate(at("p", 1.0, 0.0))
    np.testing.assert_array_equal(module.batches[0], ends[::-1])


def test_one_pass_serves_all_routes_and_points():
    module = Formula(lambda a, b: a + b)
    model = opened(module, 1.0, 2.0)
    open_straight(model, "q", {"x": row(3, 4)}, ZERO)
    model.evaluate([*at("p", 1.0, 0.5, 0.0), *at("q", 1.0, 0.0)])
    assert [len(batch) for batch in module.batches] == [5]


def test_a_batch_without_gradients_runs_without_a_graph():
    module = Formula(lambda a, b: a + b)
    model = opened(module, 1.0, 2.0)
    (found,) = model.evaluate(at("p", 1.0, 0.0, gradient=False))
    assert said(found) == ([[3.0], [0.0]], [], [0, 0])
    assert found.slopes.shape == (2, 1)
    model.evaluate(at("p", 1.0))
    assert module.grad_modes == [False, True]
    assert torch.is_grad_enabled()


def test_points_with_and_without_gradient_in_one_pass_are_a_bug():
    module = Formula(lambda a, b: a * b)
    model = opened(module, 1.0, 2.0)
    apart = [*at("p", 1.0, gradient=False), *at("p", 0.5, first=1)]
    mixed = Points("p", Asks(ask for each in apart for ask in each.asks))
    for points in (apart, apart[::-1], [mixed]):
        with pytest.raises(RuntimeError, match=r"with and without gradients are in one pass\. This is a bug"):
            model.evaluate(points)
    assert module.batches == []


def test_a_point_evaluated_without_a_gradient_has_no_vector():
    model = opened(Formula(lambda a, b: a * b), 1.0, 2.0)
    model.evaluate([*at("p", 1.0, gradient=False), *at("p", 0.0, first=2, gradient=False)])
    (found,) = model.evaluate(at("p", 0.5, first=1))
    assert found.slopes.tolist() == [[2.0]]
    with pytest.raises(RuntimeError, match=r"no vectors at nodes \[0, 2\]"):
        model.attributions("p", 0, {0: 0.5, 1: 1.0, 2: 0.5})


@pytest.mark.parametrize("quantity", [None, *Quantity])
def test_no_parameter_gets_a_gradient(quantity):
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    layer = None if quantity is None else Layer("second", quantity)
    open_straight(model, "p", {"x": row(1, 2, 3)}, {"x": row(0, 0, 0)}, layer=layer)
    model.evaluate(at("p", 1.0, 0.5))
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_an_open_target_is_the_class_predicted_at_the_example_and_stays_it():
    model = TorchModel(TwoClasses(), vector_info())
    # At the baseline class 0 wins, 10 to 2.5; at the example class 1, 3.5 to 1.
    open_straight(model, "p", {"x": row(1, 1)}, {"x": row(5, 0)}, targets=(Target(scale=OutputScale.LOGIT),))
    (first,) = model.evaluate(at("p", 1.0, 0.0))
    assert (first.scores.tolist(), first.tops.tolist()) == ([[3.5], [2.5]], [1, 0])
    assert model.targets("p") == (Target((Term(1),), scale=OutputScale.LOGIT),)
    assert model.evaluate(at("p", 0.0, gradient=False, first=2))[0].scores.tolist() == [[2.5]]
    np.testing.assert_array_equal(model.outputs("p"), row(1, 3.5))


def test_a_route_whose_first_point_is_not_its_example_is_a_bug():
    model = opened(TwoClasses(), 1.0, 1.0)
    for alphas in ([0.5], [0.0, 1.0]):
        with pytest.raises(RuntimeError, match=r"'p' was not first evaluated at its example\. This is a bug\."):
            model.evaluate(at("p", *alphas))


def test_the_example_may_stand_at_a_curves_start_or_be_all_of_it():
    model = TorchModel(TwoClasses(), vector_info())
    example = {"x": row(1, 1)}
    model.open("out", RouteSpec(example, (LOGIT,)))
    model.add_curve("out", CurveSpec(example, ZERO))
    model.open("point", RouteSpec(example, (LOGIT,)))
    model.add_curve("point", CurveSpec(example, example, plain=True))
    found = model.evaluate([*at("out", 0.0), *at("point", 0.5)])
    assert [each.scores.tolist() for each in found] == [[[1.0]], [[1.0]]]
    # The slope is that along the curve, the vector the gradient itself.
    assert [each.slopes.tolist() for each in found] == [[[-1.0]], [[0.0]]]
    np.testing.assert_array_equal(model.attributions("point", 0, {0: 1.0})["x"], [2.0, -1.0])


@pytest.mark.parametrize("formula", [lambda a, b: a / b, lambda a, b: a.sqrt() + b, lambda a, b: (a - 1).log() + b])
def test_a_row_that_is_not_finite_is_reported_and_leaves_the_others_alone(formula):
    model = opened(Formula(lambda a, b: torch.where(b == 0, formula(a, b), a + b)), 2.0, 3.0)
    model.open("bad", RouteSpec(ZERO, (LOGIT,)))
    model.add_curve("bad", CurveSpec({"x": row(1, 0)}, ZERO))
    bad, good = model.evaluate([*at("bad", 1.0), *at("p", 1.0)])
    assert not np.isfinite([bad.scores, bad.slopes]).all()
    assert said(good) == ([[5.0]], [[5.0]], [0])


def test_what_the_model_raises_comes_through():
    def fails(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("from the model")

    with pytest.raises(ArithmeticError, match="from the model"):
        opened(Formula(fails), 1.0, 1.0).evaluate(at("p", 1.0))


def test_a_score_that_no_input_changes_has_slope_zero():
    model = opened(Formula(lambda a, b: torch.ones(len(a))), 1.0, 2.0)
    assert said(model.evaluate(at("p", 1.0))[0]) == ([[1.0]], [[0.0]], [0])


def test_routes_that_are_unknown_open_twice_or_closed_are_bugs():
    model = opened(TwoClasses(), 1.0, 1.0)
    with pytest.raises(RuntimeError, match="already open"):
        open_straight(model, "p", ZERO)
    with pytest.raises(ValueError, match="no output 2"):
        open_straight(model, "q", ZERO, targets=(Target((Term(2),)),))
    with pytest.raises(ValueError, match="no target"):
        open_straight(model, "q", ZERO, targets=())
    with pytest.raises(RuntimeError, match="no curve 1"):
        model.evaluate(at("p", 1.0, curve=1))
    model.close("p")
    for use in (model.close, model.outputs, model.targets, model.observations, lambda p: model.evaluate(at(p, 1.0))):
        with pytest.raises(RuntimeError, match="'p' is not open"):
            use("p")


def test_a_route_opened_again_starts_afresh():
    model = opened(TwoClasses(), 1.0, 1.0)
    model.evaluate(at("p", 1.0))
    model.close("p")
    open_straight(model, "p", {"x": row(2, 2)}, ZERO)
    with pytest.raises(RuntimeError, match="no vectors"):
        model.attributions("p", 0, {0: 1.0})


def test_points_of_two_lanes_in_one_pass_are_a_bug():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    for name, layer in (("p", None), ("q", Layer("second"))):
        open_straight(model, name, {"x": row(1, 2, 3)}, {"x": row(0, 0, 0)}, layer=layer)
    with pytest.raises(RuntimeError, match="several lanes"):
        model.evaluate([*at("p", 1.0), *at("q", 1.0)])


def test_layers_that_are_unknown_or_unfit_are_refused_when_the_route_opens():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    for quantity in Quantity:
        with pytest.raises(UnknownLayer):
            open_straight(model, "p", {"x": row(1, 2, 3)}, layer=Layer("third", quantity))
    with pytest.raises(UnsupportedByModel):
        open_straight(model, "p", {"x": row(1, 2, 3)}, targets=(Target(position=1),))
    open_straight(model, "p", {"x": row(1, 2, 3)})


def test_nothing_to_evaluate_is_no_pass():
    module = Formula(lambda a, b: a)
    assert TorchModel(module, ONE_CLASS).evaluate([]) == []
    assert module.batches == []


@pytest.mark.parametrize("plain", [False, True])
def test_vectors_of_one_route_do_not_keep_those_of_others(plain):
    model = TorchModel(TwoClasses(), vector_info())
    names = [f"p{index}" for index in range(50)]
    for name in names:
        open_straight(model, name, {"x": row(1, 2)}, ZERO, plain=plain)
    model.evaluate([point for name in names for point in at(name, 1.0)])
    model.evaluate([at(name, 0.5, first=first)[0] for first in (1, 2) for name in names])
    parts = model._routes["p0"].vectors._parts[0, "x"]
    assert len(parts) == 3
    for _, vectors in parts:
        assert vectors.untyped_storage().nbytes() == vectors.nbytes == 8 == model.vector_bytes("p0")
        assert not vectors.requires_grad


def test_a_closed_route_gives_all_its_slots_back():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    example = {"x": row(1, 2, 3)}
    baselines = [{"x": row(0, 0, i)} for i in range(5)]
    for layer in (None, Layer("second"), Layer("second", Quantity.CONDUCTANCE)):
        open_straight(model, "p", example, *baselines, layer=layer)
        space = model._routes["p"].space
        taken = len(space.vertices)
        model.close("p")
        assert len(space.vertices) == taken - len(baselines) - 1
    assert {space.layer for space in model._spaces._known.values()} == {None}


def test_held_inputs_take_one_slot_however_many_routes_come_and_go():
    model = TorchModel(Masked().eval(), MASKED_INFO)
    for number in range(100):
        example = {"x": row(1, 2, 3), "mask": row(number, 0, 0)}
        open_straight(model, "p", example, example)
        model.evaluate(at("p", 1.0))
        model.close("p")
    (space,) = model._spaces._known.values()
    assert len(space._held._rows["mask"]) < 100
