import numpy as np
import pytest
import torch
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.probe import PASSED, Proof, layers, probe_rows, prove
from attributor.runtimes.torch_runtime import configure_threads
from bundles import write_bundle

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
    return prove(load_module(bundle), bundle.info)


def proof_of_expression(tmp_path, expression: str) -> Proof:
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
        ("z[:, :1]", "shapes", r"returns shape \[3, 1\]; \[3, 2\] is needed"),
        ("z.sum(1)", "shapes", r"returns shape \[3\]"),
        ("(z,)", "shapes", "returns tuple, not one tensor"),
        ("z.long()", "shapes", "floating point"),
        ("z / 0", "finite_outputs", "NaN or infinity for finite inputs"),
        ("z + (z - z).abs().sqrt()", "gradients", "The gradient has NaN or infinity"),
        ("z.detach()", "gradients", "No gradient reaches the input"),
        ("z.detach().requires_grad_()", "gradients", "No gradient reaches the input"),
        ("F.one_hot(z.argmax(1), 2).float()", "gradients", "No gradient reaches the input"),
        ("1 / 0", "runs", "ZeroDivisionError: division by zero"),
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
    assert layers(module) == ("0", "0.0", "1")


def test_probe_rows_lie_in_the_declared_domain_and_are_always_the_same(tmp_path):
    image = open_bundle(write_bundle(tmp_path, "image", image_shape=(3, 4, 5))).info
    rows = probe_rows(image)
    assert rows.shape == (3, 3, 4, 5)
    assert 0 <= rows.min() < rows.max() <= 1
    assert torch.equal(rows, probe_rows(image))
    table = open_bundle(write_bundle(tmp_path, "table", baselines={"far": [100.0, -1.0]})).info
    rows = probe_rows(table).numpy()
    assert np.all((rows[:, 0] > -2) & (rows[:, 0] < 202) & (rows[:, 1] >= -3) & (rows[:, 1] <= 1))
    assert len(np.unique(rows)) == rows.size
