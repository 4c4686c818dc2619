import numpy as np
import pytest
from attributor.jobs.explanation import Layer, Quantity, Target, Term
from attributor.jobs.model import OutputScale
from attributor.runtimes.torch_runtime import TorchModel
from modules import LOGIT, MASKED_INFO, TOKENS, Masked, Skipping, Tagger, described, open_straight, row, vector_info

EXAMPLE, BASELINE = {"x": row(1, -2, 0.5)}, {"x": row(0, 0.3, 0)}


@pytest.mark.parametrize("quantity", list(Quantity))
@pytest.mark.parametrize("target", [LOGIT, Target(), Target((Term(0), Term(1, -1.0)), scale=OutputScale.LOGIT)])
def test_a_layer_is_a_cut_unless_something_goes_round_it(quantity, target):
    for skip in (False, True):
        model = TorchModel(Skipping(skip=skip).eval(), vector_info(3))
        for layer in ("first", "act", "second", "head"):
            open_straight(model, layer, EXAMPLE, BASELINE, targets=(target,), layer=Layer(layer, quantity))
            round_it = skip and layer != "head"
            assert model.layer_is_cut(layer, BASELINE) == (not round_it)


def test_an_input_that_is_held_does_not_count_as_going_round():
    model = TorchModel(Masked().eval(), MASKED_INFO)
    example, baseline = {**EXAMPLE, "mask": row(1, 0.5, 1)}, {**BASELINE, "mask": row(0, 0, 0)}
    open_straight(model, "p", example, layer=Layer("layer"))
    assert model.layer_is_cut("p", baseline)


def test_an_embedding_is_a_cut_of_its_model():
    model = TorchModel(Tagger().eval(), described(TOKENS, n_labels=3, positions=4))
    target = Target((Term(1),), position=2, scale=OutputScale.LOGIT)
    open_straight(model, "p", {"ids": np.array([1, 2, 3, 4])}, targets=(target,), layer=Layer("embed"))
    assert model.layer_is_cut("p", {"ids": np.array([0, 0, 0, 0])})


def test_a_route_without_a_layer_has_no_cut():
    model = TorchModel(Skipping(skip=False), vector_info(3))
    open_straight(model, "p", EXAMPLE)
    with pytest.raises(RuntimeError, match="no layer"):
        model.layer_is_cut("p", BASELINE)
