"""The rows that the nets are trained on and asked about, all from scikit-learn's and RDKit's own wheels.

A row's picture depends on the row's number alone, so any choice of rows gives the same pictures. Knows no net.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import Tensor
from torch.nn import functional

SPLIT_SEED = 0
HELD_OUT_SHARE = 0.25
DIGIT_LEVELS = 16
NOISE = 0.05
GREY_SIDE_PX = 32
COLOUR_SIDE_PX = 64
# Ink is brighter than paper in every channel, so that black is nearer to the paper than to the ink.
PAPER_MAX = 0.4
INK_MIN = 0.6
# Apart from the seeds 0, 1, ... of the training.
PICTURE_SEED = 10_000


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers for training, and row numbers kept from it."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_rows(rows: list[int]) -> Split:
    """The same split of the same rows at every call."""
    shuffled = np.random.default_rng(SPLIT_SEED).permutation(rows).tolist()
    kept = int(len(rows) * HELD_OUT_SHARE)
    return Split(train=tuple(shuffled[kept:]), held_out=tuple(shuffled[:kept]))


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 8, 8) in [0, 1], black 0, and their classes."""
    bunch = load_digits()
    return torch.tensor(bunch.images / DIGIT_LEVELS, dtype=torch.float32), torch.tensor(bunch.target)


def grey_digit(row: int) -> Tensor:
    """A digit at 3x32x32 with noise of its own."""
    generator = torch.Generator().manual_seed(PICTURE_SEED + row)
    ink = _enlarged(row, GREY_SIDE_PX)
    return ink + NOISE * torch.randn(3, GREY_SIDE_PX, GREY_SIDE_PX, generator=generator)


def coloured_digit(row: int) -> Tensor:
    """A digit at 3x64x64 in a colour of its own on paper of its own, with noise."""
    generator = torch.Generator().manual_seed(PICTURE_SEED + row)
    ink = _enlarged(row, COLOUR_SIDE_PX)
    paper_colour = PAPER_MAX * torch.rand(3, 1, 1, generator=generator)
    ink_colour = INK_MIN + (1 - INK_MIN) * torch.rand(3, 1, 1, generator=generator)
    noise = NOISE * torch.randn(3, COLOUR_SIDE_PX, COLOUR_SIDE_PX, generator=generator)
    return ink * ink_colour + (1 - ink) * paper_colour + noise


def _enlarged(row: int, side_px: int) -> Tensor:
    images, _ = digits()
    return functional.interpolate(images[row][None, None], size=(side_px, side_px), mode="bilinear")[0]


@cache
def tumours() -> tuple[Tensor, Tensor, Split]:
    """Features (569, 30) standardised on the training rows, classes, and the split."""
    bunch = load_breast_cancer()
    split = split_rows(list(range(len(bunch.target))))
    training = bunch.data[list(split.train)]
    standardised = (bunch.data - training.mean(0)) / training.std(0)
    return torch.tensor(standardised, dtype=torch.float32), torch.tensor(bunch.target), split


# One input per row number, without a batch axis.
PICTURES = {
    "digits_cnn": lambda row: digits()[0][row][None],
    "inception": grey_digit,
    "googlenet": coloured_digit,
    "lstm": lambda row: digits()[0][row],
    "transformer": lambda row: digits()[0][row],
    "mlp": lambda row: tumours()[0][row],
}
CLASSIFIERS = tuple(PICTURES)


def classifier_rows(name: str, rows: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Inputs (n, ...) of a classifier and their classes (n,)."""
    labels = tumours()[1] if name == "mlp" else digits()[1]
    return torch.stack([PICTURES[name](row) for row in rows]), labels[list(rows)]


def classifier_split(name: str) -> Split:
    """Which rows a classifier is trained on."""
    return tumours()[2] if name == "mlp" else split_rows(list(range(len(digits()[1]))))
