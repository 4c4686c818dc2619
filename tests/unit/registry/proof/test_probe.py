from dataclasses import replace

import pytest
import torch
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_bundle, load_module
from attributor.registry.proof.probe import PASSED, Proof, layers, prove
from attributor.registry.reference import read_references
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import configure_threads
from bundles import (
    layered_bundle,
    path_bundle,
    regression_bundle,
    sequence_bundle,
    text_bundle,
    token_bundle,
    two_input_bundle,
    write_bundle,
)
from torch import nn

configure_threads()

#: A model whose forward pass is the given expression; z is a linear map of the input x to two logits.
CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([[2.0, -1.0], [0.5, 3.0]]))

    def forward(self, x):
        z = x.flatten(1)[:, :2] @ self.weight.T
        return {expression}

def build():
    return Net()
"""


def proof_of(folder) -> Proof:
    bundle = open_bundle(folder)
    return prove(load_bundle(bundle), bundle.info, read_references(bundle.folder, bundle.manifest))


def proof_of_expression(tmp_path, expression: str) -> Proof:
    torch.manual_seed(0)  # two draws of a dropout on six numbers may be equal by chance
    return proof_of(write_bundle(tmp_path, "net", code=CODE.format(expression=expression)))


@pytest.mark.parametrize("expression", ["z", "z.relu()", "1 - (1 - z).relu()", "z * 0 + 1", "z.double()"])
def test_a_model_of_its_rows_passes_everything(tmp_path, expression):
    proof = proof_of_expression(tmp_path, expression)
    assert proof.problem is None
    assert set(proof.checks.values()) == {PASSED}
    assert list(proof.checks) == [
        "eval_mode",
        "shapes",
        "finite_outputs",
        "output_scale",
        "gradients",
        "deterministic",
        "rows_independent",
    ]


@pytest.mark.parametrize(
    ("expression", "check", "words"),
    [
        ("z - z.mean(0)", "rows_independent", "the rows of a batch influence each other"),
        ("F.batch_norm(z, None, None, training=True)", "runs", "raised"),
        ("z + 0.01 * z.cumsum(0)", "rows_independent", "statistics over the batch axis"),
        ("z + z.sum(0).detach().sin() * 0.01", "rows_independent", "the rows of a batch"),
        ("z.detach() + (z - z.detach()) * len(z)", "rows_independent", "outputs or gradients"),
        ("z / (z.std(0, unbiased=len(z) > 2) + (len(z) > 1))", "rows_independent", "differ by nan"),
        ("F.dropout(z, training=True)", "deterministic", "dropout that stays on"),
        ("z + 0.01 * torch.randn_like(z)", "deterministic", "not deterministic"),
        ("z[:, :1]", "shapes", r"returns shape \[5, 1\]; \[5, 2\] is needed"),
        ("z.sum(1)", "shapes", r"returns shape \[5\]"),
        ("(z,)", "shapes", "returns tuple, not one tensor"),
        ("z.long()", "shapes", "floating point"),
        ("z / 0", "finite_outputs", "NaN or infinity for finite inputs"),
        ("z + (z - z).abs().sqrt()", "gradients", "The gradient has NaN or infinity"),
        ("z.detach()", "gradients", "No gradient reaches the input"),
        ("z.detach().requires_grad_()", "gradients", "No gradient reaches the input"),
        ("F.one_hot(z.argmax(1), 2).float()", "gradients", "No gradient reaches the input"),
        ("z.squeeze(0)", "shapes", r"For a batch of 1 the model returns shape \[2\]"),
        ("z + z[:2].sum() * (len(z) == 2)", "rows_independent", "the same rows in a batch of 2"),
        ("z + z[4:].sum() * 0.01", "rows_independent", "the same row alone"),
        ("z + (z - x[:, :1].detach().round() * z).abs().sqrt() * 0 / 0", "finite_outputs", "NaN or infinity"),
        ("1 / 0", "runs", r"as declared \(features: float32 \[5, 2\]\): ZeroDivisionError: division by zero"),
        ("torch.zeros(3, 7) @ x", "runs", "RuntimeError"),
    ],
)
def test_a_model_that_cannot_be_served_is_found(tmp_path, expression, check, words):
    proof = proof_of_expression(tmp_path, expression)
    assert proof.problem is not None
    assert list(proof.checks)[-1] == check
    assert proof.checks[check] == proof.problem
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(proof.problem)


def test_a_submodule_that_stays_in_training_mode_is_found(tmp_path):
    code = CODE.format(expression="z") + "Net.train = lambda self, mode=True: self\n"
    assert list(proof_of(write_bundle(tmp_path, "net", code=code)).checks) == ["eval_mode"]


def test_layers_are_named(tmp_path):
    code = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())"
    module = load_module(open_bundle(write_bundle(tmp_path, "net", code=code)))
    assert list(layers(module)) == ["0", "0.0", "1"]
    named = load_module(open_bundle(layered_bundle(tmp_path)))
    assert list(layers(named)) == ["stem", "stem.0", "stem.1", "body", "skip", "join", "head"]


@pytest.mark.parametrize(
    ("write", "also"),
    [
        (two_input_bundle, []),
        (token_bundle, ["embeddings"]),
        (regression_bundle, []),
        (sequence_bundle, ["embeddings"]),
        (layered_bundle, []),
        (path_bundle, ["paths"]),
        (text_bundle, ["embeddings", "lengths"]),
    ],
)
def test_models_of_every_kind_pass(tmp_path, write, also):
    proof = proof_of(write(tmp_path))
    assert proof.problem is None
    assert set(also) == proof.checks.keys() & {"embeddings", "lengths", "paths"}
    assert "rows_independent" in proof.checks


def changed(folder, file: str, old: str, new: str):
    path = folder / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    seal(folder)
    return folder


@pytest.mark.parametrize(
    ("write", "file", "old", "new", "check", "words"),
    [
        (two_input_bundle, "model.py", "self.right(signal)", "0", "gradients", "reaches the input 'signal'"),
        (two_input_bundle, "model.py", "self.left(measurements)", "0", "gradients", "the input 'measurements'"),
        (token_bundle, "model.py", "self.embedding(ids)", "self.embedding(ids).detach()", "gradients", "'ids'"),
        (token_bundle, "manifest.toml", '"embedding"', '"words"', "embeddings", "no layer 'words'"),
        (token_bundle, "manifest.toml", '"embedding"', '"head"', "embeddings", "axes have to come first"),
        (
            token_bundle,
            "model.py",
            "self.embedding(ids)",
            "(self.embedding(ids) + self.embedding(ids))",
            "embeddings",
            "2 times in a pass",
        ),
        (sequence_bundle, "model.py", ".cumsum(1)", ".sum(1)", "shapes", r"\[5, 9\]; \[5, 5, 9\] is needed"),
        (sequence_bundle, "model.py", ".cumsum(1)", ".cumsum(0)", "rows_independent", "influence each other"),
        (regression_bundle, "manifest.toml", '"price", ', "", "shapes", r"\[5, 1\] is needed"),
        (token_bundle, "model.py", "nn.Embedding(12, 4)", "nn.Embedding(10, 4)", "embeddings", "say vocabulary = 10"),
        (
            text_bundle,
            "model.py",
            "self.places = nn.Embedding(9, 4)",
            "self.places = nn.Embedding(8, 4)",
            "lengths",
            r"with 9 positions the model raised IndexError.*how many it takes at most in shape",
        ),
        (
            text_bundle,
            "model.py",
            "mixed.sum(1)",
            "mixed.sum(1) / (ids.shape[1] - 1)",
            "lengths",
            "with 1 position the outputs or gradients",
        ),
        (text_bundle, "model.py", "mixed.sum(1)", "mixed[:, :, 0]", "runs", r"ids: int64 \[5, 7\], mask: int64"),
        (path_bundle, "arcs.py", "0.5 * math.pi", "0.6 * math.pi", "paths", "Path 'arc' cannot be used"),
    ],
)
def test_a_defect_of_any_kind_is_found(tmp_path, write, file, old, new, check, words):
    proof = proof_of(changed(write(tmp_path), file, old, new))
    assert list(proof.checks)[-1] == check
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(proof.problem)


def of_kind(folder, kind: str):
    """The bundle, whose outputs are said to be of another kind."""
    return changed(folder, "manifest.toml", "[output]", f'[output]\nkind = "{kind}"')


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("z.softmax(1)", None),
        ("z", "probabilities.*Say .classes. if the outputs are logits"),
        ("z.softmax(1) * 2", "a row misses adding up to 1 by 1"),
        ("torch.cat([z[:, :1], 1 - z[:, :1]], 1)", "one of them is -"),
    ],
)
def test_probabilities_have_to_be_some(tmp_path, expression, words):
    folder = of_kind(write_bundle(tmp_path, "net", code=CODE.format(expression=expression)), "probabilities")
    proof = proof_of(folder)
    if words is None:
        assert (proof.problem, proof.checks["output_scale"]) == (None, PASSED)
        return
    assert list(proof.checks)[-1] == "output_scale"
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(proof.problem)


def test_logits_that_look_like_probabilities_are_remarked_on_and_pass(tmp_path):
    proof = proof_of_expression(tmp_path, "z.softmax(1)")
    assert proof.problem is None
    assert proof.checks["output_scale"].startswith(f"{PASSED}; but")
    assert 'say kind = "probabilities"' in proof.checks["output_scale"]


def test_a_gradient_that_is_no_number_on_the_way_from_the_baseline_is_found(tmp_path):
    # Finite wherever it is evaluated; below zero its gradient is 0 times infinity.
    code = CODE.format(expression="z + (x * (x > 0)).flatten(1).sqrt()")
    folder = write_bundle(tmp_path, "net", code=code, image_shape=(1, 1, 2), baselines={"dark": -3.0})
    proof = proof_of(folder)
    assert list(proof.checks)[-1] == "gradients"
    assert "NaN or infinity half-way from the default baseline" in proof.problem
    assert "'image'" in proof.problem


def test_a_gradient_that_is_no_number_at_the_baseline_itself_is_remarked_on(tmp_path):
    proof = proof_of_expression(tmp_path, "z + x.abs().sqrt()")
    assert proof.problem is None
    assert "at the default baseline itself the gradient in 'features' has NaN" in proof.checks["gradients"]


def test_a_default_baseline_without_a_score_is_found(tmp_path):
    proof = proof_of_expression(tmp_path, "z + x.abs().log()")
    assert "at the default baseline: declare another default" in proof.problem


def test_what_an_evaluation_costs_is_measured(tmp_path):
    proof = proof_of_expression(tmp_path, "z")
    assert 0 < proof.seconds_in_batch < proof.seconds_per_evaluation < 1
    assert proof.peak_bytes is None
    assert proof_of_expression(tmp_path / "other", "z / 0").seconds_per_evaluation is None


def test_a_model_without_gradients_is_proven_by_its_scores(tmp_path):
    def trial(expression: str) -> Proof:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        bundle = open_bundle(write_bundle(root, "net", code=CODE.format(expression=expression)))
        return prove(load_bundle(bundle), replace(bundle.info, gradients=False), {})

    proof = trial("z.detach()")
    assert proof.problem is None
    assert proof.checks["gradients"] == "no gradients: perturbation methods only"
    assert proof.seconds_per_evaluation > 0
    assert list(trial("(z - z.mean(0)).detach()").checks)[-1] == "rows_independent"
    assert list(trial("z.detach() / 0").checks)[-1] == "finite_outputs"


def test_layers_go_by_the_names_and_types_that_a_module_gives_them():
    class Step(nn.Module):
        layer_type = "MatMul"

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.ModuleList([Step(), nn.Tanh()])

        @property
        def named_layers(self):
            return {"encoder/MatMul:0": self.steps[0], "out": self.steps[1]}

    assert layers(Graph()) == {"encoder/MatMul:0": "MatMul", "out": "Tanh"}
