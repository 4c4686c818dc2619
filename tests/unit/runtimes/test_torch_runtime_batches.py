"""Whoever shares a pass, and however often it is tried, every route gets what it gets alone."""

from functools import partial

import numpy as np
import pytest
import torch
from attributor.core.asks import Ask, Asks, Node
from attributor.core.integrator import Seal
from attributor.errors import OutOfMemory
from attributor.jobs.explanation import Layer, Quantity, Target, Term
from attributor.jobs.model import OutputScale
from attributor.model_port import Evaluations, Points, RouteSpec
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.vectors import Vectors
from modules import LOGIT, Skipping, at, open_straight, row, vector_info
from torch import Tensor

TARGETS = (Target(), LOGIT, Target((Term(1), Term(0, -1.0)), scale=OutputScale.LOG_PROBABILITY))
N_NODES = 9
EXAMPLE, BASELINE = {"x": row(1, -2, 0.5)}, {"x": row(0, 0.3, 0)}


def route_of(model: TorchModel, number: int, layer: Layer | None) -> list[Points]:
    """A route of two curves that meet at the example, by its number with one to three targets; its asks, one each."""
    draw = np.random.default_rng(number)
    example, *baselines = ({"x": draw.normal(size=3).astype(np.float32)} for _ in range(3))
    name, targets = f"r{number}", TARGETS[: 1 + number % 3]
    open_straight(model, name, example, *baselines, targets=targets, layer=layer, plain=number % 4 == 0)
    inner = [Ask((Node(n, n % 2, n / N_NODES),), n % 5 != 1) for n in range(2, N_NODES)]
    asks = [Ask((Node(1, 0, 1.0), Node(N_NODES, 1, 1.0)), True), *inner]
    return [Points(name, Asks((ask,))) for ask in asks]


def assert_close(one: Evaluations, other: Evaluations) -> None:
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.slopes, other.slopes, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(one.tops, other.tops)


def assert_same_vectors(one: TorchModel, other: TorchModel, number: int) -> None:
    draw = np.random.default_rng(number)
    weights = {node: draw.uniform() for node in range(1, N_NODES + 1) if node in (1, N_NODES) or node % 5 != 1}
    for target in range(1 + number % 3):
        (a,) = one.attributions(f"r{number}", target, weights).values()
        (b,) = other.attributions(f"r{number}", target, weights).values()
        assert np.abs(a - b).sum() <= 1e-5 * np.abs(b).sum()


@pytest.mark.parametrize("quantity", [None, *Quantity])
def test_a_batch_of_mixed_routes_gives_what_each_route_gives_alone(quantity):
    layer = None if quantity is None else Layer("second", quantity)
    numbers = range(12)
    together, alone = (TorchModel(Skipping(skip=True).eval(), vector_info(3)) for _ in range(2))
    own = {number: route_of(together, number, layer) for number in numbers}
    rest = [points for each in own.values() for points in each[1:]]
    np.random.default_rng(0).shuffle(rest)
    first = [each[0] for each in own.values()]
    found: dict[tuple[str, int], Evaluations] = {}
    for kind, portions in ((True, [*first, *rest]), (False, rest)):
        batch = [points for points in portions if points.asks[0].gradient is kind]
        told = together.evaluate(batch)
        found |= {(points.route, points.asks[0].nodes[0].index): e for points, e in zip(batch, told, strict=True)}
    for number in numbers:
        for points in route_of(alone, number, layer):
            assert_close(found[points.route, points.asks[0].nodes[0].index], alone.evaluate([points])[0])
        assert_same_vectors(together, alone, number)


class Failing(Skipping):
    """Runs out of memory in the backward pass number `at`, if it is over more than `most` rows; or raises `error`."""

    def __init__(self, most: int, at: int, error: type[Exception] = MemoryError) -> None:
        super().__init__(skip=True)
        self.most, self.at, self.error = most, at, error
        self.n_backwards = 0
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        out = super().forward(x)
        if out.requires_grad:
            n_rows, self.n_backwards = len(x), 0

            def count(gradient: Tensor) -> None:
                self.n_backwards += 1
                if n_rows > self.most and self.n_backwards == self.at:
                    raise self.error("no room")

            out.register_hook(count)
        return out


def points_of(name: str, n: int) -> list[Points]:
    return at(name, 1.0, *np.linspace(0, 0.9, n - 1).tolist(), first=1)


@pytest.mark.parametrize("at_backward", [1, 2])
@pytest.mark.parametrize("layer", [None, Layer("second", Quantity.CONDUCTANCE), Layer("act")])
def test_a_pass_that_ran_out_of_memory_is_done_in_parts_and_counts_nothing_twice(at_backward, layer):
    failing = TorchModel(Failing(most=5, at=at_backward).eval(), vector_info(3))
    fine = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    portions = [*points_of("p", 6), *points_of("q", 7)]
    for model in (failing, fine):
        for name in ("p", "q"):
            spec = {"targets": (LOGIT, Target()), "layer": layer, "observed": ("act",)}
            open_straight(model, name, EXAMPLE, BASELINE, **spec)
    for one, other in zip(failing.evaluate(portions), fine.evaluate(portions), strict=True):
        assert_close(one, other)
    for name, n in (("p", 6), ("q", 7)):
        for target in (0, 1):
            a, b = (model.attributions(name, target, dict.fromkeys(range(1, n + 1), 0.5)) for model in (failing, fine))
            for part, values in a.items():
                np.testing.assert_allclose(values, b[part], rtol=1e-4, atol=1e-6)
        one, other = failing.observations(name), fine.observations(name)
        assert [seen.node for seen in one] == [seen.node for seen in other]
        np.testing.assert_allclose([s.distances for s in one], [s.distances for s in other], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
@pytest.mark.parametrize("at_backward", [1, 2])
def test_points_that_failed_in_company_are_counted_once_when_they_are_tried_alone(error, at_backward):
    """As the engine does: of several jobs, whose pass raises, each is tried by itself."""
    module = Failing(most=7, at=at_backward, error=error).eval()
    failing = TorchModel(module, vector_info(3))
    fine = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    for model in (failing, fine):
        for name in ("p", "q"):
            spec = {"targets": (LOGIT, Target()), "observed": ("act",)}
            open_straight(model, name, EXAMPLE, BASELINE, **spec)
    if error is RuntimeError:
        with pytest.raises(RuntimeError, match="no room"):
            failing.evaluate([*points_of("p", 6), *points_of("q", 7)])
    for name, n in (("p", 6), ("q", 7)):
        assert_close(failing.evaluate(points_of(name, n))[0], fine.evaluate(points_of(name, n))[0])
        for target in (0, 1):
            weights = dict.fromkeys(range(1, n + 1), 0.5)
            a, b = (model.attributions(name, target, weights)["x"] for model in (failing, fine))
            np.testing.assert_allclose(a, b, rtol=1e-5)
        assert [seen.node for seen in failing.observations(name)] == list(range(1, n + 1))


def test_parts_of_a_pass_that_then_failed_are_counted_once_when_they_are_tried_alone():
    class Poisoned(Skipping):
        """Has room for 4 rows, and raises on a value above 100."""

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 4:
                raise torch.OutOfMemoryError("no room")
            if bool((x > 100).any()):
                raise ArithmeticError("more than a hundred")
            return super().forward(x)

    poisoned = TorchModel(Poisoned(skip=True).eval(), vector_info(3))
    fine = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    for model in (poisoned, fine):
        open_straight(model, "good", EXAMPLE, BASELINE)
    open_straight(poisoned, "bad", {"x": row(101, 0, 0)}, BASELINE)
    with pytest.raises(ArithmeticError):
        poisoned.evaluate([*points_of("good", 4), *at("bad", 1.0)])
    assert_close(poisoned.evaluate(points_of("good", 4))[0], fine.evaluate(points_of("good", 4))[0])
    weights = dict.fromkeys(range(1, 5), 0.5)
    a, b = (model.attributions("good", 0, weights)["x"] for model in (poisoned, fine))
    np.testing.assert_allclose(a, b, rtol=1e-5)


class Limited:
    """A function that runs out of memory at some of its calls, counted from 1, as an allocator does."""

    def __init__(self, function, *failing: int) -> None:
        self.function = function
        self.failing = failing
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls in self.failing:
            raise torch.OutOfMemoryError("no room")
        return self.function(*args, **kwargs)

    def __get__(self, instance, owner):
        return partial(self, instance)


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_vectors_that_found_no_room_are_not_counted_twice(failing, monkeypatch):
    models = [TorchModel(Skipping(skip=True).eval(), vector_info(3)) for _ in range(2)]
    found = []
    for number, model in enumerate(models):
        for name in ("p", "q"):
            open_straight(model, name, EXAMPLE, BASELINE, targets=(LOGIT, Target()), observed=("act",))
        with monkeypatch.context() as patch:
            limited = Limited(Tensor.clone, *((failing,) if number else ()))
            patch.setattr(Tensor, "clone", limited)
            found.append(model.evaluate([*points_of("p", 6), *points_of("q", 7)]))
        assert limited.calls > 3
    for one, other in zip(*found, strict=True):
        assert_close(one, other)
    for name, n in (("p", 6), ("q", 7)):
        assert [seen.node for seen in models[1].observations(name)] == list(range(1, n + 1))
        for target in (0, 1):
            a, b = (each.attributions(name, target, dict.fromkeys(range(1, n + 1), 0.5))["x"] for each in models)
            np.testing.assert_allclose(a, b, rtol=1e-5)


SOME = dict.fromkeys((2, 3), 0.25)
ALL = {**SOME, 4: 0.5}


@pytest.mark.parametrize("what", ["sums", "add", "drop"])
def test_sums_that_found_no_room_are_taken_once_more(what, monkeypatch):
    model = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    open_straight(model, "p", EXAMPLE, BASELINE)
    model.evaluate(points_of("p", 6))
    expected = model.attributions("p", 0, ALL)["x"]
    monkeypatch.setattr(Vectors, what, Limited(getattr(Vectors, what), 1))
    model.seal("p", Seal((SOME,), (None,), (2, 3)))
    np.testing.assert_allclose(model.attributions("p", 0, ALL)["x"], expected)


@pytest.mark.parametrize("what", ["sums", "add", "drop"])
def test_sums_that_never_find_room_end_with_that_reason(what, monkeypatch):
    model = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    open_straight(model, "p", EXAMPLE, BASELINE)
    model.evaluate(points_of("p", 6))
    monkeypatch.setattr(Vectors, what, Limited(getattr(Vectors, what), 1, 2))
    with pytest.raises(OutOfMemory, match="worker with more memory"):
        model.attributions("p", 0, ALL) if what == "sums" else model.seal("p", Seal((SOME,), (None,), (2, 3)))


class Greedy(Skipping):
    """One row of it, of large numbers, fits no memory; of a layer's passes, no more than `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(skip=True)
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        if bool((x.detach().abs() > 50).any()) or (len(x) > self.most and self.second._forward_hooks):
            raise MemoryError("no room")
        return super().forward(x)


def test_a_point_that_fits_no_pass_makes_none_smaller_for_others():
    model = TorchModel(Greedy(most=10**9).eval(), vector_info(3), sizes=64)
    open_straight(model, "p", EXAMPLE, BASELINE, targets=(LOGIT,))
    open_straight(model, "q", {"x": row(99, 99, 99)}, BASELINE, targets=(LOGIT,))
    with pytest.raises(OutOfMemory):
        model.evaluate([*points_of("p", 6), *points_of("q", 7)])
    assert model.max_points == model.pass_points(model.lane(RouteSpec(EXAMPLE, (LOGIT,)))) == 64


def test_what_a_layers_passes_take_says_nothing_of_others():
    model = TorchModel(Greedy(most=4).eval(), vector_info(3), sizes=64)
    layer = Layer("second", Quantity.CONDUCTANCE)
    open_straight(model, "p", EXAMPLE, BASELINE, targets=(LOGIT,), layer=layer)
    model.evaluate(points_of("p", 12))
    plain, of_layer = (model.lane(RouteSpec(EXAMPLE, (LOGIT,), each)) for each in (None, layer))
    assert (model.pass_points(plain), model.pass_points(of_layer)) == (64, 3)
