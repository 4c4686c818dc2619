"""Nets by both exporters of torch.onnx at every opset: how far the importer is from onnxruntime and from the original.

`python -m benchmarks.onnx_exports` prints, per file, the largest difference of outputs at batches of 1, 2 and 5, and
that of the gradient for the input, relative to its norm.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from attributor.onnx_importer.module import import_model
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from onnx_nets import NETS, Exporter, export, net

#: The oldest opset of the older exporter, and the newest of the newer one.
OPSETS = {"cnn": (13, 26), "transformer": (14, 25), "words": (14, 25), "lstm": (13, 26)}
BATCHES = (1, 2, 5)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{'net':<14}{'exporter':<14}{'opset':>6}{'outputs':>10}{'gradient':>10}")
    for name, (oldest, newest) in OPSETS.items():
        files: list[tuple[Exporter, int]] = [("torchscript", opset) for opset in range(oldest, 21)]
        files += [("dynamo", opset) for opset in range(18, newest + 1)]
        for exporter, opset in files:
            outputs, gradients = differences(name, exporter, opset)
            print(f"{name:<14}{exporter:<14}{opset:>6}{outputs:>10.0e}{gradients:>10.0e}", flush=True)


def differences(name: str, exporter: Exporter, opset: int) -> tuple[float, float]:
    import onnxruntime

    original = net(name)
    data = export(original, NETS[name].inputs(3, 0), exporter, opset)
    module = import_model(data)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    outputs = gradients = 0.0
    for rows in BATCHES:
        inputs = NETS[name].inputs(rows, rows)
        found = module(*inputs)
        given = {each.name: x.numpy() for each, x in zip(session.get_inputs(), inputs, strict=True)}
        reference = session.run(None, given)[0]
        outputs = max(
            outputs, float((found - original(*inputs)).abs().max()), float(np.abs(found.numpy() - reference).max())
        )
        if inputs[0].is_floating_point():
            ours, theirs = gradient(module, inputs), gradient(original, inputs)
            gradients = max(gradients, float((ours - theirs).norm() / theirs.norm()))
    return outputs, gradients


def gradient(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    x = inputs[0].detach().requires_grad_()
    return torch.autograd.grad(module(x, *inputs[1:]).square().sum(), x)[0]


if __name__ == "__main__":
    main()
