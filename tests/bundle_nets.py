"""Code of small nets for bundles of each kind: smooth, so that integrations over them are short, and seeded."""

#: Ends the code of a bundle that has a class Net: weights from a seed, drawn beside torch's global state.
SEEDED = """
def build():
    net = Net()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return net
"""

TWO_INPUTS = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Linear(2, 5)
        self.right = nn.Linear(3, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, measurements, signal):
        return self.head(torch.tanh(self.left(measurements) + self.right(signal)))
"""
    + SEEDED
)

TOKENS = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 4)
        self.mixer = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, ids, mask):
        mixed = torch.tanh(self.mixer(self.embedding(ids))) * mask.unsqueeze(-1)
        return self.head(mixed.sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0))
"""
    + SEEDED
)

REGRESSION = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return 100.0 * self.head(torch.tanh(self.hidden(x)))
"""
    + SEEDED
)

SEQUENCE = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.mixer = nn.Linear(4, 6)
        self.head = nn.Linear(6, 9)

    def forward(self, ids):
        # Causal: a position sees itself and what stands before it.
        return self.head(torch.tanh(self.mixer(self.embedding(ids))).cumsum(1))
"""
    + SEEDED
)

#: `stem` and `body` are passed by the skip connection; all of the score passes through `join`.
LAYERED = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        self.body = nn.Linear(6, 6)
        self.skip = nn.Linear(4, 6)
        self.join = nn.Tanh()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.join(self.body(self.stem(x)) + self.skip(x)))
"""
    + SEEDED
)

#: A half turn away from the straight line and back.
ARC = """
import math
import torch

def arc(baseline, example):
    delta = example - baseline
    side = delta.flip(-1)

    def gamma(alphas):
        alpha = alphas.view(-1, *[1] * delta.dim())
        points = baseline + alpha * delta + 0.5 * torch.sin(math.pi * alpha) * side
        return points, delta + 0.5 * math.pi * torch.cos(math.pi * alpha) * side

    return gamma
"""

#: Texts of any length up to 9, without padding; a mask that goes with them.
TEXTS = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 4)
        self.places = nn.Embedding(9, 4)
        self.mixer = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, ids, mask):
        here = self.embedding(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        mixed = self.mixer(here)[0] * mask.unsqueeze(-1)
        return self.head(mixed.sum(1) / mask.sum(1, keepdim=True))
"""
    + SEEDED
)
