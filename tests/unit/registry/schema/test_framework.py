"""Which keys of a manifest belong to which framework."""

import pytest
from attributor.errors import BundleError
from attributor.jobs.model import DeclaredLayer, Framework, OutputKind
from attributor.registry.manifest import parse

NAMES = ("model.py", "model.onnx", "model.pt2", "config.json", "notes.txt")
FILES = "\n[files]\n" + "".join(f'"{name}" = {{ sha256 = "{"0" * 64}", size_bytes = 3 }}\n' for name in NAMES)
ONNX = f"""\
schema_version = 1
name = "small"
version = "1"
title = "t"
description = "d"
framework = "onnx"
file = "model.onnx"
licence = "none"
source = "tests"
default_baseline = "zero"

[[inputs]]
name = "x"
tensor = "input.1"
kind = "tensor"
shape = [3]

[output]
name = "logits"
tensor = "/head/Gemm_output_0"
labels = ["no", "yes"]

[layers.stem]
module = "features.0"
description = "Edges."

[baselines.zero]
description = "d"
values.x = 0
{FILES}"""
PLAIN = ONNX.replace('tensor = "input.1"\n', "").replace('tensor = "/head/Gemm_output_0"\n', "")
EXPORTED = PLAIN.replace('framework = "onnx"\nfile = "model.onnx"', 'framework = "torch-export"\nfile = "model.pt2"')
TORCH = PLAIN.replace('framework = "onnx"\nfile = "model.onnx"', 'framework = "torch"\nentry = "model:build"')
ENCODER = PLAIN.replace(
    'framework = "onnx"\nfile = "model.onnx"', 'framework = "huggingface"\ntask = "sentence-embedding"'
).replace('name = "logits"\n', 'name = "logits"\nkind = "values"\n')


def test_a_graph_names_its_file_and_its_tensors():
    manifest = parse(ONNX.encode())
    assert (manifest.info.framework, manifest.info.gradients) == (Framework.ONNX, True)
    assert (manifest.file, manifest.entry) == ("model.onnx", None)
    assert manifest.input_tensors == {"x": "input.1"}
    assert manifest.output_tensor == "/head/Gemm_output_0"
    assert manifest.info.layers == {"stem": DeclaredLayer("stem", "features.0", "Edges.")}
    plain = parse(PLAIN.encode())
    assert (plain.input_tensors, plain.output_tensor) == ({"x": "x"}, None)


def test_trees_have_no_gradients_and_return_probabilities():
    text = ONNX.replace("[layers.stem]", "[metadata]").replace("module =", "a =").replace("description =", "b =", 2)
    text = text.replace("b =", "description =", 1).replace('title = "t"', 'title = "t"\ngradients = false')
    text = text.replace('name = "logits"\n', 'name = "p"\nkind = "probabilities"\n')
    info = parse(text.encode()).info
    assert not info.gradients
    assert info.output.kind is OutputKind.PROBABILITIES


def test_other_frameworks_are_told_apart():
    assert parse(TORCH.encode()).entry == "model:build"
    assert parse(EXPORTED.encode()).file == "model.pt2"
    encoder = parse(ENCODER.encode())
    assert (encoder.task, encoder.pooling, encoder.unit_length) == ("sentence-embedding", "mean", False)
    other = parse(ENCODER.replace("task", 'pooling = "cls"\nunit_length = true\ntask', 1).encode())
    assert (other.pooling, other.unit_length) == ("cls", True)


PATH = '[paths.arc]\nentry = "model:arc"\n[output]'


@pytest.mark.parametrize(
    ("text", "old", "new", "words"),
    [
        (ONNX, 'framework = "onnx"', 'framework = "onnx"\nentry = "model:build"', "entry = "),
        (ONNX, 'file = "model.onnx"', "", "file, the name of the model's file"),
        (ONNX, 'file = "model.onnx"', 'file = "other.onnx"', "file names other.onnx, which files does not list"),
        (ONNX, 'file = "model.onnx"', 'file = "notes.txt"', "file must end in .onnx"),
        (ONNX, "title", 'task = "causal-lm"\ntitle', "task, one of"),
        (ONNX, "title", 'pooling = "mean"\ntitle', "pooling and unit_length are for task sentence-embedding"),
        (ONNX, "title", "gradients = false\ntitle", "layers.stem: a model with gradients = false has no layers"),
        (ONNX, "title", 'gradients = "no"\ntitle', "gradients"),
        (ONNX, "[output]", PATH, "paths.arc: paths are code, which only a bundle of framework torch brings"),
        (TORCH, 'entry = "model:build"', "", "entry = "),
        (TORCH, "title", "gradients = false\ntitle", "gradients = false is for framework onnx"),
        (TORCH, "title", 'file = "model.onnx"\ntitle', "file, the name of the model's file"),
        (TORCH, 'name = "logits"', 'name = "logits"\ntensor = "y"', "output.tensor is for framework onnx"),
        (EXPORTED, '"model.pt2"', '"model.onnx"', "file must end in .pt2"),
        (ENCODER, 'task = "sentence-embedding"', "", "task, one of"),
        (ENCODER, 'task = "sentence-embedding"', 'task = "translation"', "task"),
        (
            ENCODER,
            'task = "sentence-embedding"',
            'task = "causal-lm"',
            "output.kind must be sequence for task causal-lm",
        ),
        (ENCODER, '"config.json" =', '"conf.json" =', "framework huggingface needs config.json"),
        (ENCODER, "[output]", PATH, "paths.arc: paths are code"),
        (
            PLAIN,
            '["no", "yes"]',
            '["yes"]\nkind = "probabilities"',
            "probabilities need labels or classes for at least 2",
        ),
        (PLAIN, 'labels = ["no", "yes"]', "classes = 99999999999", "output.classes"),
        (PLAIN, 'module = "features.0"', "", "layers.stem.module"),
    ],
)
def test_keys_of_another_framework_are_refused(text, old, new, words):
    assert old in text
    with pytest.raises(BundleError) as caught:
        parse(text.replace(old, new, 1).encode())
    assert words in caught.value.detail


def test_attributed_tokens_need_gradients():
    tokens = 'kind = "tokens"\nvocabulary = 9\nembedding = "e"'
    text = PLAIN.replace('kind = "tensor"', tokens).replace("title", "gradients = false\ntitle", 1)
    text = text.replace('[layers.stem]\nmodule = "features.0"\ndescription = "Edges."\n', "")
    with pytest.raises(BundleError, match=r"inputs\.0: tokens are explained through their embedding"):
        parse(text.encode())
