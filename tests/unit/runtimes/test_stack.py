from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.core.asks import Curve
from attributor.core.first_round import even_asks
from attributor.core.placing import PLACINGS
from attributor.core.spectral import rule
from attributor.errors import InvalidShape, OutOfMemory
from attributor.jobs.explanation import Target, Term
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputScale, OutputSpec
from attributor.model_port import CurveSpec, Points, RouteSpec, Stack
from attributor.runtimes import stack as stacks
from attributor.runtimes.stack import MOST_MULTIPLICATIONS, MOST_NUMBERS, is_small
from attributor.runtimes.torch_runtime import TorchModel
from torch import nn

INFO = ModelInfo(
    "net", "1", "d", "", "", "", "",
    (InputSpec("a", InputKind.TENSOR, (3,)), InputSpec("b", InputKind.TENSOR, (2, 2))),
    OutputSpec("logits", ("x", "y", "z")), {}, None,
)  # fmt: skip
RULE = rule(5, PLACINGS[0])
BY_PROBABILITY = Target(scale=OutputScale.PROBABILITY)


class TwoInputs(nn.Module):
    """Three outputs of two inputs; a pass over more than `most` rows runs out of memory."""

    def __init__(self, most=10_000) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out, self.most = nn.Linear(7, 8), nn.Linear(8, 3), most

    def forward(self, a, b):
        if len(a) > self.most:
            raise MemoryError("no room")
        return self.out(torch.tanh(self.hidden(torch.cat([a, b.flatten(1)], 1))))


def inputs(n, seed=0):
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(size=(n, 3)).astype(np.float32), "b": rng.normal(size=(n, 2, 2)).astype(np.float32)}


START = {"a": np.full(3, 0.1, np.float32), "b": np.zeros((2, 2), np.float32)}


def ask(n=4, target=BY_PROBABILITY, **changes):
    return replace(Stack(inputs(n), START, target, RULE.alphas), **changes)


def alone(model, stack, row):
    """Scores, slopes and vectors of a row by a route of its own."""
    example = {name: rows[row] for name, rows in stack.examples.items()}
    model.open("one", RouteSpec(example, (stack.target,), straight=True))
    model.add_curve("one", CurveSpec(dict(stack.start), example))
    asks = even_asks(Curve(1, 0), RULE)
    first, then = (model.evaluate([Points("one", kind)])[0] for kind in asks.kinds)
    scores = [first.scores[1, 0], *then.scores[:, 0], first.scores[0, 0]]
    targets, vectors = model.targets("one"), model.attributions("one", 0, dict.fromkeys(range(2, 7), 1.0))
    model.close("one")
    return np.array(scores), then.slopes[:, 0], vectors, targets[0], first.tops[0]


@pytest.mark.parametrize(
    "target",
    [
        BY_PROBABILITY,
        Target(rank=1, scale=OutputScale.LOGIT),
        Target(rank=2, scale=OutputScale.LOG_PROBABILITY),
        Target((Term(0), Term(2, -0.5)), scale=OutputScale.LOGIT),
    ],
    ids=str,
)
def test_a_row_of_a_stack_is_what_a_route_finds(target):
    model = TorchModel(TwoInputs().eval(), INFO)
    stack = ask(target=target)
    told = model.evaluate_stack(stack)
    sums = told.vectors.sums(np.arange(4), np.ones(5))
    for row in range(4):
        scores, slopes, vectors, resolved, top = alone(model, stack, row)
        assert told.scores[row] == pytest.approx(scores, abs=1e-6)
        assert told.slopes[row] == pytest.approx(slopes, abs=1e-6)
        assert (told.resolved[row], told.tops[row]) == (resolved, top)
        for name, values in vectors.items():
            assert sums[name][row] == pytest.approx(values, abs=1e-6)


def test_the_ends_are_exactly_the_baseline_and_the_example():
    seen = []

    class Seeing(TwoInputs):
        def forward(self, a, b):
            seen.append(a.detach().clone())
            return super().forward(a, b)

    model = TorchModel(Seeing().eval(), INFO)
    stack = ask(3, examples={**inputs(3), "a": np.full((3, 3), 1 / 3, np.float32) * np.float32(1e6)})
    model.evaluate_stack(stack)
    points, start = seen[-1][:-1].view(3, 6, 3).numpy(), seen[-1][-1].numpy()
    assert np.array_equal(start, START["a"])
    assert np.array_equal(points[:, -1], stack.examples["a"])


def test_some_rows_are_added_up_with_weights_of_their_own():
    told = TorchModel(TwoInputs().eval(), INFO).evaluate_stack(ask())
    weights = np.random.default_rng(1).normal(size=(2, 5))
    some = told.vectors.sums(np.array([3, 1]), weights)
    for place, row in enumerate((3, 1)):
        single = [told.vectors.sums(np.arange(4), np.eye(5)[node]) for node in range(5)]
        for name, values in some.items():
            expected = sum(weights[place, node] * single[node][name][row] for node in range(5))
            assert values[place] == pytest.approx(expected)
            assert values.dtype == np.float64


def test_a_row_goes_on_by_itself_with_all_that_is_known():
    model = TorchModel(TwoInputs().eval(), INFO)
    stack = ask()
    told = model.evaluate_stack(stack)
    example = {name: rows[2] for name, rows in stack.examples.items()}
    model.open("one", RouteSpec(example, (stack.target,), straight=True))
    model.add_curve("one", CurveSpec(START, example))
    asks = even_asks(Curve(1, 0), RULE)
    known = model.take_over("one", asks, told, 2)
    assert known.scores[:, 0].tolist() == [told.scores[2, -1], *told.scores[2, :-1]]
    assert np.isnan(known.slopes[:2]).all()
    assert known.slopes[2:, 0].tolist() == told.slopes[2].tolist()
    assert model.targets("one") == (told.resolved[2],)
    assert np.array_equal(model.outputs("one"), told.outputs[2])
    weights = dict(zip(range(2, 7), RULE.weights.tolist(), strict=True))
    sums = told.vectors.sums(np.array([2]), RULE.weights)
    for name, values in model.attributions("one", 0, weights).items():
        assert values == pytest.approx(sums[name][0])


@pytest.mark.parametrize("most", [7, 8, 20])
def test_a_stack_that_does_not_fit_the_memory_is_computed_in_parts(most):
    whole = TorchModel(TwoInputs().eval(), INFO).evaluate_stack(ask(5))
    model = TorchModel(TwoInputs(most).eval(), INFO)
    parts = model.evaluate_stack(ask(5))
    assert parts.scores == pytest.approx(whole.scores, abs=1e-6)
    assert parts.slopes == pytest.approx(whole.slopes, abs=1e-6)
    assert parts.resolved == whole.resolved
    ones = np.ones(5)
    for name, values in whole.vectors.sums(np.arange(5), ones).items():
        assert parts.vectors.sums(np.arange(5), ones)[name] == pytest.approx(values, abs=1e-6)
    assert model.max_points < TorchModel(TwoInputs().eval(), INFO).max_points


def test_one_row_that_does_not_fit_says_so():
    with pytest.raises(OutOfMemory):
        TorchModel(TwoInputs(6).eval(), INFO).evaluate_stack(ask(2))


def test_an_example_of_another_shape_is_refused():
    with pytest.raises(InvalidShape):
        TorchModel(TwoInputs().eval(), INFO).evaluate_stack(ask(examples={**inputs(4), "a": np.zeros((4, 2), "f4")}))


def test_an_output_that_does_not_depend_on_an_input_gives_it_nothing():
    class Blind(TwoInputs):
        def forward(self, a, b):
            return super().forward(a, torch.zeros_like(b))

    told = TorchModel(Blind().eval(), INFO).evaluate_stack(ask())
    assert not told.vectors.sums(np.arange(4), np.ones(5))["b"].any()


def of(*declared, **output):
    return replace(INFO, inputs=declared, output=replace(INFO.output, **output))


TABLE = InputSpec("x", InputKind.TENSOR, (4,))
NET = nn.Linear(4, 3)


@pytest.mark.parametrize(
    ("module", "info", "small"),
    [
        (NET, of(TABLE), True),
        (nn.Linear(2048, 2048, bias=False), of(InputSpec("x", InputKind.TABULAR, (2048,))), True),
        (nn.Linear(2048, 2049, bias=False), of(InputSpec("x", InputKind.TABULAR, (2048,))), False),
        (nn.Conv2d(1, 8, 3), of(InputSpec("x", InputKind.IMAGE, (1, 32, 32))), True),
        (nn.Conv2d(1, 512, 3), of(InputSpec("x", InputKind.IMAGE, (1, 64, 64))), False),
        (NET, of(InputSpec("x", InputKind.TENSOR, (MOST_NUMBERS + 1,))), False),
        (NET, of(replace(TABLE, attributed=False), InputSpec("y", InputKind.TENSOR, (4,))), False),
        (NET, of(replace(TABLE, variable=True)), False),
        (NET, of(TABLE, positions=4), False),
        (NET, replace(of(TABLE), gradients=False), False),
    ],
)
def test_which_models_are_small(module, info, small):
    assert is_small(module, info) is small


def test_a_large_model_looks_and_takes_no_stacks(monkeypatch):
    monkeypatch.setattr(stacks, "MOST_MULTIPLICATIONS", 10)
    model = TorchModel(TwoInputs().eval(), INFO)
    assert (model.looks, model.stacks) == (True, False)
    with pytest.raises(RuntimeError, match="no stacks"):
        model.evaluate_stack(ask())
    monkeypatch.setattr(stacks, "MOST_MULTIPLICATIONS", MOST_MULTIPLICATIONS)
    model = TorchModel(TwoInputs().eval(), INFO)
    assert (model.looks, model.stacks) == (False, True)


def test_a_pass_counts_as_it_was_planned(monkeypatch):
    noted = []
    model = TorchModel(TwoInputs().eval(), INFO)
    monkeypatch.setattr(model._sizes, "note", lambda key, points, *_: noted.append(points))
    model.evaluate_stack(ask(4))
    assert noted == [4 * (5 + 1)]  # five nodes and the example, of each row
