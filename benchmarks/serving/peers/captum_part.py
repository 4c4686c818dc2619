"""What all peers have in common: the bundle's module, and Captum's integrated gradients as its users call it.

The score is the probability of the class predicted at the input, as ours by default; Gauss-Legendre is Captum's own
default rule, and 50 its default number of steps. Configured by the environment, as every server hands that on to its
workers: PEER_BUNDLE (a folder), PEER_STEPS, PEER_THREADS (0: torch's own choice).
"""

import importlib.util
import os
import tomllib
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

#: A request's input: by name, a tensor in Open Inference Protocol form.
Item = dict[str, dict[str, Any]]


class Explainer:
    """A bundle's module and its default baseline, explained by Captum."""

    def __init__(self) -> None:
        threads = int(os.environ.get("PEER_THREADS", "1"))
        if threads:
            torch.set_num_threads(threads)
        folder = Path(os.environ["PEER_BUNDLE"])
        self._steps = int(os.environ.get("PEER_STEPS", "50"))
        manifest = tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))
        self.module = load_module(folder, manifest["entry"])
        declared = manifest["inputs"][0]
        self._name, self._shape = declared["name"], tuple(declared["shape"])
        self._tokens = declared["kind"] == "tokens"
        values = manifest["baselines"][manifest["default_baseline"]]["values"][self._name]
        self._baseline = values if self._tokens else torch.tensor(values, dtype=torch.float32).expand(self._shape)
        self._method = IntegratedGradients(self._probabilities)

    def _probabilities(self, points: Tensor) -> Tensor:
        logits = self.module.from_embeddings(points) if self._tokens else self.module(points)
        return logits.softmax(1)

    def tensor(self, items: list[Item]) -> Tensor:
        """The inputs as one batch."""
        dtype = torch.int64 if self._tokens else torch.float32
        rows = [torch.tensor(item[self._name]["data"], dtype=dtype) for item in items]
        return torch.stack(rows).view(len(rows), *self._shape)

    def attribute(self, batch: Tensor, steps: int | None = None) -> tuple[Tensor, Tensor]:
        """Attributions (n, *shape; of tokens (n, tokens)) and the predicted classes."""
        points = self.module.embed(batch) if self._tokens else batch
        with torch.no_grad():
            predicted = self._probabilities(points).argmax(1)
        baselines = torch.zeros_like(points[:1]) if self._tokens else self._baseline[None]
        found = self._method.attribute(
            points, baselines=baselines, target=predicted, n_steps=steps or self._steps, method="gausslegendre"
        )
        return (found.sum(-1) if self._tokens else found).detach().float(), predicted

    def gaps(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the predicted classes at the inputs, and at the baseline, each (n,)."""
        points = self.module.embed(batch) if self._tokens else batch
        start = torch.zeros_like(points[:1]) if self._tokens else self._baseline[None]
        with torch.no_grad():
            ends = self._probabilities(points)
            predicted = ends.argmax(1)
            return ends.gather(1, predicted[:, None])[:, 0], self._probabilities(start)[0][predicted]

    def explain(self, items: list[Item]) -> list[dict[str, Any]]:
        """The answers to one or more inputs, all handed to Captum at once."""
        attributions, predicted = self.attribute(self.tensor(items))
        return [
            {"target": target, "attributions": {self._name: {"shape": list(row.shape), "data": row.flatten().tolist()}}}
            for row, target in zip(attributions, predicted.tolist(), strict=True)
        ]


def load_module(folder: Path, entry: str) -> nn.Module:
    """The bundle's module with its weights, in evaluation mode, as any user of torch loads one."""
    from safetensors.torch import load_file

    file, function = entry.split(":")
    spec = importlib.util.spec_from_file_location("bundle_of_the_benchmark", folder / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    module: nn.Module = getattr(code, function)()
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    return module.eval().requires_grad_(False)
