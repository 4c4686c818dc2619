"""Trains breast-cancer version 1 and writes its weights, reference set, manifest and golden example, and
docs/examples/tumour.json.

Run as `python models/breast-cancer/train.py` with the `train` extra installed; seconds on one core. The data come
with scikit-learn. Seeded: the same versions of torch and scikit-learn on the same processor write the same bytes.
"""

import json
import runpy
from pathlib import Path

import numpy as np
import torch
from attributor.registry.proof.golden import write_golden
from safetensors.torch import save
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
HELD_OUT = 0.25
EPOCHS = 200
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.1
# Keeps the net unsure where the classes overlap, and so near one half at the mean of the data.
LABEL_SMOOTHING = 0.05
MALIGNANT = 0
# Training tumours in the reference set, malignant and benign as often as among all.
REFERENCES = 120
# Among the held-out malignant tumours that the net gets right.
EXAMPLE = 0

BUNDLE = Path(__file__).parent / "1"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

MANIFEST = """\
schema_version = 1
name = "breast-cancer"
version = "1"
title = "Breast tumour, malignant or benign"
description = \"\"\"\\
A net of two hidden layers of 64 ReLU on 30 features of cell nuclei, each the mean, the standard error or the mean \\
of the three largest values ("worst") over the nuclei of one image. Features are in raw units; the data set does \\
not name the unit of length. Held-out accuracy {accuracy:.1%} on {n_held_out} tumours. A demonstration, not a \\
medical device. The default baseline is the mean of the training data: there the net gives "malignant" a probability \\
of {mean_score:.2f}, so the score has somewhere to go for tumours of either class. From median-benign a benign \\
tumour, and from median-malignant a malignant one, has almost nothing to explain.\"\"\"
framework = "torch"
entry = "model:build"
licence = "Code and weights: Apache-2.0. Data: CC BY 4.0."
source = "Wisconsin Diagnostic Breast Cancer data (Wolberg, Mangasarian, Street, Street 1993, UCI Machine Learning \
Repository, doi 10.24432/C5DW2B), as packaged with scikit-learn; weights trained from them by train.py."
default_baseline = "mean"
reference_set = {{ features = "reference.npy" }}

[[inputs]]
name = "features"
kind = "tabular"
shape = [{n_features}]
features = [
{features}
]

[output]
name = "logits"
labels = {labels}

[baselines.mean]
description = "The mean of the training data: a tumour about which nothing is known."
values.features = {mean}

[baselines.median-benign]
description = "The median of the benign training data: what sets a malignant tumour apart from a typical benign one."
values.features = {median_benign}

[baselines.median-malignant]
description = "The median of the malignant training data: what sets a benign tumour apart from a typical malignant one."
values.features = {median_malignant}

[metadata]
held_out_accuracy = "{accuracy:.4f}"
parameters = "{n_parameters}"
"""


def main() -> None:
    """Trains, then writes the bundle and the example."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    data = load_breast_cancer()
    rows, classes = data.data.astype(np.float32), data.target
    training, held_out = train_test_split(np.arange(len(rows)), test_size=HELD_OUT, random_state=SEED, stratify=classes)
    model = train(rows[training], classes[training])
    predicted = model(torch.from_numpy(rows[held_out])).argmax(1).numpy()
    accuracy = float((predicted == classes[held_out]).mean())
    (BUNDLE / "weights.safetensors").write_bytes(save(model.state_dict()))
    references, _ = train_test_split(training, train_size=REFERENCES, random_state=SEED, stratify=classes[training])
    np.save(BUNDLE / "reference.npy", rows[np.sort(references)], allow_pickle=False)

    (BUNDLE / "manifest.toml").write_text(manifest(model, data, training, accuracy, len(held_out)), encoding="utf-8")
    chosen = held_out[(predicted == MALIGNANT) & (classes[held_out] == MALIGNANT)][EXAMPLE]
    example = {"features": dict(zip(data.feature_names.tolist(), data.data[chosen].tolist(), strict=True))}
    write_golden(BUNDLE, example)
    body = {"model": "breast-cancer", "inputs": [example], "visualizations": [{"kind": "bars"}]}
    (EXAMPLES / "tumour.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    print(f"held-out accuracy {accuracy:.2%} on {len(held_out)}")


def train(rows: np.ndarray, classes: np.ndarray) -> nn.Module:
    """Fits the net to rows (n, 30) and classes (n,)."""
    model = runpy.run_path(str(BUNDLE / "model.py"))["build"]()
    model.mean.copy_(torch.from_numpy(rows.mean(0)))
    model.deviation.copy_(torch.from_numpy(rows.std(0)))
    inputs, targets = torch.from_numpy(rows), torch.from_numpy(classes)
    loss = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        loss(model(inputs), targets).backward()
        optimiser.step()
    return model.eval().requires_grad_(False)


def manifest(model: nn.Module, data, training: np.ndarray, accuracy: float, n_held_out: int) -> str:
    """The text of the manifest without its files."""
    rows, classes = data.data.astype(np.float32), data.target
    known = rows[training]
    mean = known.mean(0)
    benign = classes[training] != MALIGNANT
    columns = zip(data.feature_names.tolist(), data.data.min(0).tolist(), data.data.max(0).tolist(), strict=True)
    return MANIFEST.format(
        accuracy=accuracy,
        n_held_out=n_held_out,
        mean_score=model(torch.from_numpy(mean)[None]).softmax(1)[0, MALIGNANT].item(),
        n_features=rows.shape[1],
        features="\n".join(
            f'    {{ name = "{name}", minimum = {low!r}, maximum = {high!r} }},' for name, low, high in columns
        ),
        labels=json.dumps(data.target_names.tolist()),
        mean=decimals(mean),
        median_benign=decimals(np.median(known[benign], 0)),
        median_malignant=decimals(np.median(known[~benign], 0)),
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def decimals(values: np.ndarray) -> str:
    """A TOML list with the shortest decimals that give these float32 back."""
    return "[" + ", ".join(np.format_float_positional(value, trim="0") for value in values.astype(np.float32)) + "]"


if __name__ == "__main__":
    main()
