"""Vectors, slopes and scores of a pass against gradients taken by hand, for paths in the inputs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.core.asks import Asks, Node
from attributor.jobs.explanation import Layer, Quantity, Target, Term
from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, OutputKind, OutputScale
from attributor.model_port import CurveSpec, Points, RouteSpec
from attributor.runtimes.torch_runtime import TorchModel
from modules import (
    LOGIT,
    MASKED_INFO,
    TOKENS,
    Masked,
    Skipping,
    Tagger,
    at,
    described,
    evaluated,
    gradient_of,
    meeting,
    open_straight,
    row,
    said,
    vector_info,
)
from torch import Tensor, nn

EXAMPLE, MIDDLE, BASELINE = row(1, -2, 0.5), row(0.5, 1, -1), row(0, 0.3, 0)


def logit(module: nn.Module, index: int = 0) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x)[:, index]


def test_a_vertex_of_two_curves_is_one_row_with_a_vector_of_each():
    module = Skipping(skip=True).eval()
    rows = []
    model = TorchModel(module, vector_info(3))
    module.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    model.open("p", RouteSpec({"x": EXAMPLE}, (LOGIT,)))
    model.add_curve("p", CurveSpec({"x": BASELINE}, {"x": MIDDLE}))
    model.add_curve("p", CurveSpec({"x": MIDDLE}, {"x": EXAMPLE}))
    model.evaluate(at("p", 1.0, curve=1, gradient=False))
    (found,) = model.evaluate(meeting("p", Node(5, 1, 0.0), Node(6, 0, 1.0)))
    assert rows == [1, 1]
    value, gradient = gradient_of(logit(module), MIDDLE)
    assert found.scores == pytest.approx(np.array([[value]]), rel=1e-6)
    for node, change, slopes in ((5, EXAMPLE - MIDDLE, found.slopes[0]), (6, MIDDLE - BASELINE, found.slopes[1])):
        np.testing.assert_allclose(model.attributions("p", 0, {node: 1.0})["x"], gradient * change, rtol=1e-5)
        assert slopes[0] == pytest.approx(float((gradient * change).sum()), rel=1e-5)


def test_a_star_of_baselines_shares_the_example():
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    baselines = [row(0, i, -i) for i in range(4)]
    open_straight(model, "p", {"x": EXAMPLE}, *({"x": baseline} for baseline in baselines))
    nodes = tuple(Node(10 + number, number, 1.0) for number in range(4))
    (found,) = model.evaluate(meeting("p", *nodes))
    _, gradient = gradient_of(logit(module), EXAMPLE)
    for number, baseline in enumerate(baselines):
        expected = gradient * (EXAMPLE - baseline)
        np.testing.assert_allclose(model.attributions("p", 0, {10 + number: 1.0})["x"], expected, rtol=1e-5)
        assert found.slopes[number][0] == pytest.approx(float(expected.sum()), rel=1e-5)


def test_two_targets_of_one_route_are_those_of_two_routes():
    module, targets = Skipping(skip=True).eval(), (Target(), replace(LOGIT, scale=OutputScale.LOG_PROBABILITY))
    model = TorchModel(module, vector_info(3))
    open_straight(model, "both", {"x": EXAMPLE}, {"x": BASELINE}, targets=targets)
    for number, target in enumerate(targets):
        open_straight(model, f"only{number}", {"x": EXAMPLE}, {"x": BASELINE}, targets=(target,))
    both, *only = (evaluated(model, name, [0.3]) for name in ("both", "only0", "only1"))
    for number, alone in enumerate(only):
        assert both.scores[0, number] == alone.scores[0, 0]
        assert both.slopes[0, number] == alone.slopes[0, 0]
        np.testing.assert_array_equal(
            model.attributions("both", number, {1: 1.0})["x"], model.attributions(f"only{number}", 0, {1: 1.0})["x"]
        )


@pytest.mark.parametrize(
    ("target", "by_hand"),
    [
        (Target((Term(1), Term(0, -1.0)), scale=OutputScale.LOGIT), lambda m: lambda x: m(x)[:, 1] - m(x)[:, 0]),
        (
            Target((Term(0, 2.0), Term(1, 0.5)), scale=OutputScale.PROBABILITY),
            lambda m: lambda x: m(x).double().softmax(1) @ torch.tensor([2.0, 0.5], dtype=torch.float64),
        ),
        (
            Target((Term(1),), scale=OutputScale.LOG_PROBABILITY),
            lambda m: lambda x: m(x).double().log_softmax(1)[:, 1],
        ),
        (Target(rank=1), lambda m: lambda x: m(x).double().softmax(1)[:, int(m(torch.tensor(EXAMPLE)).argmin())]),
    ],
)
def test_score_and_vector_are_those_of_the_target(target, by_hand):
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, targets=(target,))
    found = evaluated(model, "p", [0.5])
    value, gradient = gradient_of(by_hand(module), (BASELINE + EXAMPLE) / 2)
    assert found.scores[0, 0] == pytest.approx(value, rel=1e-6)
    expected = gradient * (EXAMPLE - BASELINE)
    np.testing.assert_allclose(model.attributions("p", 0, {1: 1.0})["x"], expected, rtol=1e-4, atol=1e-7)


def test_regression_outputs_are_scored_as_they_stand():
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3, kind=OutputKind.VALUES))
    target = Target((Term(1),), scale=OutputScale.VALUE)
    open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, targets=(target,))
    found = evaluated(model, "p", [0.5])
    assert found.scores[0, 0] == pytest.approx(gradient_of(logit(module, 1), (BASELINE + EXAMPLE) / 2)[0], rel=1e-6)


def test_a_mask_is_held_at_the_example_and_never_attributed():
    module = Masked().eval()
    model = TorchModel(module, MASKED_INFO)
    example, baseline = {"x": EXAMPLE, "mask": row(1, 0.5, 2)}, {"x": BASELINE, "mask": row(0, 0, 0)}
    open_straight(model, "p", example, baseline)
    evaluated(model, "p", [0.5])
    _, gradient = gradient_of(lambda x: module(x, torch.tensor(example["mask"]))[:, 0], (BASELINE + EXAMPLE) / 2)
    attributions = model.attributions("p", 0, {1: 1.0})
    assert attributions.keys() == {"x"}
    np.testing.assert_allclose(attributions["x"], gradient * (EXAMPLE - BASELINE), rtol=1e-5)


def test_two_attributed_inputs_share_the_slope_and_one_that_is_ignored_gets_nothing():
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            return a**2 + 3 * b.sum(1, keepdim=True)

    info = described(
        *(InputSpec(name, InputKind.TENSOR, (n,)) for name, n in (("a", 1), ("b", 2), ("c", 3))), n_labels=1
    )
    model = TorchModel(Sum(), info)
    example = {"a": row(2), "b": row(1, 2), "c": row(1, 1, 1)}
    open_straight(model, "p", example, {name: np.zeros_like(values) for name, values in example.items()})
    found = evaluated(model, "p", [0.5])
    # The gradient in a is 2 at a = 1, in b it is 3; gamma' is the example.
    assert found.slopes.tolist() == [[4.0 + 9.0]]
    attributions = {name: values.tolist() for name, values in model.attributions("p", 0, {1: 1.0}).items()}
    assert attributions == {"a": [4.0], "b": [3.0, 6.0], "c": [0.0, 0.0, 0.0]}


TAGS = described(TOKENS, n_labels=3, kind=OutputKind.SEQUENCE, positions=4)
IDS = np.array([3, 1, 0, 5])
TAG = Target((Term(2),), position=-1, scale=OutputScale.LOGIT)


@pytest.mark.parametrize("absent", [np.array([0, 0, 0, 0]), np.array([NO_TOKEN] * 4), np.array([3, NO_TOKEN, 6, 0])])
def test_a_token_gets_the_sum_over_its_embedding(absent):
    module = Tagger().eval()
    model = TorchModel(module, TAGS)
    open_straight(model, "p", {"ids": IDS}, {"ids": absent}, targets=(TAG,))
    found = evaluated(model, "p", [0.25])
    weights = module.embed.weight.detach().numpy()
    end, start = weights[IDS], np.where(absent[:, None] == NO_TOKEN, 0, weights[absent.clip(0)])
    value, gradient = gradient_of(
        lambda e: module.of_embedding(e, torch.tensor(IDS)[None])[:, 3, 2], start + np.float32(0.25) * (end - start)
    )
    assert found.scores[0, 0] == pytest.approx(value, rel=1e-5)
    expected = (gradient * (end - start)).sum(1)
    attributions = model.attributions("p", 0, {1: 1.0})["ids"]
    assert attributions.shape == (4,)
    np.testing.assert_allclose(attributions, expected, rtol=1e-4, atol=1e-7)
    assert found.slopes[0][0] == pytest.approx(float(expected.sum()), rel=1e-4)
    assert model.outputs("p").shape == (4, 3)
    assert model.targets("p")[0].position == 3


def test_an_example_may_lack_a_token():
    model = TorchModel(Tagger().eval(), TAGS)
    missing = {"ids": np.array([3, NO_TOKEN, 1, 5])}
    open_straight(model, "p", missing, {"ids": np.array([3, 4, 1, 5])}, targets=(TAG,))
    model.evaluate(at("p", 1.0, 0.0))
    attributions = model.attributions("p", 0, {0: 0.5, 1: 0.5})["ids"]
    # The module still reads an id there, the first, which this one takes for padding: the embedding has no effect.
    assert np.count_nonzero(attributions) == 0
    open_straight(model, "q", missing, {"ids": np.array([4, NO_TOKEN, 1, 5])}, targets=(TAG,))
    model.evaluate(at("q", 1.0))
    assert np.flatnonzero(model.attributions("q", 0, {0: 1.0})["ids"]).tolist() == [0]


def test_a_layer_of_a_token_inputs_name_is_not_taken_for_it():
    model = TorchModel(Tagger().eval(), replace(TAGS, inputs=(replace(TOKENS, name="embed"),)))
    for quantity in Quantity:
        layer = Layer("embed", quantity)
        open_straight(model, quantity, {"embed": IDS}, {"embed": IDS * 0}, targets=(TAG,), layer=layer)
        model.evaluate(at(quantity, 1.0))
        assert model.attributions(quantity, 0, {0: 1.0})["embed"].shape == (4, 4)


def test_token_routes_of_several_examples_share_a_pass():
    model = TorchModel(Tagger().eval(), TAGS)
    examples = {"p": IDS, "q": np.array([6, 6, 2, 0])}
    for name, ids in examples.items():
        open_straight(model, name, {"ids": ids}, {"ids": np.array([NO_TOKEN] * 4)}, targets=(TAG,))
    together = model.evaluate([*at("p", 1.0, 0.5), *at("q", 1.0, 0.5)])
    alone = TorchModel(Tagger().eval(), TAGS)
    for place, (name, ids) in enumerate(examples.items()):
        open_straight(alone, name, {"ids": ids}, {"ids": np.array([NO_TOKEN] * 4)}, targets=(TAG,))
        (expected,) = alone.evaluate(at(name, 1.0, 0.5))
        np.testing.assert_allclose(together[place].scores, expected.scores, rtol=1e-4)
        np.testing.assert_allclose(together[place].slopes, expected.slopes, rtol=1e-4)


def test_a_gradient_alone_of_a_token_is_the_norm_over_its_embedding():
    module = Tagger().eval()
    model = TorchModel(module, TAGS)
    open_straight(model, "p", {"ids": IDS}, {"ids": np.array([0] * 4)}, targets=(TAG,), plain=True)
    model.evaluate(at("p", 1.0))
    _, gradient = gradient_of(
        lambda e: module.of_embedding(e, torch.tensor(IDS)[None])[:, 3, 2], module.embed.weight.detach().numpy()[IDS]
    )
    expected = np.linalg.norm(gradient, axis=1)
    np.testing.assert_allclose(model.attributions("p", 0, {0: 1.0})["ids"], expected, rtol=1e-4, atol=1e-7)


def test_plain_curves_and_others_share_a_pass():
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    for name, plain in (("p", False), ("q", True)):
        open_straight(model, name, {"x": EXAMPLE}, {"x": BASELINE}, plain=plain)
    first, second = model.evaluate([*at("p", 1.0), *at("q", 1.0)])
    assert said(first) == said(second)
    _, gradient = gradient_of(logit(module), EXAMPLE)
    np.testing.assert_allclose(model.attributions("q", 0, {0: 1.0})["x"], gradient, rtol=1e-5)
    np.testing.assert_allclose(model.attributions("p", 0, {0: 1.0})["x"], gradient * (EXAMPLE - BASELINE), rtol=1e-5)


def test_routes_with_more_and_fewer_targets_share_a_pass():
    model = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    targets = (Target(), LOGIT, Target(rank=1))
    for n in (1, 2, 3):
        open_straight(model, f"r{n}", {"x": EXAMPLE}, {"x": BASELINE}, targets=targets[:n])
    found = model.evaluate([at(f"r{n}", 1.0, 0.5)[0] for n in (2, 1, 3)])
    assert [each.scores.shape for each in found] == [each.slopes.shape for each in found] == [(2, 2), (2, 1), (2, 3)]
    for told in ("scores", "slopes"):
        two, one, three = (getattr(each, told) for each in found)
        np.testing.assert_array_equal(three[:, :2], two)
        np.testing.assert_array_equal(two[:, :1], one)
    for target in range(3):
        vectors = [model.attributions(f"r{n}", target, {1: 1.0})["x"] for n in (1, 2, 3) if n > target]
        for other in vectors[1:]:
            np.testing.assert_array_equal(vectors[0], other)
    with pytest.raises(RuntimeError, match="This is a bug"):
        model.attributions("r1", 1, {1: 1.0})


@pytest.mark.parametrize("cuts", [[4], [1, 2], [2, 2], [1, 1, 1, 1]], ids=str)
def test_portions_of_one_route_are_told_apart_in_a_pass(cuts):
    nodes = [(1.0, 0), (0.25, 0), (0.5, 1), (0.75, 1)]
    whole = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    parts = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    for model in (whole, parts):
        open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, {"x": MIDDLE}, targets=(LOGIT, Target()))
        open_straight(model, "q", {"x": MIDDLE}, {"x": BASELINE})
    asked = [at("p", alpha, curve=curve, first=n)[0] for n, (alpha, curve) in enumerate(nodes)]
    (expected,) = whole.evaluate([Points("p", Asks(ask for each in asked for ask in each.asks))])
    left, portions = list(asked), []
    for cut in cuts:  # the other route in between
        some, left = left[:cut], left[cut:]
        portions += [Points("p", Asks(ask for each in some for ask in each.asks)), *at("q", 1.0, first=len(portions))]
    found = parts.evaluate(portions)[::2]
    for told in ("scores", "slopes", "tops"):
        together = np.concatenate([getattr(each, told) for each in found])
        np.testing.assert_allclose(together, getattr(expected, told)[: len(together)], rtol=1e-6)
    for n in range(sum(cuts)):
        for target in (0, 1):
            one, other = (model.attributions("p", target, {n: 1.0})["x"] for model in (whole, parts))
            np.testing.assert_allclose(one, other, rtol=1e-5)
