"""Trains digits version 1 and writes its weights, reference set, manifest and golden example, and
docs/examples/digit.{json,png}.

Run as `python models/digits/train.py` with the `train` extra installed; seconds on one core. The data come with
scikit-learn. Seeded: the same versions of torch and scikit-learn on the same processor write the same bytes.
"""

import base64
import io
import json
import runpy
from pathlib import Path

import numpy as np
import torch
from attributor.registry.proof.golden import write_golden
from PIL import Image
from safetensors.torch import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
HELD_OUT = 0.25
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.02
# scikit-learn's images hold 0..16; the net sees what a PNG holds of them, pixel / 255.
BRIGHTEST = 16
PIXEL = 255
# Training images in the reference set: about twelve of each digit, as often as among all.
REFERENCES = 120
# Among the held-out images that the net gets right.
EXAMPLE = 0

BUNDLE = Path(__file__).parent / "1"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

MANIFEST = """\
schema_version = 1
name = "digits"
version = "1"
title = "Handwritten digit"
description = \"\"\"\\
A small net of two convolutions, ReLU and max pooling, on grey images of 8 x 8 pixels: a white digit on black. \\
Held-out accuracy {accuracy:.1%} on {n_held_out} images. The default baseline is the black image, an image without \\
ink: there no digit has a probability above {black_score:.2f}. A black pixel can get no attribution from it, as it \\
equals the baseline; for the part that missing ink plays, take mean or white.\"\"\"
framework = "torch"
entry = "model:build"
licence = "Code and weights: Apache-2.0. Data: CC BY 4.0."
source = "Optical Recognition of Handwritten Digits data (Alpaydin, Kaynak 1998, UCI Machine Learning Repository, \
doi 10.24432/C50P49), as packaged with scikit-learn; weights trained from them by train.py."
default_baseline = "black"
reference_set = {{ image = "reference.npy" }}

[[inputs]]
name = "image"
kind = "image"
shape = [1, 8, 8]
value_range = [0.0, 1.0]

[output]
name = "logits"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

[baselines.black]
description = "No ink."
values.image = 0.0

[baselines.white]
description = "Ink everywhere."
values.image = 1.0

[baselines.mean]
description = "The mean of the training images."
values.image = {mean}

[metadata]
held_out_accuracy = "{accuracy:.4f}"
parameters = "{n_parameters}"
"""


def main() -> None:
    """Trains, then writes the bundle and the example."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    data = load_digits()
    pixels = np.rint(data.images / BRIGHTEST * PIXEL).astype(np.uint8)
    images = (pixels[:, None] / PIXEL).astype(np.float32)
    training, held_out = train_test_split(
        np.arange(len(images)), test_size=HELD_OUT, random_state=SEED, stratify=data.target
    )
    model = train(torch.from_numpy(images[training]), torch.from_numpy(data.target[training]))
    right = model(torch.from_numpy(images[held_out])).argmax(1).numpy() == data.target[held_out]
    (BUNDLE / "weights.safetensors").write_bytes(save(model.state_dict()))
    references, _ = train_test_split(training, train_size=REFERENCES, random_state=SEED, stratify=data.target[training])
    np.save(BUNDLE / "reference.npy", images[np.sort(references)], allow_pickle=False)

    text = MANIFEST.format(
        accuracy=right.mean(),
        n_held_out=len(held_out),
        black_score=model(torch.zeros(1, 1, 8, 8)).softmax(1).max().item(),
        mean=json.dumps(images[training].mean(0).round(4).astype(float).round(4).tolist()),
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    (BUNDLE / "manifest.toml").write_text(text, encoding="utf-8")
    write_examples(pixels[held_out[right][EXAMPLE]])
    print(f"held-out accuracy {right.mean():.2%} on {len(held_out)}")


def train(images: torch.Tensor, classes: torch.Tensor) -> nn.Module:
    """Fits the net to images (n, 1, 8, 8) and classes (n,)."""
    model = runpy.run_path(str(BUNDLE / "model.py"))["build"]()
    loss = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimiser.zero_grad()
            loss(model(images[rows]), classes[rows]).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def write_examples(pixels: np.ndarray) -> None:
    """The golden example and the files in docs/examples, all of one image of pixels (8, 8)."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    (EXAMPLES / "digit.png").write_bytes(png.getvalue())
    example = {"image": base64.b64encode(png.getvalue()).decode()}
    write_golden(BUNDLE, example)
    body = {
        "model": "digits",
        "inputs": [example],
        "visualizations": [{"kind": "overlay"}, {"kind": "heatmap"}],
    }
    (EXAMPLES / "digit.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
