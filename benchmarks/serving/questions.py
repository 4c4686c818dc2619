"""The inputs of a model as prepared requests, with what is true of them: the scores at both ends of each path."""

import base64
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from benchmarks.serving import bundles
from benchmarks.serving.load import Run
from benchmarks.serving.peers.captum_part import Explainer

TOLERANCE = 0.05
#: What rounding may add to an answer's own figures: float32 sums of ten thousands of terms, relative to the gap.
ROUNDING = 1e-3
#: Step counts tried for peers; each later one is tried only if the one before does not do.
STEPS = (*range(3, 21), *range(22, 51, 2), *range(55, 101, 5), *range(110, 301, 10))
_ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Questions:
    """Distinct inputs of one model (n, *shape), F(x) and F(x') of each, float64, and Captum on the same module."""

    model: str
    values: NDArray
    scores: NDArray[np.float64]
    starts: NDArray[np.float64]
    captum: Explainer
    _made: dict[tuple, list[bytes]] = field(default_factory=dict)

    @property
    def gaps(self) -> NDArray[np.float64]:
        return self.scores - self.starts

    def bodies(self, per_request: int, *, ours: bool, **options: object) -> list[bytes]:
        """Requests that carry so many inputs each: request i has inputs i * per_request and on."""
        key = (per_request, ours, *sorted(options.items()))
        if key not in self._made:
            extra = {"tolerance": TOLERANCE, **options} if ours else {}
            items = [_item(self.model, row) for row in self.values]
            firsts = range(0, len(items) - per_request + 1, per_request)
            self._made[key] = [
                json.dumps({"model": self.model, "inputs": items[first : first + per_request], **extra}).encode()
                for first in firsts
            ]
        return self._made[key]


def questions(models: Path, model: str, count: int) -> Questions:
    """Makes the inputs and computes their scores with the bare module."""
    values = bundles.inputs(model, count)
    os.environ["PEER_BUNDLE"] = str(models / model / "1")
    captum = Explainer()
    ends = [captum.gaps(part) for part in torch.from_numpy(values).split(_ROWS_AT_ONCE)]
    scores, starts = (torch.cat(parts).double().numpy() for parts in zip(*ends, strict=True))
    return Questions(model, values, scores, starts, captum)


def smallest_steps(asked: Questions, count: int) -> tuple[int, float]:
    """The smallest number of Captum's steps with every one of the first `count` inputs within the tolerance, and the
    largest error with 50 steps."""

    def worst(steps: int) -> float:
        largest = 0.0
        for found in _errors(asked, count, steps):
            largest = max(largest, float(found.max()))
            if largest > TOLERANCE and steps != 50:
                break
        return largest

    reached = next((steps for steps in STEPS if worst(steps) <= TOLERANCE), STEPS[-1])
    return reached, worst(50)


def share_within(asked: Questions, count: int, steps: int) -> float:
    """Of the first `count` inputs, those that Captum has within the tolerance with so many steps."""
    return float((np.concatenate([*_errors(asked, count, steps)]) <= TOLERANCE).mean())


def _errors(asked: Questions, count: int, steps: int) -> Iterator[NDArray[np.float64]]:
    """Relative completeness errors of Captum's answers, four at a time."""
    for first in range(0, count, 4):
        part = slice(first, min(first + 4, count))
        found, _ = asked.captum.attribute(torch.from_numpy(asked.values[part]), steps)
        gaps = asked.gaps[part]
        yield np.abs(found.flatten(1).double().sum(1).numpy() - gaps) / np.abs(gaps)


@dataclass(slots=True)
class Checked:
    """What the answers of a run amount to. `stated`: above 5 % of the gap, within the wider limit that the answer
    states; `unmet`: says that it did not converge; `violations`: none of these; `misstated`: the answer's own error is
    not the one recomputed."""

    results: int = 0
    within: int = 0
    stated: int = 0
    unmet: int = 0
    violations: int = 0
    misstated: int = 0
    worst: float = 0.0
    evaluations: int = 0
    forwards: int = 0

    def add(self, other: "Checked") -> None:
        for name in self.__slots__:
            joined = max if name == "worst" else sum
            setattr(self, name, joined((getattr(self, name), getattr(other, name))))


def checked(run: Run, asked: Questions) -> Checked:
    """Every answer of ours against the scores of the bare module."""
    found = Checked()
    for answer in run.answers:
        document = orjson.loads(answer.body)
        first = answer.request * run.inputs_per_request
        results = document.get("results") or []
        found.violations += run.inputs_per_request - len(results)
        for result in results:
            _check(result, float(asked.gaps[first + result["input"]]), found)
    return found


def _check(result: dict, gap: float, found: Checked) -> None:
    total = sum(float(_array(tensor).sum(dtype=np.float64)) for tensor in result["attributions"].values())
    error = abs(total - gap)
    found.results += 1
    found.evaluations += result["evaluations"]
    found.forwards += result["forwards"]
    found.worst = max(found.worst, error / abs(gap))
    found.misstated += abs(error - result["completeness_error"]["absolute"]) > ROUNDING * abs(gap)
    limit = result["tolerance"]["absolute"]
    if error <= (TOLERANCE + ROUNDING) * abs(gap):
        found.within += 1
    elif not result["converged"]:
        found.unmet += 1
    elif limit is not None and error <= limit + ROUNDING * abs(gap):
        found.stated += 1
    else:
        found.violations += 1


def _array(tensor: dict) -> NDArray:
    if tensor["encoding"] == "base64-npy":
        return np.load(io.BytesIO(base64.b64decode(tensor["data"])), allow_pickle=False)
    return np.asarray(tensor["data"])


def _item(model: str, row: NDArray) -> dict:
    datatype, decimals = ("INT64", None) if row.dtype.kind == "i" else ("FP32", 6)
    flat = row.ravel().tolist()
    data = flat if decimals is None else [float(f"{value:.{decimals}g}") for value in flat]
    return {bundles.input_name(model): {"shape": list(row.shape), "datatype": datatype, "data": data}}
