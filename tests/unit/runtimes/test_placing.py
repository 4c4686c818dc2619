import math

import numpy as np
import pytest
import torch
from attributor.core.asks import Node
from attributor.errors import InvalidShape, UnsupportedByModel
from attributor.jobs.explanation import Layer
from attributor.jobs.model import InputKind, InputSpec
from attributor.model_port import Blur, CurveSpec, Registered, RouteSpec
from attributor.runtimes.torch_runtime import TorchModel
from modules import (
    LOGIT,
    MASKED_INFO,
    TOKENS,
    Formula,
    Masked,
    Skipping,
    Tagger,
    at,
    described,
    evaluated,
    meeting,
    open_straight,
    row,
    vector_info,
)
from torch import Tensor, nn

IMAGE_INFO = described(InputSpec("x", InputKind.IMAGE, (2, 6, 5)), n_labels=2)


class Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.head = nn.Conv2d(2, 3, 3), nn.Linear(36, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).flatten(1))


def quarter_circle(baseline: Tensor, example: Tensor):
    """About the origin, from (r, 0) to (0, r)."""
    assert baseline.tolist()[1] == example.tolist()[0] == 0
    r, turn = baseline[0], math.pi / 2

    def curve(alphas: Tensor) -> tuple[Tensor, Tensor]:
        assert alphas.dtype == torch.float32
        angle = alphas * turn
        points = r * torch.stack([angle.cos(), angle.sin()], 1)
        return points, r * turn * torch.stack([-angle.sin(), angle.cos()], 1)

    return curve


def test_a_vertex_where_curves_meet_is_placed_once():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    example, middle, baseline = ({"x": row(*values)} for values in ((1, 2, 3), (1, 0, 0), (0, 0, 0)))
    model.open("p", RouteSpec(example, (LOGIT,)))
    vertices = model._routes["p"].space.vertices
    taken = len(vertices)
    assert model.add_curve("p", CurveSpec(baseline, middle)) == 0
    # An equal example in another array is the example.
    assert model.add_curve("p", CurveSpec(middle, {"x": example["x"].copy()})) == 1
    assert model.add_curve("p", CurveSpec(baseline, example)) == 2
    assert len(vertices) == taken + 3


def noted_rows(model: TorchModel) -> list[int]:
    """Filled with the rows of every pass."""
    rows: list[int] = []
    model._network.module.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    return rows


def test_a_layers_outputs_at_the_ends_are_found_when_needed_for_all_routes_of_a_pass_together():
    model = TorchModel(Skipping(skip=False), vector_info(3), sizes=4)
    for name in ("p", "q"):
        model.open(name, RouteSpec({"x": row(1, 2, 3)}, (LOGIT,), layer=Layer("second")))
    rows = noted_rows(model)
    for name in ("p", "q"):
        for i in range(3):
            model.add_curve(name, CurveSpec({"x": row(0, 0, i)}, model._routes[name].spec.example))
    assert rows == []
    model.evaluate(at("p", 1.0))
    assert rows == [2, 1]  # this curve's ends, then the point
    model.evaluate([*at("p", 0.0, first=1), *at("q", 1.0), *at("q", 0.5, curve=2, first=1)])
    assert rows[2:] == [3, 3]  # both ends of one curve of q and the start of another
    model.evaluate(at("p", 0.5, first=2))
    assert rows[4:] == [1]
    model.evaluate(meeting("p", *(Node(3 + i, i, 1.0) for i in range(3))))
    assert rows[5:] == [2, 1]


def test_ends_in_a_layer_fill_several_passes_where_there_are_many():
    model = TorchModel(Skipping(skip=False), vector_info(3), sizes=4)
    open_straight(model, "p", {"x": row(1, 2, 3)}, *({"x": row(0, 0, i)} for i in range(9)), layer=Layer("second"))
    rows = noted_rows(model)
    model.evaluate(meeting("p", *(Node(i, i, 1.0) for i in range(9))))
    assert rows == [4, 4, 2, 1]


def test_ends_in_a_layer_are_found_with_each_routes_own_held_inputs():
    model, alone = (TorchModel(Masked().eval(), MASKED_INFO) for _ in range(2))
    baseline = {"x": row(0, 0, 0), "mask": row(0, 0, 0)}
    examples = {str(i): {"x": row(1, 2, i), "mask": row(1, i, 1)} for i in range(3)}
    together = []
    for name, example in examples.items():
        open_straight(model, name, example, baseline, layer=Layer("layer"))
        open_straight(alone, name, example, baseline, layer=Layer("layer"))
        together += at(name, 1.0)
    model.evaluate(together)
    for name in examples:
        alone.evaluate(at(name, 1.0))
    halves = [point for name in examples for point in at(name, 0.5, first=1)]
    singly = [alone.evaluate([point])[0] for point in halves]
    for found, expected in zip(model.evaluate(halves), singly, strict=True):
        assert found.scores == pytest.approx(expected.scores, rel=1e-6)
        assert found.slopes == pytest.approx(expected.slopes, rel=1e-6)


def test_what_the_model_raises_at_an_end_is_raised_by_the_evaluation_that_needs_it():
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            if bool((x > 100).any()):
                raise RuntimeError("more than a hundred")
            return self.head(self.first(x).tanh())

    model = TorchModel(Picky().eval(), vector_info(3))
    for name, value in (("bad", 101), ("good", 0)):
        open_straight(model, name, {"x": row(1, 2, 3)}, {"x": row(value, 0, 0)}, layer=Layer("first"))
    with pytest.raises(RuntimeError, match="more than a hundred"):
        model.evaluate([*at("bad", 1.0), *at("good", 1.0)])
    with pytest.raises(RuntimeError, match="more than a hundred"):
        model.evaluate(at("bad", 1.0))
    assert len(model.evaluate(at("good", 1.0))) == 1


@pytest.mark.parametrize("sigma", [0.5, 2.0, 30.0])
def test_the_slope_along_a_blur_is_the_derivative_of_the_score(sigma):
    model = TorchModel(Picture().eval(), IMAGE_INFO)
    image = {"x": np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)}
    open_straight(model, "p", image, image, bends={"x": Blur(sigma)})
    alpha, step = 0.6, 1e-2
    here = evaluated(model, "p", [alpha])
    (around,) = model.evaluate(at("p", alpha - step, alpha + step, first=2, gradient=False))
    difference = (around.scores[1, 0] - around.scores[0, 0]) / (2 * step)
    assert here.slopes[0][0] == pytest.approx(difference, rel=2e-3, abs=1e-5)


def test_a_blur_path_is_complete_and_starts_at_the_blurred_image():
    model = TorchModel(Picture().eval(), IMAGE_INFO)
    image = {"x": np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)}
    open_straight(model, "p", image, image, bends={"x": Blur(1.5)})
    n = 64
    found = evaluated(model, "p", [k / n for k in range(n + 1)])
    weights = {k + 1: 1 / n if 0 < k < n else 0.5 / n for k in range(n + 1)}
    total = model.attributions("p", 0, weights)["x"].sum()
    gap = found.scores[-1, 0] - found.scores[0, 0]
    assert abs(total - gap) < 1e-3 * abs(gap)
    start = model.start("p", 0)
    model.open("q", RouteSpec(start, (LOGIT,)))
    model.add_curve("q", CurveSpec(start, start))
    assert model.evaluate(at("q", 1.0))[0].scores[0] == pytest.approx(found.scores[0], abs=1e-6)


def test_a_registered_path_is_followed_with_its_own_derivative():
    # F = a * b on the circle of radius 2 is 2 sin(2 angle): attributions of both features in closed form.
    model = TorchModel(Formula(lambda a, b: a * b + a), vector_info(n_labels=1), paths={"arc": quarter_circle})
    example, baseline = {"x": row(0, 2)}, {"x": row(2, 0)}
    open_straight(model, "p", example, baseline, bends={"x": Registered("arc")})
    half = evaluated(model, "p", [0.5])
    diagonal = math.sqrt(2)
    assert half.scores[0, 0] == pytest.approx(2 + diagonal, rel=1e-6)
    # gamma' is pi/2 (-sqrt 2, sqrt 2), the gradient (sqrt 2 + 1, sqrt 2).
    assert half.slopes[0][0] == pytest.approx(math.pi / 2 * -diagonal, rel=1e-5)
    expected = [-math.pi / 2 * diagonal * (diagonal + 1), math.pi / 2 * diagonal * diagonal]
    np.testing.assert_allclose(model.attributions("p", 0, {1: 1.0})["x"], expected, rtol=1e-5)
    (ends,) = model.evaluate(at("p", 0.0, 1.0, first=2))
    assert ends.scores.tolist() == [[2.0], [0.0]]
    assert ends.slopes[0, 0] == pytest.approx(math.pi / 2 * 4, rel=1e-6)
    np.testing.assert_array_equal(model.start("p", 0)["x"], baseline["x"])


def test_straight_and_bent_curves_share_a_pass():
    model = TorchModel(Formula(lambda a, b: a * b), vector_info(n_labels=1), paths={"arc": quarter_circle})
    example, baseline = {"x": row(0, 2)}, {"x": row(2, 0)}
    open_straight(model, "bent", example, baseline, bends={"x": Registered("arc")})
    open_straight(model, "straight", example, baseline)
    model.evaluate([*at("bent", 1.0), *at("straight", 1.0)])
    names = ("bent", "straight", "bent", "straight")
    points = [at(name, 0.5, first=first)[0] for first, name in enumerate(names, start=1)]
    assert [each.scores[0, 0] for each in model.evaluate(points)] == pytest.approx([2.0, 1.0, 2.0, 1.0], rel=1e-6)


def test_a_path_that_the_bundle_does_not_register_is_refused():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    with pytest.raises(UnsupportedByModel, match="no path 'arc'") as refused:
        open_straight(model, "p", {"x": row(1, 2, 3)}, {"x": row(0, 0, 0)}, bends={"x": Registered("arc")})
    assert refused.value.field == "path"


def test_a_path_in_a_layer_is_straight():
    model = TorchModel(Picture().eval(), IMAGE_INFO)
    image = {"x": np.zeros((2, 6, 5), np.float32)}
    with pytest.raises(UnsupportedByModel, match="straight") as refused:
        open_straight(model, "p", image, image, bends={"x": Blur(1.0)}, layer=Layer("conv"))
    assert refused.value.field == "path"


def test_a_bend_of_what_is_not_attributed_is_a_bug_and_ends_of_another_shape_are_refused():
    model = TorchModel(Masked(), MASKED_INFO)
    example = {"x": row(1, 2, 3), "mask": row(1, 1, 1)}
    with pytest.raises(ValueError, match="No curve runs in"):
        open_straight(model, "p", example, example, bends={"mask": Registered("arc")})
    with pytest.raises(InvalidShape, match=r"'x' has shape \[3\]; this one has \[2\]"):
        open_straight(model, "q", example, {"x": row(1, 2), "mask": row(1, 1, 1)})
    with pytest.raises(InvalidShape, match=r"'mask' has shape \[3\]; this one has \[1\]"):
        open_straight(model, "r", {**example, "mask": row(1)})


def test_a_start_holds_the_example_where_nothing_is_attributed_and_ids_as_given():
    model = TorchModel(Masked(), MASKED_INFO)
    example, baseline = ({"x": row(i, i, i), "mask": row(i, 0, i)} for i in (1, 2))
    open_straight(model, "p", example, baseline)
    start = model.start("p", 0)
    np.testing.assert_array_equal(start["x"], baseline["x"])
    np.testing.assert_array_equal(start["mask"], example["mask"])
    tagger = TorchModel(Tagger(), described(TOKENS, n_labels=3, positions=4))
    ids = {"ids": np.array([1, -1, 0, 2])}
    open_straight(tagger, "p", {"ids": np.array([1, 2, 3, 4])}, ids)
    np.testing.assert_array_equal(tagger.start("p", 0)["ids"], ids["ids"])
