"""A route: curves in the inputs (or a layer) of one example, opened on a model, and the sums of vectors along them."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attributor.core.integrator import Integrator, Seal
from attributor.engine.faults import of_the_model
from attributor.jobs.model import Tensors
from attributor.model_port import Blur, CurveSpec, GradientModel, Registered, RouteSpec

Vectors = Mapping[str, NDArray[np.float64]]


@dataclass(slots=True, eq=False)
class Route:
    """One route. `integrator`: the one that works on it, if any, for the job's progress. `sealed`: nodes whose vectors
    are in sums, in part at least, and are not to be had by themselves."""

    id: str
    model: GradientModel
    spec: RouteSpec
    integrator: Integrator | None = None
    lane: Hashable = None
    sealed: set[int] = field(default_factory=set)
    _open: bool = field(default=False)

    def open(self) -> "Route":
        """Begin it on the model. Raises ModelError: a layer's shape is found by a pass."""
        self.lane = self.model.lane(self.spec)
        with of_the_model():
            self.model.open(self.id, self.spec)
        self._open = True
        return self

    def add_curve(
        self,
        start: Tensors,
        end: Tensors,
        bends: Mapping[str, Blur | Registered] | None = None,
        *,
        plain: bool = False,
    ) -> int:
        """Place a curve; its number in the route, from 0. Raises ModelError: a layer's ends are found by a pass."""
        with of_the_model():
            return self.model.add_curve(self.id, CurveSpec(start, end, bends or {}, plain))

    def weights_now(self) -> Mapping[int, float] | None:
        """Those of the first target with which the integrator would stop now; None while it has none."""
        return self.integrator.weights_now() if self.integrator else None

    def attributions(self, target: int, weights: Mapping[int, float], *, coarse: bool = False) -> Vectors:
        """Weighted sum of vectors, per input or layer. `coarse`: the weights are those of the coarse rule."""
        return self.model.attributions(self.id, target, weights, coarse=coarse)

    def seal(self, seal: Seal) -> None:
        """Sum up and forget vectors whose weights are final."""
        for weights in (*seal.weights, *(each for each in seal.coarse_weights if each is not None)):
            self.sealed |= weights.keys()
        self.sealed.update(seal.dropped)
        self.model.seal(self.id, seal)

    def attribution_error(
        self, target: int, weights: Mapping[int, float], coarse_weights: Mapping[int, float] | None
    ) -> float | None:
        """||A - A_coarse||_1 / ||A||_1; None where undefined."""
        if coarse_weights is None:
            return None
        fine, coarse = self.attributions(target, weights), self.attributions(target, coarse_weights, coarse=True)
        size = float(sum(np.abs(values).sum() for values in fine.values()))
        difference = float(sum(np.abs(fine[name] - coarse[name]).sum() for name in fine))
        return difference / size if size > 0 else None

    def layer_is_cut(self, baseline: Tensors) -> bool:
        """Whether all of the score passes through the route's layer. Raises ModelError."""
        with of_the_model():
            return self.model.layer_is_cut(self.id, baseline)

    def close(self) -> None:
        """Free its vectors; more than once is harmless."""
        if self._open:
            self._open = False
            self.model.close(self.id)
