"""Which points go into the next pass: nodes of many jobs of one model, in one order. No tensors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from attributor.core.integrator import Node
from attributor.engine.active_job import ActiveJob, ActivePath
from attributor.ports import Point


@dataclass(frozen=True, slots=True)
class Batch:
    """One pass of one model: parallel tuples, in the order in which the points go into it."""

    ref: str
    owners: tuple[tuple[ActiveJob, ActivePath], ...]
    nodes: tuple[Node, ...]

    @property
    def points(self) -> list[Point]:
        """The points as the model takes them."""
        return [
            Point(path.id, node.index, node.alpha, node.gradient)
            for (_, path), node in zip(self.owners, self.nodes, strict=True)
        ]

    def of_job(self, job: ActiveJob) -> "Batch":
        """The part of the pass that belongs to one job."""
        kept = [i for i, (owner, _) in enumerate(self.owners) if owner is job]
        return Batch(self.ref, tuple(self.owners[i] for i in kept), tuple(self.nodes[i] for i in kept))


def plan(jobs: Iterable[ActiveJob], max_points: Callable[[ActiveJob], int]) -> Batch | None:
    """The next pass, or None if no job waits for one.

    The model is that of the first waiting job. Its jobs' paths take turns, one node each, until the pass is full: a
    path with 500 nodes shares it with one of 5. A path's nodes keep their order, so alpha 1 comes first.
    """
    waiting = [(job, path) for job in jobs for path in job.paths if path.waiting]
    if not waiting:
        return None
    ref = waiting[0][0].spec.ref
    turn = [(job, path) for job, path in waiting if job.spec.ref == ref]
    room = max_points(waiting[0][0])
    owners: list[tuple[ActiveJob, ActivePath]] = []
    nodes: list[Node] = []
    while turn and room:
        taken = turn[:room]
        for owner in taken:
            owners.append(owner)
            nodes.append(owner[1].waiting.popleft())
        room -= len(taken)
        turn = [owner for owner in turn if owner[1].waiting]
    return Batch(ref, tuple(owners), tuple(nodes))
