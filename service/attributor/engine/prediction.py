"""A prediction seen as the shortest integration: one node at the input, no gradient."""

from attributor.core.integrator import Integral, Node, StopReason, Told, checked

_NODE = Node(0, 1.0, False)


class PredictionProbe:
    """An Integrator that wants the score at alpha 1 and nothing else."""

    def __init__(self) -> None:
        self._wanted: tuple[Node, ...] = (_NODE,)
        self._told: Told | None = None

    @property
    def done(self) -> bool:
        """Whether the score was told."""
        return self._told is not None

    def ask(self) -> tuple[Node, ...]:
        """The one node, once."""
        wanted, self._wanted = self._wanted, ()
        return wanted

    def tell(self, index: int, score: float, slope: float | None) -> None:
        """See Integrator. Raises NonFiniteScore."""
        self._told = checked(_NODE, score, slope, open_end_allowed=False)

    def error(self) -> float | None:
        """There is no path, so there is no completeness error."""
        return None

    def result(self) -> Integral:
        """An integral of no weight. Raises RuntimeError before `done`."""
        if self._told is None:
            raise RuntimeError("not done: the score is still to be told. This is a bug.")
        return Integral((self._told,), {}, None, StopReason.FIXED_RULE, converged=True)
