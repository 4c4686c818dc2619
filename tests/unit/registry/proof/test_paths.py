import math

import pytest
import torch
from attributor.registry.proof.paths import check_paths

PLACES = {"x": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)) * 100}


def path(points, derivatives):
    """A path object of expressions in a (alphas), b (baseline), e (example)."""

    def make(baseline, example):
        def gamma(alphas):
            a = alphas.view(-1, *[1] * baseline.dim())
            return points(a, baseline, example), derivatives(a, baseline, example)

        return gamma

    return make


def straight(a, b, e):
    return b + a * (e - b)


STRAIGHT = path(straight, lambda a, b, e: (e - b).expand(len(a), *e.shape))
WINDING = path(
    lambda a, b, e: straight(a, b, e) + torch.sin(6 * math.pi * a) * e.flip(-1),
    lambda a, b, e: e - b + 6 * math.pi * torch.cos(6 * math.pi * a) * e.flip(-1),
)


def test_paths_from_end_to_end_with_their_own_derivative_pass():
    assert check_paths({"straight": STRAIGHT, "winding": WINDING}, PLACES) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (path(lambda a, b, e: a * e, lambda a, b, e: e.expand(len(a), 4)), "at alpha 0 it is not at the baseline"),
        (path(lambda a, b, e: b + 0 * a, lambda a, b, e: 0 * b + 0 * a), "at alpha 1 it is not at the example"),
        (path(straight, lambda a, b, e: 1.05 * (e - b) + 0 * a), "its derivative is not that of its points"),
        (
            path(lambda a, b, e: b + a**2 * (e - b), lambda a, b, e: e - b + 0 * a),
            "at alpha 0.13 its derivative is not that of its points",
        ),
        (path(straight, lambda a, b, e: e - b), r"derivatives have shape \[4\] for 7 alphas; \[7, 4\] is needed"),
        (path(straight, lambda a, b, e: (e - b) / 0 + 0 * a), "derivatives hold NaN or infinity"),
        (path(lambda a, b, e: 1 / 0, straight), "it raised ZeroDivisionError"),
        (lambda baseline, example: None, "it raised TypeError"),
    ],
)
def test_a_path_that_is_none_is_told_why(wrong, words):
    problem = check_paths({"straight": STRAIGHT, "wrong": wrong}, PLACES)
    assert problem is not None
    assert problem.startswith("Path 'wrong' cannot be used for input 'x': ")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(problem)


def test_every_input_is_tried():
    only_rows = path(straight, lambda a, b, e: (e - b).expand(len(a), 4))
    problem = check_paths({"rows": only_rows}, {**PLACES, "picture": torch.rand(3, 2, 4)})
    assert problem is not None
    assert "for input 'picture'" in problem
