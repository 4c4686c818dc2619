from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from attributor.jobs.job import Target
from attributor.jobs.model import Baseline, InputKind, InputSpec, ModelInfo, OutputScale, OutputSpec
from attributor.ports import Evaluation, PathSpec, Point
from attributor.registry.catalog import FolderCatalog
from attributor.registry.loader import load_module
from attributor.registry.probe import probe_rows
from attributor.runtimes.torch_runtime import TorchModel, configure_threads
from torch import Tensor, nn

configure_threads()

MODELS = Path(__file__).parents[3] / "models"
LOGIT = Target(0, OutputScale.LOGIT)


class Formula(nn.Module):
    """A model of one class whose logit is a formula of a row's two values; counts and records its passes."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula
        self.batches: list[Tensor] = []
        self.grad_modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(x.detach().clone())
        self.grad_modes.append(torch.is_grad_enabled())
        return self.formula(x[:, 0], x[:, 1])[:, None]


class TwoClasses(nn.Module):
    """Two logits, trainable: a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.linear.load_state_dict({"weight": torch.tensor([[2.0, -1.0], [0.5, 3.0]]), "bias": torch.zeros(2)})

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def info(n_labels: int = 1, shape: tuple[int, ...] = (2,)) -> ModelInfo:
    spec = InputSpec("x", InputKind.TENSOR, shape)
    baseline = Baseline("zero", "", {"x": np.zeros(shape, np.float32)})
    labels = tuple(str(index) for index in range(n_labels))
    return ModelInfo("net", "1", "", "", "", "", "", (spec,), OutputSpec("logits", labels), {"zero": baseline}, "zero")


def path(*example: float, baseline: tuple[float, ...] | None = (0.0, 0.0), target: Target = LOGIT) -> PathSpec:
    start = None if baseline is None else {"x": np.array(baseline, np.float32)}
    return PathSpec({"x": np.array(example, np.float32)}, start, target)


def at(name: str, *alphas: float, gradient: bool = True) -> list[Point]:
    return [Point(name, node, alpha, gradient) for node, alpha in enumerate(alphas)]


def midpoint_attributions(model: TorchModel, spec: PathSpec, n: int = 1000) -> np.ndarray:
    """Integrated gradients by the midpoint rule: exact to about 1 / n for one kink."""
    model.open("p", spec)
    model.evaluate(at("p", *((np.arange(n) + 0.5) / n)))
    attributions = model.attributions("p", dict.fromkeys(range(n), 1 / n))["x"]
    model.close("p")
    return attributions


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
    attributions = midpoint_attributions(TorchModel(Formula(formula), info()), path(*example))
    assert attributions.dtype == np.float64
    np.testing.assert_allclose(attributions, exact, atol=2e-3, err_msg=name)


def test_score_and_slope_at_a_point():
    model = TorchModel(Formula(lambda a, b: a**2 + 3 * b), info())
    model.open("p", path(3.0, 1.0, baseline=(1.0, 1.0)))
    # At alpha 1/2 the point is (2, 1), the gradient (4, 3), and gamma' (2, 0).
    assert model.evaluate(at("p", 0.5)) == [Evaluation(7.0, 8.0)]


def test_the_ends_of_the_path_are_evaluated_exactly():
    module = Formula(lambda a, b: a + b)
    model = TorchModel(module, info())
    ends = (np.random.default_rng(0).normal(size=(2, 2)) * [[1e4], [1e-4]]).astype(np.float32)
    model.open("p", path(*ends[1], baseline=tuple(ends[0])))
    model.evaluate(at("p", 0.0, 1.0))
    np.testing.assert_array_equal(module.batches[0], ends)


def test_one_pass_serves_all_paths_and_points():
    module = Formula(lambda a, b: a + b)
    model = TorchModel(module, info())
    model.open("p", path(1.0, 2.0))
    model.open("q", path(3.0, 4.0))
    model.evaluate([*at("p", 0.0, 0.5, 1.0), *at("q", 0.0, 1.0, gradient=False)])
    assert [len(batch) for batch in module.batches] == [5]


def test_a_batch_without_gradients_runs_without_a_graph():
    module = Formula(lambda a, b: a + b)
    model = TorchModel(module, info())
    model.open("p", path(1.0, 2.0))
    assert model.evaluate(at("p", 0.0, 1.0, gradient=False)) == [Evaluation(0.0, None), Evaluation(3.0, None)]
    model.evaluate(at("p", 1.0))
    assert module.grad_modes == [False, True]
    assert torch.is_grad_enabled()


def test_points_with_and_without_gradient_share_a_pass():
    model = TorchModel(Formula(lambda a, b: a * b), info())
    model.open("p", path(1.0, 2.0))
    points = [Point("p", 0, 0.0, gradient=False), Point("p", 1, 0.5, gradient=True), Point("p", 2, 1.0, gradient=False)]
    assert [evaluation.slope for evaluation in model.evaluate(points)] == [None, 2.0, None]
    with pytest.raises(RuntimeError, match=r"no vectors at nodes \[0, 2\]"):
        model.attributions("p", {0: 0.5, 1: 1.0, 2: 0.5})


def test_no_parameter_gets_a_gradient():
    module = TwoClasses()
    model = TorchModel(module, info(2))
    model.open("p", path(1.0, 2.0))
    model.evaluate(at("p", 0.5, 1.0))
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("scale", list(OutputScale))
def test_the_class_and_its_scale_are_read_from_the_target(scale):
    model = TorchModel(TwoClasses(), info(2))
    model.open("p", path(1.0, 1.0, target=Target(0, scale)))
    (evaluation,) = model.evaluate(at("p", 1.0))
    logits = torch.tensor([1.0, 3.5], dtype=torch.float64)
    by_scale = {
        OutputScale.LOGIT: logits,
        OutputScale.PROBABILITY: logits.softmax(0),
        OutputScale.LOG_PROBABILITY: logits.log_softmax(0),
    }
    assert evaluation.score == pytest.approx(by_scale[scale][0].item(), rel=1e-12)


def test_an_open_target_is_the_class_predicted_at_the_example_and_stays_it():
    model = TorchModel(TwoClasses(), info(2))
    spec = path(1.0, 1.0, baseline=(5.0, 0.0), target=Target(None, OutputScale.LOGIT))
    model.open("p", spec)
    # At the baseline class 0 wins, 10 to 2.5; at the example class 1, 3.5 to 1.
    first = model.evaluate(at("p", 0.0, 1.0))
    assert [evaluation.score for evaluation in first] == [2.5, 3.5]
    assert model.target_class("p") == (1, True)
    assert model.evaluate([Point("p", 2, 0.0, gradient=False)])[0].score == 2.5


def test_a_given_class_may_be_another_than_the_predicted_one():
    model = TorchModel(TwoClasses(), info(2))
    model.open("p", path(1.0, 1.0))
    model.evaluate(at("p", 1.0))
    assert model.target_class("p") == (0, False)
    np.testing.assert_array_equal(model.outputs("p"), np.array([1.0, 3.5], np.float32))


def test_an_open_target_before_its_example_is_a_bug():
    model = TorchModel(TwoClasses(), info(2))
    model.open("p", path(1.0, 1.0, target=Target()))
    with pytest.raises(RuntimeError, match=r"'p' was not evaluated at alpha 1\. This is a bug\."):
        model.evaluate(at("p", 0.5))


def test_a_prediction_needs_no_baseline():
    model = TorchModel(TwoClasses(), info(2))
    model.open("p", path(1.0, 1.0, baseline=None, target=Target()))
    model.evaluate(at("p", 1.0, gradient=False))
    assert model.outputs("p").tolist() == [1.0, 3.5]


@pytest.mark.parametrize("formula", [lambda a, b: a / 0, lambda a, b: a.sqrt() + b, lambda a, b: (a - 1).log() + b])
def test_a_row_that_is_not_finite_is_reported_and_leaves_the_others_alone(formula):
    model = TorchModel(Formula(lambda a, b: torch.where(b == 0, formula(a, b), a + b)), info())
    model.open("bad", path(1.0, 0.0))
    model.open("good", path(2.0, 3.0))
    bad, good = model.evaluate([Point("bad", 0, 0.0, gradient=True), Point("good", 0, 1.0, gradient=True)])
    assert not (np.isfinite(bad.score) and np.isfinite(bad.slope))
    assert good.score == 5.0


def test_what_the_model_raises_comes_through():
    def fails(a: Tensor, b: Tensor) -> Tensor:
        raise ArithmeticError("from the model")

    model = TorchModel(Formula(fails), info())
    model.open("p", path(1.0, 1.0))
    with pytest.raises(ArithmeticError, match="from the model"):
        model.evaluate(at("p", 1.0))


def test_paths_that_are_unknown_open_twice_or_closed_are_bugs():
    model = TorchModel(TwoClasses(), info(2))
    model.open("p", path(1.0, 1.0))
    with pytest.raises(RuntimeError, match="already open"):
        model.open("p", path(1.0, 1.0))
    with pytest.raises(ValueError, match="no class 2"):
        model.open("q", path(1.0, 1.0, target=Target(2)))
    model.close("p")
    for use in (model.close, model.outputs, model.target_class, lambda p: model.evaluate(at(p, 1.0))):
        with pytest.raises(RuntimeError, match="'p' is not open"):
            use("p")


def test_a_path_opened_again_starts_afresh():
    model = TorchModel(TwoClasses(), info(2))
    model.open("p", path(1.0, 1.0))
    model.evaluate(at("p", 1.0))
    model.close("p")
    model.open("p", path(2.0, 2.0))
    with pytest.raises(RuntimeError, match="no vectors"):
        model.attributions("p", {0: 1.0})


def test_nothing_to_evaluate_is_no_pass():
    module = Formula(lambda a, b: a)
    assert TorchModel(module, info()).evaluate([]) == []
    assert module.batches == []


def test_vectors_of_one_path_do_not_keep_those_of_others():
    model = TorchModel(TwoClasses(), info(2))
    names = [f"p{index}" for index in range(50)]
    for name in names:
        model.open(name, path(1.0, 2.0))
    model.evaluate([point for name in names for point in at(name, 0.5)])
    (vector,) = model._paths["p0"]._vectors.values()
    assert vector.untyped_storage().nbytes() == vector.numel() * vector.element_size()


def test_a_model_with_two_inputs_is_refused():
    two = (InputSpec("x", InputKind.TENSOR, (2,)), InputSpec("y", InputKind.TENSOR, (2,)))
    with pytest.raises(ValueError, match="takes models with one"):
        TorchModel(TwoClasses(), replace(info(), inputs=two))


@pytest.mark.parametrize("name", ["breast-cancer", "digits"])
def test_a_batch_of_mixed_paths_gives_what_each_path_gives_alone(name):
    bundle = FolderCatalog(MODELS).bundle(name)
    (spec,) = bundle.info.inputs
    baselines = list(bundle.info.baselines.values())
    rng = np.random.default_rng(0)
    specs = {
        f"{row}-{baseline.name}-{scale}": PathSpec({spec.name: example.numpy()}, baseline.tensors, Target(None, scale))
        for row, example in enumerate(probe_rows(bundle.info))
        for baseline in baselines
        for scale in OutputScale
    }
    n_nodes = 9
    weights = dict(enumerate(rng.uniform(size=n_nodes)))
    points = [Point(path, node, 1 - node / n_nodes, True) for path in specs for node in range(n_nodes)]
    together = TorchModel(load_module(bundle), bundle.info)
    for path_name, path_spec in specs.items():
        together.open(path_name, path_spec)
    first = [point for point in points if point.node == 0]
    rest = [point for point in points if point.node != 0]
    rng.shuffle(rest)
    mixed = dict(zip([*first, *rest], together.evaluate([*first, *rest]), strict=True))

    alone = TorchModel(load_module(bundle), bundle.info)
    for path_name, path_spec in specs.items():
        alone.open(path_name, path_spec)
        own = [point for point in points if point.path == path_name]
        for point, evaluation in zip(own, alone.evaluate(own), strict=True):
            assert mixed[point].score == pytest.approx(evaluation.score, rel=1e-5, abs=1e-6)
        a = together.attributions(path_name, weights)[spec.name]
        b = alone.attributions(path_name, weights)[spec.name]
        assert np.abs(a - b).sum() <= 1e-5 * np.abs(b).sum()
        assert together.target_class(path_name) == alone.target_class(path_name)
