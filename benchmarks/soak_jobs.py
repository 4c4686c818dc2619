"""What `soak.py` asks: small models made for it, and requests of all kinds, drawn with a seed. Knows no service."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attributor.registry.seal import seal

#: Longest text, tokens; and the vocabulary.
POSITIONS, VOCABULARY = 40, 100

WORDS = """
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(100, 16)
        self.recurrence = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4, generator=generator)

    def forward(self, ids):
        outputs, _ = self.recurrence(self.embedding(ids))
        return self.head(outputs.mean(1))

def build():
    return Words()
"""
WORDS_MANIFEST = """
[[inputs]]
name = "ids"
kind = "tokens"
shape = [40]
variable = true
vocabulary = 100
embedding = "embedding"
pad_id = 0

[output]
name = "logits"
labels = ["bad", "fair", "good"]

[baselines.padding]
description = "Nothing but padding."
values.ids = 0
"""
RAISES = """
import torch
from torch import nn

class Raises(nn.Module):
    def forward(self, x):
        if (x[:, 0] > 100).any():
            raise RuntimeError("more than a hundred")
        return torch.cat([x.sum(dim=1, keepdim=True).tanh(), x[:, :1]], dim=1)

def build():
    return Raises()
"""
RAISES_MANIFEST = """
[[inputs]]
name = "x"
kind = "tensor"
shape = [4]

[output]
name = "logits"
labels = ["no", "yes"]

[baselines.zero]
description = "Zero."
values.x = 0.0
"""
HEAD = """\
schema_version = 1
name = "{name}"
version = "1"
title = "A model of the soak"
description = "Small."
framework = "torch"
entry = "model:build"
licence = "none"
source = "benchmarks/soak_jobs.py"
default_baseline = "{baseline}"
"""


def write_models(models: Path) -> None:
    """One of texts of any length, and one that raises."""
    write_model(models, "words", "padding", WORDS, WORDS_MANIFEST)
    write_model(models, "raises", "zero", RAISES, RAISES_MANIFEST)


def write_model(models: Path, name: str, baseline: str, code: str, manifest: str) -> None:
    folder = models / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(code)
    (folder / "manifest.toml").write_text(HEAD.format(name=name, baseline=baseline) + manifest)
    seal(folder)


@dataclass
class Wish:
    """A request. `cancelled_after_s`: when the client has had enough; `path`: where it goes."""

    kind: str
    body: dict[str, Any]
    status: int = 200
    state: str = "succeeded"
    cancelled_after_s: float | None = None
    path: str = "/v1/attributions"


def mixed(draw: random.Random, n: int) -> Iterator[Wish]:
    """Jobs of all kinds, always the same ones."""
    kinds = [
        (30, table), (14, picture), (14, text), (8, layer), (10, method), (6, several), (6, prediction),
        (4, failing), (4, cancelled), (4, bad),
    ]  # fmt: skip
    weights, makers = zip(*kinds, strict=True)
    for _ in range(n):
        yield draw.choices(makers, weights)[0](draw)


def table(draw: random.Random) -> Wish:
    return Wish("table", {"model": "breast-cancer", "inputs": [a_table(draw)], "tolerance": draw.choice([0.05, 0.01])})


def picture(draw: random.Random) -> Wish:
    more = draw.choice(
        [{}, {"baseline": "white"}, {"target": {"top": 3}}, {"path": "blur"}, {"target": {"class": "3"}}]
    )
    return Wish("picture", {"model": "digits", "inputs": [a_picture(draw)], "tolerance": 0.05, **more})


def text(draw: random.Random) -> Wish:
    return Wish("text", {"model": "words", "inputs": [a_text(draw)], "tolerance": 0.05})


def layer(draw: random.Random) -> Wish:
    asked = {"name": "convolutions", "quantity": draw.choice(["layer_ig", "conductance", "influence"])}
    return Wish("layer", {"model": "digits", "inputs": [a_picture(draw)], "tolerance": 0.05, "layer": asked})


def method(draw: random.Random) -> Wish:
    more = draw.choice(
        [
            {"method": "saliency"},
            {"method": "gradient_x_input"},
            {"method": "expected_gradients", "samples": 10, "baseline": {"kind": "reference"}},
            {"method": "shapley", "samples": 2},
            {"method": "saliency", "smoothing": {"samples": 5}},
            {"rule": "gauss_legendre", "n_steps": 20},
            {"path": "guided", "tolerance": 0.2},
            {"saturation": {"alphas": [0.5]}, "interior": {"alphas": [0.1, 1.0]}},
        ]
    )
    return Wish("method", {"model": "breast-cancer", "inputs": [a_table(draw)], **more})


def several(draw: random.Random) -> Wish:
    n = draw.randint(2, 16)
    made = draw.choice([("breast-cancer", a_table), ("digits", a_picture), ("words", a_text)])
    return Wish("several", {"model": made[0], "inputs": [made[1](draw) for _ in range(n)], "tolerance": 0.05})


def prediction(draw: random.Random) -> Wish:
    return Wish("prediction", {"inputs": [a_picture(draw)]}, path="/v1/models/digits:predict")


def failing(draw: random.Random) -> Wish:
    values = [draw.uniform(200, 300), *(draw.random() for _ in range(3))]
    return Wish("failing", {"model": "raises", "inputs": [{"x": tensor(values, 4)}]}, state="failed")


def cancelled(draw: random.Random) -> Wish:
    body = {"model": "digits", "inputs": [a_picture(draw) for _ in range(8)], "rule": "right_riemann", "n_steps": 500}
    return Wish("cancelled", body, cancelled_after_s=draw.uniform(0, 0.2))


def bad(draw: random.Random) -> Wish:
    body = {"model": "digits", "inputs": [{"image": tensor([draw.random()] * 9, 1, 3, 3)}]}
    return Wish("bad", body, status=422)


def a_table(draw: random.Random) -> dict[str, Any]:
    return {"features": tensor([draw.uniform(0, 30) for _ in range(30)], 30)}


def a_picture(draw: random.Random) -> dict[str, Any]:
    return {"image": tensor([draw.random() for _ in range(64)], 1, 8, 8)}


def a_text(draw: random.Random) -> dict[str, Any]:
    return {"ids": [draw.randrange(1, VOCABULARY) for _ in range(draw.randint(1, POSITIONS))]}


def tensor(values: list[float], *shape: int) -> dict[str, Any]:
    return {"shape": list(shape), "datatype": "FP32", "data": values}
