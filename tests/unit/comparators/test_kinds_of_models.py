"""Comparators on texts of any length, on outputs that are probabilities, and on nets without gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.errors import InvalidInput, UnsupportedByModel
from attributor.jobs.explanation import COMPARATORS, BaselineKind, BaselinePart, BaselineSpec, Method, Target, Term
from attributor.jobs.model import Baseline, OutputKind, OutputScale
from loaded import explained, floats, loaded, row
from nets_of_text import IDS, MASK, MOST, Encoder, text
from torch import nn

PERTURBING = (Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME)
PROPAGATING = sorted(COMPARATORS - set(PERTURBING))
PROBABILITY = Target((Term(1),))


def encoder(**changes):
    model = loaded(Encoder(), IDS, MASK, labels=("a", "b", "c"))
    stored = {"ids": np.arange(MOST) % 5 + 2, "mask": np.ones(MOST, np.int64)}
    info = replace(model.info, baselines={"zero": Baseline("zero", "stored", stored)}, **changes)
    return replace(model, info=info)


def score(ids: list[int]) -> float:
    net = Encoder()
    with torch.no_grad():
        return float(net(torch.tensor([ids]), torch.ones(1, len(ids))).softmax(1)[0, 1])


def without(ids: list[int], place: int) -> float:
    """The score with the embedding of one token zero."""
    net = Encoder()
    embedded = net.embed(torch.tensor([ids])).clone()
    embedded[0, place] = 0
    with torch.no_grad():
        return float(net.of_embedded(embedded, torch.ones(1, len(ids))).softmax(1)[0, 1])


@pytest.mark.parametrize("ids", [[5], [3, 7, 2, 9]])
def test_a_text_is_occluded_token_by_token_at_its_own_length(ids):
    stored = [2, 3, 4, 5]
    replaced = [score([*ids[:i], stored[i], *ids[i + 1 :]]) for i in range(len(ids))]
    (found,) = explained(encoder(), Method.OCCLUSION, text(*ids), targets=(PROBABILITY,))
    np.testing.assert_allclose(found.attributions["ids"], score(ids) - np.array(replaced), atol=1e-6)
    zero = BaselineSpec("zero", {"ids": BaselinePart(BaselineKind.ZERO_EMBEDDING)})
    (found,) = explained(encoder(), Method.OCCLUSION, text(*ids), targets=(PROBABILITY,), baselines=(zero,))
    gone = [without(ids, i) for i in range(len(ids))]
    np.testing.assert_allclose(found.attributions["ids"], score(ids) - np.array(gone), atol=1e-6)


@pytest.mark.parametrize("method", [Method.KERNEL_SHAP, Method.LIME])
def test_sampling_methods_follow_the_length_too(method):
    (found,) = explained(encoder(), method, text(3, 7, 2), targets=(PROBABILITY,), options={"samples": 60})
    assert found.attributions["ids"].shape == (3,)


def test_ids_that_the_embedding_has_not_are_refused():
    with pytest.raises(InvalidInput, match="not 99"):
        explained(encoder(), Method.OCCLUSION, text(1, 99))


class Vote(nn.Module):
    """Two probabilities, the first of which may be 0."""

    def forward(self, x):
        first = x.clamp(0, 1).mean(1, keepdim=True)
        return torch.cat([first, 1 - first], 1)


def votes(*, gradients: bool = True):
    model = loaded(Vote(), row(2), kind=OutputKind.PROBABILITIES)
    return replace(model, info=replace(model.info, gradients=gradients))


@pytest.mark.parametrize("gradients", [True, False])
def test_probabilities_are_perturbed_as_they_stand(gradients):
    target = Target((Term(0),))
    (found,) = explained(votes(gradients=gradients), Method.OCCLUSION, floats(1, 0.5), targets=(target,))
    assert (found.score, found.baseline_score, found.target.scale) == (0.75, 0.0, OutputScale.PROBABILITY)
    np.testing.assert_allclose(found.attributions["x"], [0.5, 0.25])


def test_the_logarithm_is_of_the_output_asked_for():
    target = Target((Term(1),), scale=OutputScale.LOG_PROBABILITY)
    (found,) = explained(votes(), Method.OCCLUSION, floats(0.5, 0.5), targets=(target,))
    assert found.score == pytest.approx(np.log(0.5))
    # At the baseline the other output is 0, whose logarithm is no number.
    assert found.baseline_score == 0.0


@pytest.mark.parametrize("method", PROPAGATING)
def test_what_explains_logits_says_that_it_cannot(method):
    with pytest.raises(UnsupportedByModel, match=r"gives probabilities.*occlusion, kernel_shap and lime") as refused:
        explained(votes(), method, floats(1, 0.5), targets=(Target((Term(0),)),))
    assert refused.value.field == "method"
    with pytest.raises(UnsupportedByModel, match="needs gradients, and this model has none"):
        explained(votes(gradients=False), method, floats(1, 0.5), targets=(Target((Term(0),)),))
