"""Models of other kinds behind the runtime: examples of any length, probabilities, and nets without gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Layer, Method, Saturation, Target, Term
from attributor.jobs.job import Failure
from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, OutputKind, OutputScale
from attributor.model_port import CurveSpec, RouteSpec
from attributor.runtimes.network import Network
from attributor.runtimes.torch_runtime import TorchModel
from modules import at
from nets_of_text import ENCODER_INFO, IDS, VOCABULARY, Encoder, text
from torch import Tensor, nn
from torch_engine import CLOSE, baseline, explained, off, outcome
from torch_nets import classes_of, described, mlp, normal, settled

LOG_PROBABILITY = Target((Term(0),), scale=OutputScale.LOG_PROBABILITY)


def test_lanes_and_spaces_are_of_one_length_and_go_with_their_last_route():
    model = TorchModel(Encoder(), ENCODER_INFO)
    specs = [RouteSpec(text(*ids), (Target(),)) for ids in ((1, 2), (3, 4), (5, 6, 7))]
    assert model.lane(specs[0]) == model.lane(specs[1]) != model.lane(specs[2])
    for number, spec in enumerate(specs):
        model.open(str(number), spec)
    model.open("layer", replace(specs[0], layer=Layer("layer")))
    assert [lengths for *_, lengths in model._spaces._known] == [(2, 2), (3, 3), (2, 2)]
    for name in ("0", "layer", "2", "1"):
        model.close(name)
    assert model._spaces._known == {}


class Shifted(nn.Module):
    """Looks its ids up one row further: the embedding, called with the ids, says something else than in a pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(VOCABULARY + 1, 4), nn.Linear(4, 2)
        settled(self)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids + 1).tanh().mean(1))


class Tapped(Shifted):
    """Its layer `embed` is a place that the embedding passes through, as a tensor of a graph has it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.embed = self.embed, nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(self.table(ids + 1)).tanh().mean(1))


@pytest.mark.parametrize("kind", [Shifted, Tapped])
def test_an_embedding_that_is_not_called_with_the_ids_is_found_by_a_pass(kind):
    module = kind()
    table = module.table if kind is Tapped else module.embed
    network = Network(module, described(IDS), torch.device("cpu"))
    found = network.embedded("ids", {"ids": np.array([3, NO_TOKEN, 0])})
    assert torch.equal(found, torch.stack([table.weight[4], torch.zeros(4), table.weight[1]]))
    assert network.embedding_shape("ids", 3) == (3, 4)


# Outputs that are probabilities.

VOTES = replace(classes_of(3), output=replace(classes_of(3).output, kind=OutputKind.PROBABILITIES))
X = {"x": normal(5, 3)}


@pytest.mark.parametrize("scale", [OutputScale.PROBABILITY, OutputScale.LOG_PROBABILITY])
def test_probabilities_are_explained_as_the_logits_before_them(scale):
    net = mlp(1, (3, 6, 2))
    asked = {"quadrature": CLOSE, "targets": (Target((Term(1),), scale=scale),)}
    votes = explained(nn.Sequential(net, nn.Softmax(1)).eval(), VOTES, X, **asked)
    logits = explained(net, classes_of(3), X, **asked)
    assert votes.target.scale is scale
    assert votes.score == pytest.approx(logits.score, rel=1e-5)
    assert off(votes.attributions["x"], logits.attributions["x"]) < 1e-3


def test_of_probabilities_no_logit_is_explained():
    found = outcome(nn.Softmax(1).eval(), classes_and_votes(), X, targets=(Target(scale=OutputScale.LOGIT),))
    assert isinstance(found, Failure)
    assert "read them on the scale probability or log_probability" in found.detail


def classes_and_votes():
    return replace(VOTES, output=replace(VOTES.output, labels=("a", "b", "c")))


def test_saturation_of_probabilities_shows_their_logarithm_also_at_zero():
    class Step(nn.Module):
        """The first of two is certain from 1 on, and impossible at 0."""

        def forward(self, x: Tensor) -> Tensor:
            first = x[:, :1].clamp(0, 1)
            return torch.cat([first, 1 - first], 1)

    info = replace(VOTES, inputs=(InputSpec("x", InputKind.TENSOR, (1,)),))
    result = explained(
        Step(),
        info,
        {"x": np.array([0.5], np.float32)},
        targets=(Target((Term(0),)),),
        saturation=Saturation((0.0, 1.0)),
    )
    assert result.saturation.probability[0] == 0
    assert result.saturation.logit[0] == pytest.approx(np.log(np.finfo(np.float32).tiny))
    assert result.saturation.logit[-1] == pytest.approx(np.log(0.5))


# Nets without gradients.


class Trees(nn.Module):
    """A vote of three stumps, computed by numpy, as another runtime would."""

    def forward(self, x: Tensor) -> Tensor:
        votes = (x.detach().cpu().numpy() > np.array([0.0, 0.5, -0.5])).mean(1)
        return torch.from_numpy(np.stack([votes, 1 - votes], 1).astype(np.float32))


STUMPS = replace(VOTES, gradients=False)
ZERO = {"x": np.zeros(3, np.float32)}


@pytest.mark.parametrize(
    "method", [Method.INTEGRATED_GRADIENTS, Method.EXPECTED_GRADIENTS, Method.SALIENCY, Method.GRADIENT_X_INPUT]
)
def test_what_needs_gradients_is_refused_where_there_are_none(method):
    found = outcome(Trees(), STUMPS, X, method=method)
    assert isinstance(found, Failure)
    assert found.code == "unsupported_by_model"
    assert "explained by shapley, occlusion, kernel_shap, lime" in found.detail


def test_shapley_values_need_none():
    result = explained(
        Trees(), STUMPS, {"x": np.array([1, 1, 1], np.float32)}, method=Method.SHAPLEY, samples=4,
        baselines=(baseline(x=np.full(3, -1, np.float32)),), targets=(Target((Term(0),)),),
    )  # fmt: skip
    np.testing.assert_allclose(result.attributions["x"], [1 / 3] * 3, rtol=1e-6)
    assert (result.evaluations, result.backwards) == (0, 0)


def test_a_gradient_that_is_asked_for_all_the_same_is_refused_by_the_runtime():
    model = TorchModel(Trees(), STUMPS)
    model.open("p", RouteSpec(X, (Target(),)))
    model.add_curve("p", CurveSpec(ZERO, X))
    assert np.isnan(model.evaluate(at("p", 1.0, gradient=False))[0].slopes).all()
    with pytest.raises(UnsupportedByModel, match="cannot be differentiated") as refused:
        model.evaluate(at("p", 1.0))
    assert refused.value.field == "method"
