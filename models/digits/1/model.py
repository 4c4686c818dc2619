"""A handwritten digit from a grey image of 8 x 8 pixels, black 0 to white 1."""

from torch import Tensor, nn

N_LABELS = 10


class DigitNet(nn.Module):
    """Images (rows, 1, 8, 8) to logits (rows, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, N_LABELS))

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the digits 0 to 9."""
        return self.classifier(self.convolutions(image))


def build() -> nn.Module:
    """The module, without its weights."""
    return DigitNet()
