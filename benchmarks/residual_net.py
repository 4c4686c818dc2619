"""A residual net of eighteen layers (He et al. 2016, "Deep Residual Learning for Image Recognition", Table 1)."""

from torch import Tensor, nn

#: Channels and stride of the first block of each stage, of two blocks each.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
CLASSES = 1000


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and the way around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.around: nn.Module = nn.Identity()
        if stride > 1:
            self.around = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(maps)))
        return self.relu(self.bn2(self.conv2(inner)) + self.around(maps))


class ResNet18(nn.Module):
    """Maps (n, 3, 224, 224) to (n, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks, before = [], 64
        for channels, stride in STAGES:
            blocks += [Block(before, channels, stride), Block(channels, channels, 1)]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        return self.fc(maps.mean((2, 3)))
