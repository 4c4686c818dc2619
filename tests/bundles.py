"""Writes small bundles into a folder, for tests of whatever serves models. Real files: manifest, code, weights, hashes.

    write_bundle(tmp_path, "square", code=LINEAR, inputs=["a", "b"], labels=["no", "yes"])

makes `tmp_path/square/1`. `code` is the text of model.py and needs a `build()`. The functions at the end write a bundle
of each kind, ready to serve: small, smooth, seeded.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from attributor.registry.seal import seal
from bundle_nets import ARC, LAYERED, REGRESSION, SEQUENCE, TEXTS, TOKENS, TWO_INPUTS
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
{made_of}
licence = "none"
source = "tests"
default_baseline = {default_baseline}
{reference_set}
{inputs}
[output]
{output}

{baselines}
"""

#: What a manifest says of an input or of the output: its keys, as TOML takes them.
Table = Mapping[str, object]
#: The keys of a bundle of Python code.
PYTHON: Table = {"framework": "torch", "entry": "model:build"}
#: Of one input: one number, or nested lists.
Values = float | list


def write_bundle(
    root: Path,
    name: str,
    version: str = "1",
    *,
    code: str = LINEAR,
    inputs: Sequence[str] | int = ("a", "b"),
    labels: Sequence[str] | int = ("no", "yes"),
    image_shape: tuple[int, int, int] | None = None,
    baselines: Mapping[str, Values] | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    references: NDArray[np.float32] | None = None,
    paths: Mapping[str, str] | None = None,
) -> Path:
    """Writes and seals `root/name/version`; returns it.

    `inputs`, `labels`: names, or a number of them (x0, x1, ...). A tabular input `features` of the named inputs, or
    with `image_shape` (channels, height, width) an image `image` with values 0..1. `baselines`: name to one number
    or nested lists, the first is the default; `zero` if left out. `references`: the reference set, (count, *shape).
    """
    features, classes = _names(inputs, "x"), _names(labels, "class")
    text = manifest_text(name, version, features, classes, image_shape, baselines)
    files = {} if weights is None else {"weights.safetensors": save(dict(weights))}
    if references is not None:
        files["reference.npy"] = npy(references)
        named = _line("reference_set", {"image" if image_shape else "features": "reference.npy"})
        text = text.replace("\n[[inputs]]", f"{named}\n[[inputs]]", 1)
    return write_files(root, name, version, text + _paths(paths or {}), {"model.py": code.encode(), **files})


def write_model(
    root: Path,
    name: str,
    *,
    code: str,
    inputs: Sequence[Table],
    output: Table,
    baselines: Mapping[str, Mapping[str, Values]],
    references: Mapping[str, NDArray] | None = None,
) -> Path:
    """Writes and seals `root/name/1`, of any inputs and output; `references` by input, each (count, *shape)."""
    references = references or {}
    text = _manifest(name, "1", inputs, output, baselines, [*references])
    files = {f"{key}.npy": npy(values) for key, values in references.items()}
    return write_files(root, name, "1", text, {"model.py": code.encode(), **files})


def write_file_model(
    root: Path,
    name: str,
    *,
    made_of: Table,
    files: Mapping[str, bytes],
    inputs: Sequence[Table],
    output: Table,
    baselines: Mapping[str, Mapping[str, Values]],
    sources: Mapping[str, Table] | None = None,
) -> Path:
    """Writes and seals `root/name/1`, of a model that is no Python code; `made_of`: the manifest's framework, and the
    keys that go with it."""
    text = _manifest(name, "1", inputs, output, baselines, made_of=made_of)
    tables = "".join(f"[sources.{key}]\n{_lines(table)}" for key, table in (sources or {}).items())
    return write_files(root, name, "1", text + tables, files)


def write_files(root: Path, name: str, version: str, manifest: str, files: Mapping[str, bytes]) -> Path:
    """Writes and seals `root/name/version` with these files."""
    folder = root / name / version
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    seal(folder)
    return folder


def manifest_text(
    name: str,
    version: str,
    features: Sequence[str],
    labels: Sequence[str],
    image_shape: tuple[int, int, int] | None = None,
    baselines: Mapping[str, Values] | None = None,
) -> str:
    """A manifest of one input and a classifier, without its files."""
    table = image(image_shape) if image_shape else tabular(features)
    given = {key: {str(table["name"]): values} for key, values in (baselines or {"zero": 0.0}).items()}
    return _manifest(name, version, [table], {"name": "logits", "labels": list(labels)}, given)


def tabular(features: Sequence[str], name: str = "features") -> Table:
    """The table of a tabular input."""
    columns = [{"name": feature} for feature in features]
    return {"name": name, "kind": "tabular", "shape": [len(features)], "features": columns}


def image(shape: tuple[int, int, int]) -> Table:
    """The table of an image with values 0..1."""
    return {"name": "image", "kind": "image", "shape": list(shape), "value_range": [0.0, 1.0]}


def npy(values: NDArray) -> bytes:
    """The bytes of an npy file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _manifest(
    name: str,
    version: str,
    inputs: Sequence[Table],
    output: Table,
    baselines: Mapping[str, Mapping[str, Values]],
    with_references: Sequence[str] = (),
    made_of: Table = PYTHON,
) -> str:
    return MANIFEST.format(
        made_of=_lines(made_of),
        name=json.dumps(name),
        version=json.dumps(version),
        default_baseline=json.dumps(next(iter(baselines))),
        reference_set=_line("reference_set", {key: f"{key}.npy" for key in with_references}) if with_references else "",
        inputs="\n".join(f"[[inputs]]\n{_lines(table)}" for table in inputs),
        output=_lines(output),
        baselines="\n".join(_baseline(key, values) for key, values in baselines.items()),
    )


def _baseline(name: str, values: Mapping[str, Values]) -> str:
    given = {f"values.{key}": value for key, value in values.items()}
    return f"[baselines.{name}]\n{_lines({'description': 'Of a test.', **given})}"


def _paths(entries: Mapping[str, str]) -> str:
    return "".join(f"[paths.{name}]\nentry = {json.dumps(entry)}\n" for name, entry in entries.items())


def _lines(table: Table) -> str:
    return "".join(f"{_line(key, value)}\n" for key, value in table.items())


def _line(key: str, value: object) -> str:
    return f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    """JSON is TOML, but for objects."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_line(key, item) for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)


def _names(given: Sequence[str] | int, prefix: str) -> Sequence[str]:
    return [f"{prefix}{index}" for index in range(given)] if isinstance(given, int) else given


# Bundles of each kind, on the nets of bundle_nets.


def two_input_bundle(root: Path, name: str = "pair") -> Path:
    """Inputs `measurements` (tabular: a, b) and `signal` (tensor of 3), labels no and yes; 8 references."""
    random = np.random.default_rng(1)
    return write_model(
        root,
        name,
        code=TWO_INPUTS,
        inputs=[tabular(["a", "b"], "measurements"), {"name": "signal", "kind": "tensor", "shape": [3]}],
        output={"name": "logits", "labels": ["no", "yes"]},
        baselines={"zero": {"measurements": 0.0, "signal": 0.0}, "ones": {"measurements": 1.0, "signal": [1.0] * 3}},
        references={
            "measurements": random.normal(size=(8, 2)).astype(np.float32),
            "signal": random.normal(size=(8, 3)).astype(np.float32),
        },
    )


def token_bundle(root: Path, name: str = "words") -> Path:
    """Tokens `ids` (6 of a vocabulary of 12, pad 0, mask 1) and an unattributed `mask`; 3 labels; 5 references.

    Embedding module `embedding`, of 4 dimensions.
    """
    ids = np.random.default_rng(2).integers(2, 12, size=(5, 6))
    ids[1:, -1] = 0
    return write_model(
        root,
        name,
        code=TOKENS,
        inputs=[
            {
                "name": "ids",
                "kind": "tokens",
                "shape": [6],
                "vocabulary": 12,
                "embedding": "embedding",
                "pad_id": 0,
                "mask_id": 1,
            },
            {"name": "mask", "kind": "tensor", "shape": [6], "attributed": False},
        ],
        output={"name": "logits", "labels": ["bad", "fair", "good"]},
        baselines={"padding": {"ids": 0, "mask": 1.0}, "nothing": {"ids": -1, "mask": 1.0}},
        references={"ids": ids, "mask": (ids != 0).astype(np.float32)},
    )


def regression_bundle(root: Path, name: str = "prices") -> Path:
    """Features area, age, floor; two values in hundreds: price, rent."""
    return write_model(
        root,
        name,
        code=REGRESSION,
        inputs=[tabular(["area", "age", "floor"])],
        output={"name": "values", "kind": "values", "labels": ["price", "rent"]},
        baselines={"zero": {"features": 0.0}},
    )


def sequence_bundle(root: Path, name: str = "writer") -> Path:
    """Tokens `ids` (5 of a vocabulary of 9, no padding), logits over the vocabulary at each of the 5 positions."""
    ids = {"name": "ids", "kind": "tokens", "shape": [5], "vocabulary": 9, "embedding": "embedding"}
    return write_model(
        root,
        name,
        code=SEQUENCE,
        inputs=[ids],
        output={"name": "logits", "kind": "sequence", "classes": 9, "positions": 5},
        baselines={"nothing": {"ids": -1}, "first": {"ids": 0}},
    )


def layered_bundle(root: Path, name: str = "layered") -> Path:
    """Four features, three labels; layers stem, stem.0, stem.1, body, skip, join, head; `skip` is around `body`."""
    return write_bundle(root, name, code=LAYERED, inputs=4, labels=3)


def path_bundle(root: Path, name: str = "curved") -> Path:
    """The layered net on four features, with the registered path `arc` in a file of its own."""
    folder = layered_bundle(root, name)
    (folder / "arcs.py").write_text(ARC, encoding="utf-8")
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8") + _paths({"arc": "arcs:arc"}), encoding="utf-8")
    seal(folder)
    return folder


def reference_bundle(root: Path, name: str = "known") -> Path:
    """The layered net on four features, with 40 references, of two predicted classes."""
    rows = np.random.default_rng(3).normal(scale=2.0, size=(40, 4)).astype(np.float32)
    return write_bundle(root, name, code=LAYERED, inputs=4, labels=3, references=rows)


def text_bundle(root: Path, name: str = "texts") -> Path:
    """Tokens `ids`, 1 to 9 of a vocabulary of 12 (pad 0), and their `mask`; 3 labels. The default baseline is pads."""
    tokens = {"kind": "tokens", "shape": [9], "variable": True}
    return write_model(
        root,
        name,
        code=TEXTS,
        inputs=[
            {"name": "ids", **tokens, "vocabulary": 12, "embedding": "embedding", "pad_id": 0},
            {"name": "mask", **tokens, "vocabulary": 2, "attributed": False},
        ],
        output={"name": "logits", "labels": ["bad", "fair", "good"]},
        baselines={"padding": {"ids": 0, "mask": 1}, "counting": {"ids": [1, 2, 3, 4, 5, 6, 7, 8, 9], "mask": 1}},
    )
