"""Weights of the benchmark's nets: trained from seeds in about two minutes, once, and kept in a folder.

Knows the modules and data that come with installed packages; nothing of bundles, servers or scores. The nets must have
scores that are worth explaining, not be good: trained, and not saturated.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_sample_images
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from benchmarks.quadrature_nets.sentences import SLOTS, TEMPLATES, MiniLm
from benchmarks.serving.nets import encoder, mlp, resnet

SEED = 0
N_TOKENS = 64
SIDE_PX = 224
#: Scores near 1 have flat paths that end in a cliff; logits are divided so that the median picture is as sure as this.
TYPICAL_PROBABILITY = 0.8
_TOPIC_TEXTS = 25
#: Small pictures teach the same textures at a tenth of the cost; the nets average over places.
_TRAINING_SIDE_PX = 64
_PICTURE_STEPS = 150
_PICTURE_BATCH = 16


def trained_mlp() -> nn.Module:
    """The net of the breast-cancer bundle (see its train.py) with twice its width."""
    data = load_breast_cancer()
    module = mlp.build()
    rows = torch.tensor(data.data, dtype=torch.float32)
    module.mean.copy_(rows.mean(0))
    module.deviation.copy_(rows.std(0))
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    _descend(module, 200, 1e-3, lambda: loss(module(rows), torch.tensor(data.target)))
    return module


def trained_encoder() -> nn.Module:
    """MiniLM with a classifier of 16 topics: from which template a text of 64 tokens was made."""
    module = encoder.build()
    module.encoder.load_state_dict(MiniLm.load().encoder.state_dict(), strict=False)
    module.eval().requires_grad_(False)
    ids = texts(_TOPIC_TEXTS * len(TEMPLATES), seed=1)
    topics = torch.arange(len(ids)) % len(TEMPLATES)
    with torch.no_grad():
        meanings = torch.cat([module.encoder(input_ids=part).last_hidden_state.mean(1) for part in ids.split(16)])
    head = module.classify.requires_grad_(True)
    _descend(head, 200, 1e-2, lambda: functional.cross_entropy(head(meanings), topics, label_smoothing=0.1))
    return _calibrated(module, head, ids[:48])


def trained_resnet(build: Callable[[], nn.Module]) -> nn.Module:
    """Which quarter of which of two photographs a picture was cut from; black pictures belong to none."""
    module = build().train()
    generator = np.random.default_rng(SEED)

    def loss() -> Tensor:
        images, places = pictures(_PICTURE_BATCH, generator, _TRAINING_SIDE_PX)
        light = torch.rand(_PICTURE_BATCH, 1, 1, 1)
        light[0] = 0
        return functional.cross_entropy(
            module(images * light),
            (1 - light[:, 0, 0]) / resnet.CLASSES + light[:, 0, 0] * functional.one_hot(places, 8),
        )

    _descend(module, _PICTURE_STEPS, 2e-3, loss)
    module.eval()
    return _calibrated(module, module.classify, pictures(24, generator)[0])


def texts(count: int, seed: int) -> Tensor:
    """Ids (count, 64) of texts made of one template each, in turn, filled again and again with other words."""
    generator = np.random.default_rng(seed)
    tokeniser = _tokeniser()
    made = []
    for number in range(count):
        template = TEMPLATES[number % len(TEMPLATES)]
        halves = [
            half.format(**{slot: str(generator.choice(words)) for slot, words in SLOTS.items()})
            for _ in range(5)
            for half in template
        ]
        made.append(tokeniser(". ".join(halves), truncation=True, max_length=N_TOKENS, padding="max_length").input_ids)
    return torch.tensor(made)


def pictures(count: int, generator: np.random.Generator, side_px: int = SIDE_PX) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, side, side) in 0..1, cut out of two photographs, and from where (0 to 7)."""
    cut, places = [], []
    for _ in range(count):
        which = int(generator.integers(2))
        photograph = _photographs()[which]
        _, height, width = photograph.shape
        top, left = int(generator.integers(height - side_px)), int(generator.integers(width - side_px))
        quarter = 2 * (2 * top > height - side_px) + (2 * left > width - side_px)
        cut.append(photograph[:, top : top + side_px, left : left + side_px])
        places.append(4 * which + quarter)
    noise = torch.from_numpy(generator.normal(0, 0.02, (count, 3, side_px, side_px)).astype(np.float32))
    return (torch.stack(cut) + noise).clamp(0, 1), torch.tensor(places)


@cache
def _photographs() -> list[Tensor]:
    return [torch.tensor(photo).permute(2, 0, 1) / 255 for photo in load_sample_images().images]


@cache
def _tokeniser() -> PreTrainedTokenizerBase:
    return MiniLm.load().tokeniser


def _descend(module: nn.Module, steps: int, learning_rate: float, loss: Callable[[], Tensor]) -> None:
    optimiser = torch.optim.AdamW(module.parameters(), learning_rate, weight_decay=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()


def _calibrated(module: nn.Module, head: nn.Linear, inputs: Tensor) -> nn.Module:
    """Divides the last layer until the median probability of the predicted class is the typical one, if above it."""
    with torch.no_grad():
        logits = torch.cat([module(part) for part in inputs.split(8)])
        while logits.softmax(1).amax(1).median() > TYPICAL_PROBABILITY:
            logits, head.weight[:], head.bias[:] = logits / 1.1, head.weight / 1.1, head.bias / 1.1
    return module.eval().requires_grad_(False)
