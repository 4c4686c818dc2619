"""Nets of inception blocks with batch norm. Knows no data set, no weights file and no score."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

DIGIT_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels of a block's branches, in the order of the columns of Table 1 of Szegedy et al. (2015)."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int

    @property
    def total(self) -> int:
        return self.one + self.three + self.five + self.pool


# Szegedy et al. (2015), "Going Deeper with Convolutions", Table 1, rows 3a to 5b.
GOOGLENET_STAGES = (
    (Widths(64, 96, 128, 16, 32, 32), Widths(128, 128, 192, 32, 96, 64)),
    (
        Widths(192, 96, 208, 16, 48, 64),
        Widths(160, 112, 224, 24, 64, 64),
        Widths(128, 128, 256, 24, 64, 64),
        Widths(112, 144, 288, 32, 64, 64),
        Widths(256, 160, 320, 32, 128, 128),
    ),
    (Widths(256, 160, 320, 32, 128, 128), Widths(384, 192, 384, 48, 128, 128)),
)
SMALL_STAGES = (
    (Widths(16, 16, 24, 8, 12, 12), Widths(16, 16, 24, 8, 12, 12)),
    (Widths(32, 32, 48, 12, 24, 24), Widths(32, 32, 48, 12, 24, 24)),
)


def convolution(channels_in: int, channels_out: int, size_px: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size_px, stride, padding=size_px // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, 5x5 and a max-pool."""

    def __init__(self, channels: int, widths: Widths) -> None:
        super().__init__()
        self.one = convolution(channels, widths.one, 1)
        self.three = nn.Sequential(
            convolution(channels, widths.three_reduce, 1), convolution(widths.three_reduce, widths.three, 3)
        )
        self.five = nn.Sequential(
            convolution(channels, widths.five_reduce, 1), convolution(widths.five_reduce, widths.five, 5)
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), convolution(channels, widths.pool, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.one(maps), self.three(maps), self.five(maps), self.pool(maps)], 1)


def halve() -> nn.Module:
    """Max-pool of 3 with stride 2, which halves the size."""
    return nn.MaxPool2d(3, 2, padding=1)


def stages(channels: int, table: tuple[tuple[Widths, ...], ...]) -> tuple[list[nn.Module], int]:
    """Blocks by a table, each stage after a max-pool that halves the size, and the channels that they end in."""
    layers: list[nn.Module] = []
    for stage in table:
        layers.append(halve())
        for widths in stage:
            layers.append(Inception(channels, widths))
            channels = widths.total
    return layers, channels


class SmallInception(nn.Module):
    """Four inception blocks: (n, 3, 32, 32) to (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        blocks, channels = stages(24, SMALL_STAGES)
        self.layers = nn.Sequential(
            convolution(3, 24, 3),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, DIGIT_CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class GoogLeNet(nn.Module):
    """The layout of Szegedy et al. (2015) with batch norm for local response norm and no side exits.

    Maps (n, 3, 64, 64) to (n, 10); the last blocks work on 2x2 maps (the paper's on 7x7, from 224x224).
    """

    def __init__(self) -> None:
        super().__init__()
        blocks, channels = stages(192, GOOGLENET_STAGES)
        self.layers = nn.Sequential(
            convolution(3, 64, 7, stride=2),
            halve(),
            convolution(64, 64, 1),
            convolution(64, 192, 3),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(channels, DIGIT_CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
