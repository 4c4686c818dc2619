import numpy as np
import pytest
import torch
from attributor.errors import UnknownLayer
from attributor.jobs.explanation import Layer, Quantity, Target, Term
from attributor.jobs.model import OutputKind, OutputScale
from attributor.model_port import RouteSpec
from attributor.runtimes.torch_runtime import TorchModel
from modules import Skipping, at, evaluated, open_straight, row, vector_info
from torch import Tensor, nn

EXAMPLE, BASELINE = row(1, -2, 0.5), row(0, 0, 0)


@pytest.mark.parametrize("layer", [None, Layer("second", Quantity.CONDUCTANCE), Layer("second", Quantity.INFLUENCE)])
def test_every_point_is_seen_on_both_scales_and_in_all_layers(layer):
    module = Skipping(skip=False).eval()
    model = TorchModel(module, vector_info(3))
    target = Target((Term(1), Term(0, -1.0)), scale=OutputScale.LOGIT)
    open_straight(
        model, "p", {"x": EXAMPLE}, {"x": BASELINE}, targets=(target,), observed=("first", "act"), layer=layer
    )
    evaluated(model, "p", [0.0, 0.25])
    found = model.observations("p")
    assert [observation.node for observation in found] == [0, 1, 2]
    assert found[0].distances == ((0.0, 0.0), (0.0, 0.0))
    with torch.no_grad():
        x, point = torch.tensor(EXAMPLE)[None], torch.tensor(EXAMPLE * 0.25)[None]
        logits = module(point)[0].double()
        assert found[2].logit == pytest.approx(float(logits[1] - logits[0]), rel=1e-6)
        assert found[2].probability == pytest.approx(float(logits.softmax(0)[1] - logits.softmax(0)[0]), rel=1e-6)
        here, there = module.act(module.first(point)), module.act(module.first(x))
        l2, turned = found[2].distances[1]
        assert l2 == pytest.approx(float((here - there).norm()), rel=1e-6)
        assert turned == pytest.approx(1 - float(torch.cosine_similarity(here, there)), rel=1e-4)


def test_with_no_layers_only_scores_are_kept_and_unobserved_routes_keep_nothing():
    model = TorchModel(Skipping(skip=False), vector_info(3, kind=OutputKind.VALUES))
    open_straight(model, "seen", {"x": EXAMPLE}, {"x": BASELINE}, observed=())
    open_straight(model, "unseen", {"x": EXAMPLE}, {"x": BASELINE})
    _, found = model.evaluate([*at("unseen", 1.0, gradient=False), *at("seen", 1.0, 0.5, gradient=False)])
    assert model.observations("unseen") == ()
    first, second = model.observations("seen")
    assert (first.probability, second.probability) == (None, None)
    assert [first.logit, second.logit] == found.scores[:, 0].tolist()
    assert first.distances == ()


def test_a_layer_to_be_observed_that_is_unknown_is_named_by_its_own_field():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    with pytest.raises(UnknownLayer, match="'third'") as refused:
        model.open("p", RouteSpec({"x": EXAMPLE}, (Target(),), observed=("first", "third")))
    assert refused.value.field == "saturation.layers"


class Widened(nn.Module):
    """A layer in float64, which needs no conversion to be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x.double()).float()


@pytest.mark.parametrize(("module", "layer", "size"), [(Skipping(skip=False), "first", 3), (Widened(), "wide", 2)])
def test_observed_layers_do_not_keep_the_pass(module, layer, size):
    model = TorchModel(module, vector_info(3))
    open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, observed=(layer,))
    model.evaluate(at("p", 1.0, *np.linspace(0, 1, 50)))
    (reference,) = model._routes["p"].references.values()
    assert reference.untyped_storage().nbytes() == size * 8
    assert not reference.requires_grad
