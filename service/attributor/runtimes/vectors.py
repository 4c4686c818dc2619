"""The vectors of one route's nodes, float32 on the device, and their weighted sums. Knows torch; runs no model."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.core.asks import Indices
from attributor.core.integrator import Seal

#: Indexes of nodes, and their vectors, shape (nodes, *shape), as a pass brought them.
Part = tuple[Indices, Tensor]
#: Values that are converted to float64 at once where they are added up. Ours: 32 MB, a sixth of what the vectors of a
#: job may take by default.
MOST_WIDE_VALUES = 4_000_000


#: Values that numpy adds up sooner than torch does: measured, 3 microseconds against 8 for 9 vectors of 30 numbers.
SMALL_VALUES = 1 << 14


class Vectors:
    """By target and name of an input or layer. Where weights are final, sums take the place of vectors (`seal`)."""

    def __init__(self, route: str) -> None:
        self._route = route
        self._parts: dict[tuple[int, str], list[Part]] = {}
        #: By target, and whether of the coarse rule: the weights that are in the sums, and the sums by name, flat.
        self._weights: dict[tuple[int, bool], dict[int, float]] = {}
        self._sums: dict[tuple[int, bool], dict[str, Tensor]] = {}

    @property
    def nbytes(self) -> int:
        """What vectors and sums take."""
        kept = [rows for parts in self._parts.values() for _, rows in parts]
        return sum(each.nbytes for each in (*kept, *(total for sums in self._sums.values() for total in sums.values())))

    def keep(self, key: tuple[int, str], nodes: Indices, vectors: Tensor) -> None:
        """Stores vectors of nodes under target and name, shape (nodes, *shape)."""
        self._parts.setdefault(key, []).append((nodes, vectors))

    def sums(
        self, target: int, weights: Mapping[int, float], *, coarse: bool = False
    ) -> dict[str, NDArray[np.float64]]:
        """Sum of weight * vector per name, in float64. Weight 0 drops a node, also one whose vector is not finite.

        What was sealed is in it, so `weights` must hold all of that too; unless they are of other nodes altogether.

        Raises RuntimeError for a node without a vector, and where no weight is left.
        """
        sealed = self._weights.get((target, coarse))
        if sealed and sealed.keys().isdisjoint(weights):
            sealed = None
        still = _less(weights, sealed) if sealed else weights
        if (not any(still.values()) and not sealed) or all(kept != target for kept, _ in self._parts):
            raise RuntimeError(f"Route {self._route!r} has no vectors to add up, or no weights. This is a bug.")
        # Copies: whoever asks may write into the answer.
        sums = self._sums[target, coarse] if sealed else {}
        known = {name: total.clone() for name, total in sums.items()}
        return {
            name: self._total(parts, still, known.get(name)).cpu().numpy().reshape(parts[0][1].shape[1:])
            for (kept, name), parts in self._parts.items()
            if kept == target
        }

    def seal(self, seal: Seal) -> None:
        """Adds what is final to the sums, and forgets the vectors that are needed no more."""
        self.add(seal)
        self.drop(np.array(seal.dropped, np.intp))

    def add(self, seal: Seal) -> None:
        """Adds what is final to the sums: all of it, or, where memory runs out, nothing."""
        rules = [((target, False), weights) for target, weights in enumerate(seal.weights)]
        rules += [
            ((target, True), weights) for target, weights in enumerate(seal.coarse_weights) if weights is not None
        ]
        sums = {(target, coarse): self._added(target, weights, coarse=coarse) for (target, coarse), weights in rules}
        self._sums |= sums
        for rule, weights in rules:
            known = self._weights.setdefault(rule, {})
            for node, weight in weights.items():
                known[node] = known.get(node, 0.0) + weight

    def drop(self, nodes: Indices) -> None:
        """Forgets the vectors of some nodes, if they have any."""
        for parts in self._parts.values():
            # One by one, so that there are not two copies of all that stays. An empty part still tells the shape.
            for n in range(len(parts)):
                parts[n] = _without(parts[n], nodes)
            parts[1:] = [part for part in parts[1:] if len(part[0])]

    def _added(self, target: int, weights: Mapping[int, float], *, coarse: bool) -> dict[str, Tensor]:
        """The sums of a target by name, with some more vectors in them."""
        sums = self._sums.get((target, coarse), {})
        return {
            name: self._total(parts, weights, sums.get(name))
            for (kept, name), parts in self._parts.items()
            if kept == target
        }

    def _total(self, parts: Sequence[Part], weights: Mapping[int, float], total: Tensor | None) -> Tensor:
        """`total` and the weighted sum of vectors, flat; a few at a time, so that few are there in float64."""
        if total is None and _are_small(parts) and (found := _small_total(parts, weights)) is not None:
            return torch.from_numpy(found)
        missing = sum(weight != 0 for weight in weights.values())
        for nodes, rows in parts:
            factors = [weights.get(node, 0.0) for node in nodes.tolist()]
            used = [n for n, factor in enumerate(factors) if factor]
            if not used:
                continue
            missing -= len(used)
            step = max(1, MOST_WIDE_VALUES // max(1, rows[0].numel()))
            for first in range(0, len(used), step):
                some = used[first : first + step]
                few = rows if len(some) == len(factors) else rows[some]
                weight = torch.from_numpy(np.array([factors[n] for n in some])).to(rows.device)
                part = weight @ few.reshape(len(few), -1).double()
                total = part if total is None else total + part
        if missing or total is None:
            lacking = sorted(weights.keys() - {node for nodes, _ in parts for node in nodes.tolist()})
            raise RuntimeError(f"Route {self._route!r} has no vectors at nodes {lacking}. This is a bug.")
        return total


def _are_small(parts: Sequence[Part]) -> bool:
    return parts[0][1].device.type == "cpu" and sum(rows.numel() for _, rows in parts) <= SMALL_VALUES


def _small_total(parts: Sequence[Part], weights: Mapping[int, float]) -> NDArray[np.float64] | None:
    """The sum of a few small vectors, as most nets' are, by numpy, which begins sooner; None if a node is missing."""
    missing = len(weights)
    total: NDArray[np.float64] | None = None
    for nodes, rows in parts:
        numbers = nodes.tolist()
        known = [n for n, node in enumerate(numbers) if node in weights]
        missing -= len(known)
        # A weight of zero drops its node, also one whose vector is not finite.
        used = [n for n in known if weights[numbers[n]]]
        if used:
            values = rows.numpy().reshape(len(rows), -1)
            factors = np.array([weights[numbers[n]] for n in used])
            part = factors @ (values if len(used) == len(numbers) else values[used]).astype(np.float64)
            total = part if total is None else total + part
    return None if missing else total


def _less(weights: Mapping[int, float], sealed: Mapping[int, float]) -> dict[int, float]:
    return {node: weight - sealed.get(node, 0.0) for node, weight in weights.items()}


def _without(part: Part, gone: Indices) -> Part:
    """What is left of a part, a copy, so that its memory is given back."""
    nodes, rows = part
    stays = ~np.isin(nodes, gone)
    if stays.all():
        return part
    return nodes[stays], rows[torch.from_numpy(np.flatnonzero(stays)).to(rows.device)]
