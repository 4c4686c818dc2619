"""GradientModel on a torch module: the points of many paths, one forward and one backward pass over all of them.

Knows torch and one module on one device. Knows nothing of rules, jobs, bundles or who asks; never computes the
gradient of a parameter.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.jobs.model import ModelInfo
from attributor.ports import Evaluation, PathSpec, Point
from attributor.runtimes.paths import OpenPath, PathEnds
from attributor.runtimes.targets import class_scores

#: Points per pass. Within what was measured best on one CPU core for small nets: 200 to 800 (design.md, section 6).
DEFAULT_MAX_POINTS = 256


def configure_threads(n: int = 1) -> None:
    """Sets the threads of torch's CPU kernels in this process.

    One by default: worker processes share the cores, and threads that spin for each other slow all of them.
    """
    torch.set_num_threads(n)


class TorchModel:
    """A loaded module behind the GradientModel port; one thread at a time.

    `module` takes float32 (points, *input shape), returns logits (points, classes), and is in eval mode.
    Raises ValueError where the model has not exactly one input tensor.
    """

    def __init__(
        self, module: nn.Module, info: ModelInfo, device: str = "cpu", max_points: int = DEFAULT_MAX_POINTS
    ) -> None:
        if len(info.inputs) != 1:
            raise ValueError(f"{info.ref} has {len(info.inputs)} inputs; this runtime takes models with one.")
        self._module = module.to(device)
        self._max_points = max_points
        self._input = info.inputs[0].name
        self._n_classes = len(info.output.labels)
        self._ends = PathEnds(info.inputs[0].shape, torch.device(device))
        self._paths: dict[str, OpenPath] = {}

    @property
    def max_points(self) -> int:
        """The most points that fit one pass."""
        return self._max_points

    def open(self, path: str, spec: PathSpec) -> None:
        """Places a path's ends on the device. Without a baseline (a prediction) both ends are the example.

        Raises ValueError for a tensor of another shape or a class that the model does not have.
        """
        if path in self._paths:
            raise RuntimeError(f"Path {path!r} is already open. This is a bug.")
        class_index = spec.target.class_index
        if class_index is not None and not 0 <= class_index < self._n_classes:
            raise ValueError(f"The model has no class {class_index}. This is a bug.")
        example = spec.example[self._input]
        baseline = example if spec.baseline is None else spec.baseline[self._input]
        self._paths[path] = OpenPath(path, self._ends.add(baseline, example), spec.target)

    def evaluate(self, points: Sequence[Point]) -> list[Evaluation]:
        """One forward pass over all points and one backward pass over those that want a gradient.

        Rows do not see each other; a non-finite one is reported as it is. Raises RuntimeError for a path that is
        not open, or a target left open before its point at alpha 1.
        """
        if not points:
            return []
        paths = [self._open_path(point.path) for point in points]
        inputs, delta = self._ends.points([path.slot for path in paths], [point.alpha for point in points])
        wanted = [row for row, point in enumerate(points) if point.gradient]
        inputs.requires_grad_(bool(wanted))
        with torch.set_grad_enabled(bool(wanted)):
            logits = self._module(inputs)
            _record_outputs(points, paths, logits.detach())
            scores = class_scores(logits, [path.class_target for path in paths])
        slopes: dict[int, float] = {}
        if wanted:
            rows = torch.tensor(wanted, device=inputs.device)
            (gradient,) = torch.autograd.grad(scores.index_select(0, rows).sum(), inputs)
            vectors = gradient.index_select(0, rows) * delta.index_select(0, rows)
            slopes = dict(zip(wanted, vectors.flatten(1).sum(1, dtype=torch.float64).tolist(), strict=True))
            self._keep([points[row] for row in wanted], vectors)
        return [Evaluation(score, slopes.get(row)) for row, score in enumerate(scores.tolist())]

    def target_class(self, path: str) -> tuple[int, bool]:
        """The resolved class index, and whether it is the predicted one. Raises RuntimeError before alpha 1."""
        opened = self._open_path(path)
        class_index, _ = opened.class_target
        return class_index, class_index == opened.predicted_class

    def outputs(self, path: str) -> NDArray[np.float32]:
        """The raw outputs at alpha 1, shape (classes,). Raises RuntimeError before that point was evaluated."""
        return self._open_path(path).outputs

    def attributions(self, path: str, weights: Mapping[int, float]) -> Mapping[str, NDArray[np.float64]]:
        """Sum over nodes of weight * gradient * gamma', per input; float64, the input's shape.

        Raises RuntimeError for a node of weight other than 0 that was evaluated without its gradient.
        """
        return {self._input: self._open_path(path).weighted_sum(weights)}

    def close(self, path: str) -> None:
        """Forgets a path and its vectors."""
        self._ends.remove(self._open_path(path).slot)
        del self._paths[path]

    def _open_path(self, path: str) -> OpenPath:
        opened = self._paths.get(path)
        if opened is None:
            raise RuntimeError(f"Path {path!r} is not open. This is a bug.")
        return opened

    def _keep(self, points: Sequence[Point], vectors: Tensor) -> None:
        """Hands each path a copy of its own rows: a view would keep the whole batch until its last path closes."""
        rows: dict[str, list[int]] = {}
        for row, point in enumerate(points):
            rows.setdefault(point.path, []).append(row)
        for path, own in rows.items():
            kept = vectors.index_select(0, torch.tensor(own, device=vectors.device))
            self._paths[path].keep([points[row].node for row in own], kept)


def _record_outputs(points: Sequence[Point], paths: Sequence[OpenPath], logits: Tensor) -> None:
    """Gives each path its logits at alpha 1, in one transfer, as the classes of open targets hang on them."""
    at_example = [row for row, point in enumerate(points) if point.alpha == 1.0]
    if at_example:
        outputs = logits.index_select(0, torch.tensor(at_example, device=logits.device)).cpu().numpy()
        for row, values in zip(at_example, outputs, strict=True):
            paths[row].record_outputs(values.copy())
