"""The benchmark's models folder: sealed bundles as a user makes them, and their inputs. Knows no server."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from attributor.registry.seal import seal
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from benchmarks.quadrature_nets import inception
from benchmarks.quadrature_nets.train import trained
from benchmarks.serving import training
from benchmarks.serving.nets import encoder, mlp, resnet

REPOSITORY = Path(__file__).resolve().parents[2]
_JITTER = 0.02
_DECIMALS = 4

_MANIFEST = """\
schema_version = 1
name = "{name}"
version = "1"
title = "{name} of the serving benchmark"
description = "{about}"
framework = "torch"
entry = "model:{build}"
licence = "Apache-2.0"
source = "benchmarks/serving"
default_baseline = "start"

[[inputs]]
{inputs}

[output]
name = "logits"
classes = {classes}

[baselines.start]
description = "{start}"
values.{input} = {baseline}
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a bundle is made, and its distinct inputs: `inputs(count)` gives (count, *shape)."""

    name: str
    about: str
    code: Path
    build: str
    module: Callable[[], nn.Module]
    table: str
    classes: int
    baseline: Callable[[], object]
    start: str
    inputs: Callable[[int], NDArray]


def tumours(count: int) -> NDArray[np.float32]:
    """Rows of the breast-cancer table, each number moved by about two hundredths of its column's deviation."""
    data = load_breast_cancer().data
    generator = np.random.default_rng(1)
    noise = _JITTER * data.std(0) * generator.normal(size=(count, data.shape[1]))
    return (data[generator.permutation(np.resize(np.arange(len(data)), count))] + noise).astype(np.float32)


def digits(count: int) -> NDArray[np.float32]:
    """Digits (count, 1, 8, 8) in 0..1, with a little noise where there is ink."""
    images = load_digits().images[:, None] / 16
    generator = np.random.default_rng(1)
    chosen = images[generator.permutation(np.resize(np.arange(len(images)), count))]
    noise = _JITTER * generator.normal(size=chosen.shape) * (chosen > 0)
    return np.clip(chosen + noise, 0, 1).round(_DECIMALS).astype(np.float32)


def pictures(count: int) -> NDArray[np.float32]:
    """Pictures (count, 3, 224, 224) in 0..1, rounded to what JSON carries well."""
    return training.pictures(count, np.random.default_rng(1))[0].numpy().round(_DECIMALS)


def texts(count: int) -> NDArray[np.int64]:
    """Ids (count, 64)."""
    return training.texts(count, seed=2).numpy()


_IMAGE = 'name = "image"\nkind = "image"\nshape = [3, 224, 224]\nvalue_range = [0.0, 1.0]'
_FEATURES = ", ".join(f'{{ name = "x{number}" }}' for number in range(mlp.N_FEATURES))

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="mlp",
            about="30-128-128-2 on the breast-cancer table.",
            code=Path(mlp.__file__),
            build="build",
            module=training.trained_mlp,
            table=f'name = "features"\nkind = "tabular"\nshape = [{mlp.N_FEATURES}]\nfeatures = [{_FEATURES}]',
            classes=2,
            baseline=lambda: load_breast_cancer().data.mean(0).tolist(),
            start="The mean of the data.",
            inputs=tumours,
        ),
        Recipe(
            name="encoder",
            about="6 layers of width 384 on 64 tokens.",
            code=Path(encoder.__file__),
            build="build",
            module=training.trained_encoder,
            table=f'name = "ids"\nkind = "tokens"\nshape = [{training.N_TOKENS}]\nvocabulary = 30522\n'
            'embedding = "encoder.embeddings.word_embeddings"',
            classes=encoder.TOPICS,
            baseline=lambda: -1,
            start="No words: embeddings of zero.",
            inputs=texts,
        ),
        *(
            Recipe(
                name=name,
                about=about,
                code=code,
                build=build,
                module=module,
                table=_IMAGE,
                classes=classes,
                baseline=lambda: 0.0,
                start="Black.",
                inputs=pictures,
            )
            for name, about, code, build, module, classes in (
                (
                    "cnn224",
                    "ResNet-18 at 3x224x224.",
                    Path(resnet.__file__),
                    "resnet18",
                    lambda: training.trained_resnet(resnet.resnet18),
                    resnet.CLASSES,
                ),
                (
                    "resnet50",
                    "ResNet-50 at 3x224x224.",
                    Path(resnet.__file__),
                    "resnet50",
                    lambda: training.trained_resnet(resnet.resnet50),
                    resnet.CLASSES,
                ),
                (
                    "googlenet",
                    "GoogLeNet at 3x224x224, trained on small pictures.",
                    Path(inception.__file__),
                    "GoogLeNet",
                    lambda: trained("googlenet"),
                    inception.DIGIT_CLASSES,
                ),
            )
        ),
    )
}


def make_bundle(models: Path, weights: Path, name: str) -> Path:
    """Writes and seals `models/name/1`, trained now where `weights` has no file of it; returns it."""
    folder = models / name / "1"
    if name == "digits":
        shutil.copytree(REPOSITORY / "models" / "digits" / "1", folder)
        return folder
    recipe = RECIPES[name]
    folder.mkdir(parents=True)
    kept = weights / f"{name}.safetensors"
    if not kept.exists():
        torch.manual_seed(training.SEED)
        module = recipe.module().to(memory_format=torch.contiguous_format)
        weights.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in module.state_dict().items()}, kept)
    shutil.copyfile(kept, folder / "weights.safetensors")
    shutil.copyfile(recipe.code, folder / "model.py")
    text = _MANIFEST.format(
        name=name,
        about=recipe.about,
        build=recipe.build,
        inputs=recipe.table,
        classes=recipe.classes,
        start=recipe.start,
        input=input_name(name),
        baseline=json.dumps(recipe.baseline()),
    )
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    seal(folder)
    return folder


def input_name(name: str) -> str:
    """What the model calls its only input."""
    return {"mlp": "features", "encoder": "ids"}.get(name, "image")


def inputs(name: str, count: int) -> NDArray:
    """Distinct inputs (count, *shape)."""
    return digits(count) if name == "digits" else RECIPES[name].inputs(count)
