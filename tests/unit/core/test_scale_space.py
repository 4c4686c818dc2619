import numpy as np
import pytest
from attributor.core.scale_space import blurred, cosine_basis, eigenvalues, multipliers
from scipy.fft import dct
from scipy.ndimage import gaussian_filter

IMAGE = np.random.default_rng(0).normal(size=(2, 9, 14))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 31])
def test_the_basis_is_orthonormal_and_that_of_the_cosine_transform(n):
    basis = cosine_basis(n)
    np.testing.assert_allclose(basis @ basis.T, np.eye(n), atol=1e-13)
    np.testing.assert_allclose(basis, dct(np.eye(n), type=2, norm="ortho", axis=0), atol=1e-13)


def test_the_eigenvalues_are_those_of_the_second_derivatives_of_the_cosines():
    h, (height, width) = 1e-3, (6, 5)
    down, across = np.arange(height) + 0.5, np.arange(width) + 0.5

    def wave(y, x):
        return np.cos(np.pi * 2 * y / height)[:, None] * np.cos(np.pi * 3 * x / width)[None, :]

    curvature = wave(down + h, across) + wave(down - h, across) + wave(down, across + h) + wave(down, across - h)
    laplacian = (curvature - 4 * wave(down, across)) / h**2
    np.testing.assert_allclose(-laplacian, eigenvalues(height, width)[2, 3] * wave(down, across), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 2.0, 50.0])
def test_a_blur_keeps_the_mean_of_each_channel(sigma):
    np.testing.assert_allclose(blurred(IMAGE, sigma).mean((1, 2)), IMAGE.mean((1, 2)), atol=1e-14)


def test_two_blurs_are_one_of_their_variances_sum():
    np.testing.assert_allclose(blurred(blurred(IMAGE, 1.2), 0.5), blurred(IMAGE, 1.3), atol=1e-13)


def test_a_blur_of_nothing_is_the_image_and_a_large_one_its_mean():
    np.testing.assert_allclose(blurred(IMAGE, 0.0), IMAGE, atol=1e-14)
    mean = IMAGE.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(blurred(IMAGE, 1e6), np.broadcast_to(mean, IMAGE.shape), atol=1e-14)


def test_a_single_precision_image_is_blurred_in_double():
    result = blurred(IMAGE.astype(np.float32), 1.0)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, blurred(IMAGE.astype(np.float32).astype(np.float64), 1.0))


@pytest.mark.parametrize("sigma", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.37, 0.9])
def test_the_derivative_of_the_path_is_exact(sigma, alpha):
    found, h = eigenvalues(9, 14), 1e-5
    ahead, _ = multipliers(found, sigma, alpha + h)
    behind, _ = multipliers(found, sigma, alpha - h)
    _, derivative = multipliers(found, sigma, alpha)
    np.testing.assert_allclose(derivative, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-6)
    assert derivative.max() > 1e-3


def test_the_path_ends_at_the_image_and_starts_at_its_whole_blur():
    found = eigenvalues(9, 14)
    value, derivative = multipliers(found, 5.0, 1.0)
    np.testing.assert_array_equal(value, np.ones((9, 14)))
    np.testing.assert_array_equal(derivative, np.zeros((9, 14)))
    down, across = cosine_basis(9), cosine_basis(14)
    start = down.T @ (multipliers(found, 5.0, 0.0)[0] * (down @ IMAGE @ across.T)) @ across
    np.testing.assert_allclose(start, blurred(IMAGE, 5.0), atol=1e-14)


@pytest.mark.parametrize(("sigma", "tolerance"), [(1.0, 1e-5), (2.5, 1e-12), (7.0, 1e-12)])
def test_a_smooth_image_is_blurred_as_by_a_sampled_gaussian_with_reflecting_borders(sigma, tolerance):
    # Both take the image as even about its borders, and truncate=9 cuts nothing off. A sampled kernel also lets through
    # what it folds back, exp(-pi^2 sigma^2 / 2) at the pixels' limit: 7e-3 of the little that is there at one pixel.
    y, x = np.mgrid[0:40, 0:31]
    smooth = np.exp(-((y - 12) ** 2 + (x - 25) ** 2) / 30)[None] + 0.01 * y * x
    expected = gaussian_filter(smooth, (0, sigma, sigma), mode="reflect", truncate=9)
    assert np.abs(blurred(smooth, sigma) - expected).max() < tolerance * np.ptp(smooth)
