import numpy as np
import pytest
import torch
from attributor.core.scale_space import blurred
from attributor.errors import UnsupportedByModel
from attributor.runtimes.curves import blur_bend, registered_bend, straight


def random_rows(n: int, size: int = 5) -> torch.Tensor:
    scales = 10.0 ** np.arange(size)
    return torch.tensor((np.random.default_rng(0).normal(size=(n, size)) * scales).astype(np.float32))


def test_the_ends_are_met_exactly():
    rows = random_rows(400)
    for alpha, end in ((0.0, rows[::2]), (1.0, rows[1::2])):
        points, _ = straight(rows[::2], rows[1::2], torch.full((200,), alpha))
        assert torch.equal(points, end)


def test_a_point_does_not_depend_on_its_place_in_the_batch():
    starts, ends, alphas = random_rows(80)[::2], random_rows(80)[1::2], torch.linspace(0, 1, 40)
    together, _ = straight(starts, ends, alphas)
    for place in range(40):
        alone, _ = straight(starts[place : place + 1], ends[place : place + 1], alphas[place : place + 1])
        assert torch.equal(alone[0], together[place])


def test_a_blur_runs_from_the_blurred_image_to_the_image():
    image = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
    bend = blur_bend(torch.tensor(image), 2.0)
    points, derivatives = bend(torch.tensor([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(points[0], blurred(image, 2.0), atol=1e-6)
    np.testing.assert_allclose(points[1], blurred(image, 1.5), atol=1e-6)
    np.testing.assert_allclose(points[2], image, atol=1e-6)
    # The width no longer changes the image to first order where it is zero.
    assert derivatives[2].abs().max() == 0


def test_a_blur_has_the_derivative_of_what_it_computes():
    image = np.random.default_rng(1).normal(size=(1, 7, 5))
    _, derivatives = blur_bend(torch.tensor(image), 3.0)(torch.tensor([0.5]))
    step = 1e-4
    difference = (blurred(image, 3.0 * (0.5 - step)) - blurred(image, 3.0 * (0.5 + step))) / (2 * step)
    np.testing.assert_allclose(derivatives[0], difference, atol=1e-6)


def test_only_images_are_blurred():
    with pytest.raises(UnsupportedByModel, match="Only images") as refused:
        blur_bend(torch.zeros(4), 1.0)
    assert refused.value.field == "path"


START, END = torch.tensor([0.0, 0.0]), torch.tensor([3.0, 0.0])


def bend_of(points, derivatives):
    return lambda start, end: lambda alphas: (points(alphas[:, None]), derivatives(alphas[:, None]))


@pytest.mark.parametrize(
    ("points", "derivatives", "message"),
    [
        (lambda a: a * END * 0.99, lambda a: END.expand(len(a), 2), "does not run"),
        (lambda a: a * END + 0.01, lambda a: END.expand(len(a), 2), "does not run"),
        (lambda a: a * END * torch.nan, lambda a: END.expand(len(a), 2), "does not run"),
        (lambda a: a * END[:1], lambda a: END.expand(len(a), 2), "of shape"),
        (lambda a: a * END, lambda a: END, "of shape"),
    ],
)
def test_a_registered_path_that_misses_its_ends_or_shapes_is_refused(points, derivatives, message):
    with pytest.raises(UnsupportedByModel, match=message) as refused:
        registered_bend(bend_of(points, derivatives), START, END)
    assert refused.value.field == "path"


def test_a_registered_path_between_equal_ends_may_stay_there():
    zero = torch.zeros(2)
    bend = registered_bend(bend_of(lambda a: a * zero, lambda a: 0 * a + zero), zero, zero)
    assert bend(torch.tensor([0.5]))[0].tolist() == [[0.0, 0.0]]
