from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Target, Term
from attributor.jobs.model import OutputKind, OutputScale, OutputSpec
from attributor.runtimes.targets import check_target, resolved_target, target_scores, top_outputs

LOGITS = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0], [-3.0, 4.0, 80.0]])
PROBABILITY, LOGIT, LOG_PROBABILITY = OutputScale.PROBABILITY, OutputScale.LOGIT, OutputScale.LOG_PROBABILITY
CLASSES = OutputSpec("out", ("a", "b", "c"))
SEQUENCE = OutputSpec("out", ("a", "b"), OutputKind.SEQUENCE, positions=3)
VOTES = OutputSpec("out", ("a", "b", "c"), OutputKind.PROBABILITIES)
VALUES = OutputSpec("out", ("a", "b", "c"), OutputKind.VALUES)


def one(index: int, scale: OutputScale, weight: float = 1.0) -> Target:
    return Target((Term(index, weight),), scale=scale)


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_each_row_is_read_on_its_own_scale(class_index):
    scores = target_scores(
        LOGITS, [one(class_index, scale) for scale in (LOGIT, PROBABILITY, LOG_PROBABILITY)], CLASSES.kind
    )
    wide = LOGITS.double()
    expected = [wide[0, class_index], wide[1].softmax(0)[class_index], wide[2].log_softmax(0)[class_index]]
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-13)


@pytest.mark.parametrize("scale", [LOGIT, PROBABILITY, LOG_PROBABILITY])
def test_a_score_does_not_depend_on_the_scales_of_other_rows(scale):
    target = one(1, scale)
    alone = target_scores(LOGITS, [target] * 3, CLASSES.kind)
    for other in (one(0, LOGIT), one(0, PROBABILITY), one(2, LOG_PROBABILITY), Target((Term(0), Term(2, -2.0)))):
        mixed = target_scores(LOGITS, [target, other, target], CLASSES.kind)
        assert mixed[0] == alone[0]
        assert mixed[2] == alone[2]


def test_a_difference_and_a_weighted_sum_are_sums_over_their_terms():
    difference = Target((Term(1), Term(0, -1.0)), scale=LOGIT)
    weighted = Target((Term(0, 0.5), Term(1, 2.0), Term(2, 3.0)), scale=PROBABILITY)
    scores = target_scores(LOGITS[:2], [difference, weighted], CLASSES.kind)
    np.testing.assert_allclose(scores, [1.0, 5.5 / 3], rtol=1e-13)


def test_a_term_of_one_row_does_not_touch_an_infinite_output_of_another():
    outputs = torch.tensor([[float("inf"), 1.0], [2.0, 1.0]])
    scores = target_scores(outputs, [one(1, LOGIT), Target((Term(0), Term(1)), scale=LOGIT)], CLASSES.kind)
    assert scores.tolist() == [1.0, 3.0]


def test_probabilities_of_large_logits_neither_overflow_nor_lose_their_gradient():
    logits = torch.tensor([[3e38, -3e38], [1000.0, 0.0], [1000.0, 0.0]]).requires_grad_()
    scores = target_scores(logits, [one(0, PROBABILITY), one(1, LOG_PROBABILITY), one(0, LOGIT)], CLASSES.kind)
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores.tolist() == [1.0, -1000.0, 1000.0]
    assert gradient.tolist() == [[0.0, 0.0], [-1.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("company", [LOGIT, PROBABILITY])
def test_a_logit_beside_an_infinite_one_keeps_its_gradient_in_any_company(company):
    logits = torch.tensor([[1.0, float("inf")], [1.0, 0.0]]).requires_grad_()
    scores = target_scores(logits, [one(0, LOGIT), one(0, company)], CLASSES.kind)
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert gradient[0].tolist() == [1.0, 0.0]


def test_a_row_that_is_not_finite_leaves_the_others_alone():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]]).requires_grad_()
    scores = target_scores(logits, [one(1, PROBABILITY)] * 2, CLASSES.kind)
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores.isfinite().tolist() == [False, True]
    assert gradient[1].isfinite().all()


def test_a_sequence_is_read_at_each_rows_position():
    outputs = torch.arange(12.0).reshape(2, 3, 2)
    targets = [replace(one(1, LOGIT), position=0), replace(one(0, LOGIT), position=2)]
    assert target_scores(outputs, targets, CLASSES.kind).tolist() == [1.0, 10.0]
    assert top_outputs(-outputs, targets).tolist() == [0, 0]
    assert top_outputs(outputs, targets).tolist() == [1, 1]


@pytest.mark.parametrize("scale", [LOGIT, OutputScale.PROBABILITY, OutputScale.LOG_PROBABILITY])
@pytest.mark.parametrize("shape", [(6, 3), (6, 4, 3)], ids=["flat", "sequence"])
def test_a_target_may_stand_for_several_rows(scale, shape):
    outputs = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    two_terms = Target((Term(0), Term(1, -0.5)), scale=scale, position=3)
    targets = [replace(one(1, scale), position=0), two_terms, replace(one(2, LOGIT), position=2)]
    counts = [3, 1, 2]
    per_row = [target for target, n in zip(targets, counts, strict=True) for _ in range(n)]
    shared = target_scores(outputs, targets, CLASSES.kind, counts)
    assert shared.tolist() == target_scores(outputs, per_row, CLASSES.kind).tolist()
    assert top_outputs(outputs, targets, counts).tolist() == top_outputs(outputs, per_row).tolist()


@pytest.mark.parametrize(("rank", "index"), [(0, 1), (1, 0), (2, 2)])
def test_a_target_without_terms_is_the_output_of_its_rank(rank, index):
    found = resolved_target(Target(rank=rank), CLASSES, np.array([1, 2, -1], np.float32))
    assert found.terms == (Term(index),)
    assert found.position is None


def test_equal_outputs_rank_by_index():
    outputs = np.array([1, 1, 1], np.float32)
    assert [resolved_target(Target(rank=rank), CLASSES, outputs).terms[0].index for rank in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("position", "resolved"), [(0, 0), (-1, 2), (None, 2), (-3, 0)])
def test_positions_count_from_the_end_too(position, resolved):
    outputs = np.array([[1, 0], [0, 0], [0, 1]], np.float32)
    found = resolved_target(Target(position=position), SEQUENCE, outputs)
    assert (found.position, found.terms) == (resolved, (Term(resolved // 2),))


def test_regression_outputs_are_read_as_they_stand():
    target = resolved_target(Target((Term(2),)), VALUES, LOGITS[2].numpy())
    assert target.scale is OutputScale.VALUE
    assert target_scores(LOGITS, [target] * 3, CLASSES.kind).tolist() == [-1.0, 0.0, 80.0]


@pytest.mark.parametrize(
    ("target", "output", "field"),
    [
        (Target(scale=OutputScale.VALUE), CLASSES, "target.scale"),
        (Target(position=0), CLASSES, "target.position"),
        (Target(scale=LOGIT), VOTES, "target.scale"),
        (Target(scale=OutputScale.VALUE), VOTES, "target.scale"),
        (Target(position=3), SEQUENCE, "target.position"),
        (Target(position=-4), SEQUENCE, "target.position"),
    ],
)
def test_a_target_that_the_output_cannot_give_is_refused_with_its_field(target, output, field):
    with pytest.raises(UnsupportedByModel) as refused:
        check_target(target, output)
    assert refused.value.field == field


def test_what_works_instead_of_a_logit_is_said():
    with pytest.raises(UnsupportedByModel, match="on the scale probability or log_probability, not logit"):
        check_target(Target(scale=LOGIT), VOTES)


def test_probabilities_are_read_as_they_stand_and_by_their_logarithm_in_any_company():
    given = torch.tensor([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]]).requires_grad_()
    difference = Target((Term(2), Term(0, -1.0)), scale=PROBABILITY)
    asked = [one(0, LOG_PROBABILITY), one(0, PROBABILITY), difference]
    scores = target_scores(given, asked, VOTES.kind)
    (gradient,) = torch.autograd.grad(scores.sum(), given)
    wide = given.detach().double()
    np.testing.assert_allclose(scores.detach(), [wide[0, 0].log(), 0.0, 0.25], rtol=1e-13)
    # The probability 0 beside a logarithm keeps its gradient.
    np.testing.assert_allclose(gradient, [[5, 0, 0], [1, 0, 0], [-1, 0, 1]], rtol=1e-6)
    alone = [target_scores(given[[row]], [asked[row]], VOTES.kind).item() for row in range(3)]
    assert alone == scores.tolist()
    assert target_scores(given, [one(0, LOG_PROBABILITY)] * 3, VOTES.kind)[1].item() == float("-inf")


@pytest.mark.parametrize("target", [Target((Term(3),)), Target((Term(-1),)), Target(rank=3)])
def test_an_output_that_the_model_does_not_have_is_a_bug(target):
    with pytest.raises(ValueError, match="This is a bug"):
        check_target(target, CLASSES)
