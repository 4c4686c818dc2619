"""Residual nets at 3x224x224 in the layouts of He et al. (2016), Table 1, with 18 and with 50 layers."""

from torch import Tensor, nn
from torch.nn import functional

CLASSES = 8


def convolution(channels_in: int, channels_out: int, size_px: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), and batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size_px, stride, padding=size_px // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1 to four times the width, beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        self.body = nn.Sequential(
            convolution(channels, width, 1 if bottleneck else 3, 1 if bottleneck else stride),
            nn.ReLU(),
            convolution(width, width, 3, stride if bottleneck else 1),
            *([nn.ReLU(), convolution(width, out, 1)] if bottleneck else []),
        )
        self.shortcut = nn.Identity() if channels == out and stride == 1 else convolution(channels, out, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.body(maps) + self.shortcut(maps))


class ResNet(nn.Module):
    """Images (rows, 3, height, width) to logits (rows, 8)."""

    def __init__(self, depths: tuple[int, ...], *, bottleneck: bool) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 64
        for stage, depth in enumerate(depths):
            for place in range(depth):
                stride = 2 if stage > 0 and place == 0 else 1
                blocks.append(Block(channels, 64 << stage, stride, bottleneck=bottleneck))
                channels = (64 << stage) * (4 if bottleneck else 1)
        self.stem = nn.Sequential(convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.blocks(self.stem(images)).mean((2, 3)))


def resnet18() -> nn.Module:
    return ResNet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> nn.Module:
    return ResNet((3, 4, 6, 3), bottleneck=True)
