"""Comparators on small nets whose answers are known, or are Captum's own when called by hand."""

import numpy as np
import pytest
import torch
from attributor.errors import ModelError, NonFiniteScore, UnsupportedByModel
from attributor.jobs.explanation import COMPARATORS, Method, Target, Term
from attributor.jobs.model import InputKind, InputSpec, OutputKind, OutputScale
from captum.attr import Deconvolution, DeepLift, GuidedBackprop, Occlusion
from loaded import LOGIT, explained, floats, from_here, loaded, row
from torch import nn
from torch.nn import functional

X = floats(1.0, -2.0, 0.5)
PERTURBING = (Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME)
PROPAGATING = tuple(sorted(COMPARATORS - set(PERTURBING)))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def mlp(n_in: int = 3, n_out: int = 2) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, n_out))


def codes(result) -> list[str]:
    return [warning.code for warning in result.warnings]


class Weighted(nn.Module):
    """2 x1 - x2 + 3 x3 + 1 and its negative."""

    def forward(self, x):
        score = 2 * x[:, 0] - x[:, 1] + 3 * x[:, 2] + 1
        return torch.stack([score, -score], dim=1)


@pytest.mark.parametrize("method", PERTURBING)
def test_a_linear_model_gets_its_weights_times_the_differences(method):
    options = {} if method is Method.OCCLUSION else {"samples": 400}
    (result,) = explained(loaded(Weighted(), row(3)), method, X, options=options)
    # LIME's ridge regression shrinks.
    assert np.allclose(result.attributions["x"], [2.0, 2.0, 1.5], rtol=0.05 if method is Method.LIME else 1e-4)
    assert (result.score, result.baseline_score) == (6.5, 1.0)
    assert (result.method, result.completeness_error, result.backwards) == (method, None, 0)
    assert result.completeness_reason
    assert result.forwards == {Method.OCCLUSION: 7}.get(method, 403), "at x three times, else as many as samples"


def test_deep_lift_adds_up_on_a_net_of_modules():
    (result,) = explained(loaded(mlp(), row(3)), Method.DEEP_LIFT, X)
    assert result.completeness_reason is None
    assert result.completeness_error < 1e-5
    assert result.completeness_error == abs(result.attribution_sum - (result.score - result.baseline_score))
    assert abs(result.score - result.baseline_score) > 0.01
    assert (result.evaluations, result.converged, result.rule, result.nodes) == (2, None, None, None)
    assert codes(result).count("functional_activations_not_covered") == 0


@pytest.mark.parametrize(
    ("method", "captums"),
    [
        (Method.DEEP_LIFT, DeepLift),
        (Method.GUIDED_BACKPROPAGATION, GuidedBackprop),
        (Method.DECONVOLUTION, Deconvolution),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_answer_is_captums(method, captums):
    (result,) = explained(loaded(mlp(), row(3)), method, X, targets=(Target((Term(1),), scale=OutputScale.LOGIT),))
    net = mlp().eval()
    expected = captums(net).attribute(torch.tensor(X["x"])[None].requires_grad_(), target=1)
    assert np.allclose(result.attributions["x"], expected[0].detach().numpy(), atol=1e-6)
    assert result.attributions["x"].dtype == np.float32


def test_occlusion_of_an_image_takes_windows_of_all_channels():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 4, 2))
    image = np.random.default_rng(0).random((2, 5, 4), np.float32)
    declared = InputSpec("x", InputKind.IMAGE, (2, 5, 4), value_range=(0.0, 1.0))
    asked = {"options": {"window": 3, "stride": 2}, "targets": (Target((Term(0),), scale=OutputScale.LOGIT),)}
    (result,) = explained(loaded(net, declared), Method.OCCLUSION, {"x": image}, **asked)
    expected = Occlusion(net).attribute(torch.tensor(image)[None], (2, 3, 3), strides=(2, 2, 2), target=0)
    assert np.allclose(result.attributions["x"], expected[0].detach().numpy(), atol=1e-6)


def test_relevance_is_conserved_where_biases_pass_it_on():
    net = mlp()
    (spread,) = explained(loaded(net, row(3)), Method.LRP, X, options={"spread_bias": 1})
    (kept,) = explained(loaded(net, row(3)), Method.LRP, X)
    assert spread.attribution_sum == pytest.approx(spread.score, rel=1e-4)
    assert abs(kept.attribution_sum - kept.score) > 0.01 * abs(kept.score)
    assert (kept.baseline_score, kept.baseline, kept.baselines) == (None, None, ())


@pytest.mark.parametrize("method", sorted(COMPARATORS))
def test_every_target_of_every_input_is_answered(method):
    difference = Target((Term(0), Term(1, -1.0)), scale=OutputScale.LOGIT)
    model = loaded(mlp(n_out=3), row(3), labels=("a", "b", "c"))
    results = explained(model, method, X, floats(0.3, 0.1, 2.0), targets=(Target(rank=1), difference))
    assert [result.input for result in results] == [0, 0, 1, 1]
    assert [result.target.label for result in results[1::2]] == ["a - b", "a - b"]
    with torch.no_grad():
        outputs = model.module(torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, 2.0]]))
    scales = outputs.softmax(1) if method in PERTURBING else outputs
    for i in (0, 1):
        second = int(outputs[i].argsort(descending=True)[1])
        assert results[2 * i].target.terms == (Term(second),)
        assert results[2 * i].score == pytest.approx(float(scales[i, second]), abs=1e-6)
        assert results[2 * i + 1].score == pytest.approx(float(outputs[i, 0] - outputs[i, 1]), abs=1e-6)
    if method in PROPAGATING:
        assert results[0].target.scale is OutputScale.LOGIT
        assert "explains_logit" in codes(results[0])
    assert "explains_logit" not in codes(results[1])


@pytest.mark.parametrize("method", [Method.DEEP_LIFT, Method.OCCLUSION])
def test_several_baselines_are_averaged_and_their_spread_is_told(method):
    model = loaded(mlp(), row(3))
    baselines = (from_here("zero", x=np.zeros(3, np.float32)), from_here("one", x=np.ones(3, np.float32)))
    alone = [explained(model, method, X, baselines=(each,))[0] for each in baselines]
    (both,) = explained(model, method, X, baselines=baselines)
    vectors = np.array([each.attributions["x"] for each in alone])
    assert np.allclose(both.attributions["x"], vectors.mean(0), atol=1e-6)
    assert np.allclose(both.spread["x"], vectors.std(0, ddof=1), atol=1e-6)
    assert both.baseline_score == pytest.approx(np.mean([each.baseline_score for each in alone]))
    assert [line.name for line in both.baselines] == ["zero", "one"]
    assert (both.baselines[0].completeness_error is None) == (method is Method.OCCLUSION)


@pytest.mark.parametrize("method", [Method.KERNEL_SHAP, Method.LIME])
def test_a_seed_fixes_the_samples(method):
    model, asked = loaded(mlp(), row(3)), {"options": {"samples": 5}}
    first, again, other = (explained(model, method, X, seed=seed, **asked)[0] for seed in (4, 4, 5))
    assert np.array_equal(first.attributions["x"], again.attributions["x"])
    assert not np.array_equal(first.attributions["x"], other.attributions["x"])
    assert (first.seed, other.seed) == (4, 5)


def test_kernel_shap_shares_a_patch_evenly_so_that_all_adds_up():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.ReLU(), nn.Linear(8, 2))
    image = np.random.default_rng(1).random((2, 3, 3), np.float32)
    declared = InputSpec("x", InputKind.IMAGE, (2, 3, 3), value_range=(0.0, 1.0))
    (result,) = explained(loaded(net, declared), Method.KERNEL_SHAP, {"x": image}, options={"window": 2})
    assert result.attribution_sum == pytest.approx(result.score - result.baseline_score, abs=1e-3)
    values = result.attributions["x"]
    assert len(np.unique(values)) == 4
    assert np.ptp(values[:, :2, :2]) == 0


@pytest.mark.parametrize("method", sorted(COMPARATORS))
def test_an_input_that_is_not_attributed_is_held(method):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, mask, x):
            return self.net(x * mask)

    mask = InputSpec("mask", InputKind.TENSOR, (3,), attributed=False)
    model = loaded(Masked(), mask, row(3))
    (result,) = explained(model, method, {"mask": np.array([1, 0, 1], np.float32), **X})
    assert set(result.attributions) == {"x"}
    assert result.attributions["x"][1] == pytest.approx(0.0, abs=1e-4)
    assert abs(result.attributions["x"][0]) > 1e-3


def test_a_sequence_is_read_at_its_position():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 15), nn.Unflatten(1, (5, 3)))
    model = loaded(net, row(4), labels=("a", "b", "c"), kind=OutputKind.SEQUENCE, positions=5)
    target = Target((Term(2),), position=-2, scale=OutputScale.LOGIT)
    (result,) = explained(model, Method.DEEP_LIFT, floats(1, 2, 3, 4), targets=(target,))
    with torch.no_grad():
        expected = float(net(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))[0, 3, 2])
    assert (result.target.position, result.score) == (3, pytest.approx(expected))
    assert result.completeness_error < 1e-5


class Bag(nn.Module):
    """The sum of the tokens' embeddings, which are (id, -id)."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 2)
        self.embedding.weight.data = torch.stack([torch.arange(10.0), -torch.arange(10.0)], dim=1)

    def forward(self, ids):
        return self.embedding(ids).sum(1)


TOKENS = InputSpec("ids", InputKind.TOKENS, (3,), vocabulary=10, embedding="embedding", pad_id=0)
IDS = {"ids": np.array([3, 1, 5], np.int64)}


@pytest.mark.parametrize(("absent", "expected"), [(0, (3, 1, 5)), (1, (2, 0, 4)), (-1, (3, 1, 5))])
def test_tokens_are_taken_away_one_by_one(absent, expected):
    """Also for no token at all, whose embedding is zero."""
    baseline = from_here("absent", ids=np.full(3, absent, np.int64))
    asked = {"baselines": (baseline,), "targets": (Target((Term(0),), scale=OutputScale.LOGIT),)}
    (result,) = explained(loaded(Bag(), TOKENS), Method.OCCLUSION, IDS, **asked)
    assert np.allclose(result.attributions["ids"], expected)
    (result,) = explained(loaded(Bag(), TOKENS), Method.KERNEL_SHAP, IDS, **asked)
    assert np.allclose(result.attributions["ids"], expected, atol=1e-3)


@pytest.mark.parametrize("method", PROPAGATING)
def test_methods_with_gradients_refuse_tokens(method):
    with pytest.raises(UnsupportedByModel, match="token ids"):
        explained(loaded(Bag(), TOKENS), method, IDS)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(functional.relu(self.first(x)))


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last, self.relu = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 2), nn.ReLU()

    def forward(self, x):
        return self.last(self.relu(self.second(self.relu(self.first(x)))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(x + self.relu(self.first(x)))


@pytest.mark.parametrize("method", PROPAGATING)
def test_functional_activations_are_said_to_be_left_out(method):
    (result,) = explained(loaded(Functional(), row(3)), method, X)
    (warning,) = [each for each in result.warnings if each.code == "functional_activations_not_covered"]
    assert "relu" in warning.message
    (result,) = explained(loaded(mlp(), row(3)), method, X)
    assert "functional_activations_not_covered" not in codes(result)


def test_a_functional_activation_shows_in_the_gap_of_deep_lift():
    (result,) = explained(loaded(Functional(), row(3)), Method.DEEP_LIFT, floats(1.0, -3.0, 2.0))
    assert result.completeness_error > 0.01


def test_where_two_activations_meet_lrp_has_no_rule():
    (result,) = explained(loaded(Residual(), row(3)), Method.LRP, X)
    assert "functional_activations_not_covered" in codes(result)
    (result,) = explained(loaded(Residual(), row(3)), Method.DEEP_LIFT, X)
    assert "functional_activations_not_covered" not in codes(result)
    assert result.completeness_error < 1e-5


@pytest.mark.parametrize("method", [Method.DEEP_LIFT, Method.LRP])
def test_a_module_that_runs_twice_is_refused_by_name(method):
    with pytest.raises(UnsupportedByModel, match="relu runs more than once"):
        explained(loaded(Reused(), row(3)), method, X)


@pytest.mark.parametrize("method", [Method.GUIDED_BACKPROPAGATION, Method.DECONVOLUTION])
def test_a_relu_may_run_twice_where_it_does_no_harm(method):
    (result,) = explained(loaded(Reused(), row(3)), method, X)
    assert np.abs(result.attributions["x"]).max() > 0


@pytest.mark.parametrize("method", PROPAGATING)
def test_activations_that_work_in_place_make_no_difference(method):
    def net(*, inplace: bool) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace), nn.Linear(8, 2))

    (plain,) = explained(loaded(net(inplace=False), row(3)), method, X)
    (in_place,) = explained(loaded(net(inplace=True), row(3)), method, X)
    assert np.array_equal(plain.attributions["x"], in_place.attributions["x"])


def test_lrp_names_the_module_that_has_no_rule():
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
    with pytest.raises(UnsupportedByModel, match=r"module\.1 \(GELU\)"):
        explained(loaded(net, row(3)), Method.LRP, X)


def test_kernel_shap_of_one_feature_is_refused():
    with pytest.raises(UnsupportedByModel, match="one only"):
        explained(loaded(nn.Linear(1, 2), row(1)), Method.KERNEL_SHAP, floats(1.0))


def test_a_model_that_raises_is_told_from_a_defect():
    class Raises(nn.Module):
        def forward(self, x):
            raise RuntimeError("more than a hundred")

    with pytest.raises(ModelError, match="more than a hundred"):
        explained(loaded(Raises(), row(3)), Method.OCCLUSION, X)


def test_a_score_that_is_no_number_fails():
    class NotANumber(nn.Module):
        def forward(self, x):
            return x[:, :2] / 0.0 * 0.0

    with pytest.raises(NonFiniteScore):
        explained(loaded(NotANumber(), row(3)), Method.OCCLUSION, X, targets=(LOGIT,))
