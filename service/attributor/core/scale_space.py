"""Gaussian blur of an image as the heat equation with reflecting borders, exactly, in the basis of cosines.

An image is the sum of cosines that its pixels determine; each solves the heat equation by a factor of its own
(Lindeberg 1994: the scale space L(., t), dL/dt = Laplacian L / 2, t = sigma^2). So the path of Blur integrated
gradients (Xu, Venugopalan, Sundararajan 2020) has a derivative in closed form: no kernel is cut off, no difference
taken. Knows arrays, no models. Lengths in pixels, float64.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cosine_basis(n: int) -> Array:
    """The orthonormal cosines of n pixels, shape (n, n): row k is sqrt((2 - [k = 0]) / n) cos(pi k (i + 1/2) / n).

    The type-II discrete cosine transform, whose cosines are even about both borders (Strang 1999). `basis @ line` are
    coefficients, `basis.T @ coefficients` is the line.
    """
    frequency, pixel = np.arange(n)[:, None], np.arange(n)[None, :]
    basis: Array = np.sqrt(2 / n) * np.cos(np.pi * frequency * (pixel + 0.5) / n)
    basis[0] = np.sqrt(1 / n)
    return basis


def eigenvalues(height: int, width: int) -> Array:
    """Those of the negative Laplacian, (pi k / height)^2 + (pi l / width)^2 per pixel^2, shape (height, width)."""
    down, across = (np.pi * np.arange(n) / n for n in (height, width))
    total: Array = down[:, None] ** 2 + across[None, :] ** 2
    return total


def multipliers(eigenvalues: Array, sigma: float, alpha: float) -> tuple[Array, Array]:
    """Factors of the coefficients at gamma(alpha), the image blurred by (1 - alpha) * sigma, and their d/dalpha.

    exp(-s^2 lambda / 2) with s = (1 - alpha) sigma, and s sigma lambda times that. Both of the eigenvalues' shape.
    """
    deviation = (1 - alpha) * sigma
    value: Array = np.exp(-(deviation**2) * eigenvalues / 2)
    return value, deviation * sigma * eigenvalues * value


def blurred(image: Array, sigma: float) -> Array:
    """The image (channels, height, width) blurred by standard deviation `sigma` >= 0; 0 leaves it as it is, and a large
    one its mean."""
    height, width = image.shape[-2:]
    down, across = cosine_basis(height), cosine_basis(width)
    factors, _ = multipliers(eigenvalues(height, width), sigma, 0.0)
    result: Array = down.T @ (factors * (down @ image.astype(np.float64) @ across.T)) @ across
    return result
