import numpy as np
import pytest
import torch
from attributor.jobs.model import OutputScale
from attributor.runtimes.targets import class_scores

LOGITS = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0], [-3.0, 4.0, 80.0]])


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_each_row_is_read_on_its_own_scale(class_index):
    scales = [OutputScale.LOGIT, OutputScale.PROBABILITY, OutputScale.LOG_PROBABILITY]
    scores = class_scores(LOGITS, [(class_index, scale) for scale in scales])
    wide = LOGITS.double()
    expected = [wide[0, class_index], wide[1].softmax(0)[class_index], wide[2].log_softmax(0)[class_index]]
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-13)


def test_probabilities_of_large_logits_neither_overflow_nor_lose_their_gradient():
    logits = torch.tensor([[3e38, -3e38], [1000.0, 0.0]]).requires_grad_()
    scores = class_scores(logits, [(0, OutputScale.PROBABILITY), (1, OutputScale.LOG_PROBABILITY)])
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores.tolist() == [1.0, -1000.0]
    assert gradient.tolist() == [[0.0, 0.0], [-1.0, 1.0]]


def test_a_row_that_is_not_finite_leaves_the_others_alone():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]]).requires_grad_()
    scores = class_scores(logits, [(1, OutputScale.PROBABILITY)] * 2)
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores.isfinite().tolist() == [False, True]
    assert gradient[1].isfinite().all()
