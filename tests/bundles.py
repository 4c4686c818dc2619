"""Writes small bundles into a folder, for tests of whatever serves models. Real files: manifest, code, weights, hashes.

    write_bundle(tmp_path, "square", code=LINEAR, inputs=["a", "b"], labels=["no", "yes"])

makes `tmp_path/square/1`. `code` is the text of model.py and needs a `build()`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from attributor.registry.seal import seal
from numpy.typing import NDArray
from safetensors.numpy import save

#: Two logits, of which the first is 2a - b + 0.5 and the second 0. Attributions of the first: 2 (a - a'), -(b - b').
LINEAR = """
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([[2.0, -1.0], [0.0, 0.0]]))
        self.register_buffer("bias", torch.tensor([0.5, 0.0]))

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias)

def build():
    return Linear()
"""

MANIFEST = """\
schema_version = 1
name = {name}
version = {version}
title = "A model of a test"
description = "Small."
framework = "torch"
entry = "model:build"
licence = "none"
source = "tests"
default_baseline = {default_baseline}

[[inputs]]
{input}

[output]
name = "logits"
labels = {labels}

{baselines}
"""


def write_bundle(
    root: Path,
    name: str,
    version: str = "1",
    *,
    code: str = LINEAR,
    inputs: Sequence[str] | int = ("a", "b"),
    labels: Sequence[str] | int = ("no", "yes"),
    image_shape: tuple[int, int, int] | None = None,
    baselines: Mapping[str, float | list] | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """Writes and seals `root/name/version`; returns it.

    `inputs`, `labels`: names, or a number of them (x0, x1, ...). A tabular input `features` of the named inputs, or
    with `image_shape` (channels, height, width) an image `image` with values 0..1. `baselines`: name to one number
    or nested lists, the first is the default; `zero` if left out.
    """
    folder = root / name / version
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(code, encoding="utf-8")
    if weights is not None:
        (folder / "weights.safetensors").write_bytes(save(dict(weights)))
    text = manifest_text(name, version, _names(inputs, "x"), _names(labels, "class"), image_shape, baselines)
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    seal(folder)
    return folder


def manifest_text(
    name: str,
    version: str,
    features: Sequence[str],
    labels: Sequence[str],
    image_shape: tuple[int, int, int] | None = None,
    baselines: Mapping[str, float | list] | None = None,
) -> str:
    """A manifest without its files."""
    given = baselines or {"zero": 0.0}
    input_name = "image" if image_shape else "features"
    table = _image(image_shape) if image_shape else _tabular(features)
    return MANIFEST.format(
        name=json.dumps(name),
        version=json.dumps(version),
        default_baseline=json.dumps(next(iter(given))),
        input=table,
        labels=json.dumps(list(labels)),
        baselines="\n".join(
            f'[baselines.{key}]\ndescription = "Of a test."\nvalues.{input_name} = {json.dumps(values)}'
            for key, values in given.items()
        ),
    )


def _names(given: Sequence[str] | int, prefix: str) -> Sequence[str]:
    return [f"{prefix}{index}" for index in range(given)] if isinstance(given, int) else given


def _tabular(features: Sequence[str]) -> str:
    columns = ", ".join(f"{{ name = {json.dumps(feature)} }}" for feature in features)
    return f'name = "features"\nkind = "tabular"\nshape = [{len(features)}]\nfeatures = [{columns}]'


def _image(shape: tuple[int, int, int]) -> str:
    return f'name = "image"\nkind = "image"\nshape = {list(shape)}\nvalue_range = [0.0, 1.0]'
