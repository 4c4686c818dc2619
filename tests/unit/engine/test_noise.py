import numpy as np
import pytest
from attributor.engine.noise import combine, noisy_copies
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import SmoothForm, Smoothing
from attributor.jobs.model import Feature, InputKind, InputSpec
from baseline_cases import EXAMPLE, HELD, PICTURE, SIGNAL, TABLE, TEXT, info

MANY = Smoothing(samples=2000, noise=0.1)


def copies(*inputs, smoothing=MANY, example=EXAMPLE, seed=0):
    own = {declared.name: example[declared.name] for declared in inputs}
    return noisy_copies(own, info(*inputs), smoothing, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("declared", "deviations"),
    [
        (PICTURE, 0.4),  # declared: -1 to 3
        (TABLE, [10, 4.8]),  # age is declared 0 to 100; size is open above, so the example's own 50 - 2
        (SIGNAL, 0.2),  # the example's own 3 - 1
    ],
)
def test_the_noise_is_a_share_of_the_range(declared, deviations):
    drawn = np.stack([each[declared.name] for each in copies(declared)])
    assert drawn.dtype == np.float32
    expected = np.broadcast_to(deviations, declared.shape)
    np.testing.assert_allclose(drawn.std(axis=0), expected, rtol=0.08)
    error = (drawn.mean(axis=0) - EXAMPLE[declared.name]) / expected
    np.testing.assert_allclose(error, 0, atol=0.1)


def test_tokens_and_inputs_that_are_not_attributed_stay():
    for each in copies(SIGNAL, TEXT, HELD, smoothing=Smoothing(samples=3)):
        assert each["text"] is EXAMPLE["text"]
        assert each["held"] is EXAMPLE["held"]
        assert not np.array_equal(each["signal"], EXAMPLE["signal"])


def test_a_seed_gives_the_same_copies_again():
    first, again, other = (copies(SIGNAL, smoothing=Smoothing(samples=2), seed=seed) for seed in (1, 1, 2))
    assert first[0]["signal"].tolist() == again[0]["signal"].tolist() != other[0]["signal"].tolist()
    assert first[0]["signal"].tolist() != first[1]["signal"].tolist()


@pytest.mark.parametrize("inputs", [(TEXT, HELD), (SIGNAL,)])
def test_without_anything_to_add_noise_to_it_is_refused(inputs):
    flat = {**EXAMPLE, "signal": np.float32([2, 2, 2])}
    with pytest.raises(UnsupportedByModel, match="numbers") as refusal:
        copies(*inputs, example=flat)
    assert refusal.value.field == "smoothing"


def test_what_is_averaged():
    samples = [{"x": np.float32([1, -3])}, {"x": np.float32([3, -3])}]
    expected = {SmoothForm.PLAIN: [2, -3], SmoothForm.SQUARED: [5, 9], SmoothForm.VARIANCE: [1, 0]}
    for form, values in expected.items():
        combined = combine(form, samples)["x"]
        np.testing.assert_array_equal(combined, values)
        assert combined.dtype == np.float64


def test_the_noise_of_one_hot_elements_and_of_normalised_pixels_is_a_share_of_their_range():
    colour = Feature("colour", categories=("red", "green"), one_hot=True)
    table = InputSpec("table", InputKind.TABULAR, (3,), (Feature("age", minimum=0, maximum=100), colour))
    image = InputSpec("image", InputKind.IMAGE, (2, 1, 1), normalise=((0.5, 0.5), (0.5, 0.1)))
    example = {"table": np.float32([50, 1, 0]), "image": np.zeros((2, 1, 1), np.float32)}
    drawn = copies(table, image, example=example)
    for name, deviations in {"table": [10, 0.1, 0.1], "image": [[[0.2]], [[1.0]]]}.items():
        np.testing.assert_allclose(np.std([each[name] for each in drawn], axis=0), deviations, rtol=0.08)
