"""Which points go into the next pass: those of many jobs of one model and lane. No tensors.

The model and the shares of the jobs are `fairness.py`'s to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from attributor.engine.active_job import ActiveJob
from attributor.engine.alike import Alike
from attributor.engine.fairness import Fairness
from attributor.engine.task import Lane, Pick
from attributor.model_port import GradientModel, Points


@dataclass(frozen=True, slots=True)
class Batch:
    """One pass of one model, with whose picks they are, in the order in which the points go into it. `room`: the most
    points that it could have had."""

    model: GradientModel
    room: int
    picks: tuple[tuple[ActiveJob, Pick], ...]

    @property
    def points(self) -> list[Points]:
        """The points as the model takes them."""
        return [pick.points for _, pick in self.picks]

    @property
    def jobs(self) -> list[ActiveJob]:
        """The jobs that take part, each once."""
        return list(dict.fromkeys(job for job, _ in self.picks))

    def of_job(self, job: ActiveJob) -> "Batch":
        """The part of the pass that belongs to one job."""
        return Batch(self.model, self.room, tuple((owner, pick) for owner, pick in self.picks if owner is job))

    def sizes(self) -> dict[str, int]:
        """Points by job."""
        found: dict[str, int] = {}
        for job, pick in self.picks:
            found[job.id] = found.get(job.id, 0) + len(pick.points.asks)
        return found


@dataclass(frozen=True, slots=True)
class StackBatch:
    """One pass of one model over first rounds that are alike, with the numbers of each job's inputs. `room`: see
    Batch."""

    model: GradientModel
    room: int
    alike: Alike
    picks: tuple[tuple[ActiveJob, list[int]], ...]

    @property
    def jobs(self) -> list[ActiveJob]:
        """The jobs that take part, each once."""
        return [job for job, _ in self.picks]

    def of_job(self, job: ActiveJob) -> "StackBatch":
        """The part of the pass that belongs to one job."""
        return StackBatch(self.model, self.room, self.alike, tuple(pick for pick in self.picks if pick[0] is job))

    def sizes(self) -> dict[str, int]:
        """Points by job."""
        return {job.id: self.alike.n_points * len(numbers) for job, numbers in self.picks}


def pass_points(model: GradientModel, lane: Lane | None) -> int:
    """The most points that the next pass of a lane should have; None: of any."""
    if lane is None:
        return model.max_points
    return model.pass_points(lane[0].lane if isinstance(lane[0], Alike) else lane[0])


def plan(jobs: Mapping[str, ActiveJob], fairness: Fairness, now_s: float) -> Batch | StackBatch | None:
    """The next pass, or None if no job waits for one."""
    waiting = [job_id for job_id, job in jobs.items() if job.waits]
    if not waiting:
        return None
    first = jobs[fairness.next_model(waiting, now_s)]
    model, lane = first.model, first.first_lane()
    if lane is None:
        raise RuntimeError("a job without waiting points was chosen. This is a bug.")
    alike = lane[0] if isinstance(lane[0], Alike) else None
    counts = {
        job_id: count for job_id in waiting if (job := jobs[job_id]).model is model and (count := job.waiting(lane))
    }
    room = pass_points(model, lane)
    shares = fairness.shares(counts, room, now_s)
    if alike is not None:
        rounds = _whole_rounds(shares, room, alike.n_points)
        fairness.took({job_id: n * alike.n_points for job_id, n in rounds.items()})
        inputs = [(jobs[job_id], jobs[job_id].take_alike(lane, n)) for job_id, n in rounds.items()]
        return StackBatch(model, room, alike, tuple(inputs))
    picks = [(jobs[job_id], pick) for job_id, n in shares.items() if n for pick in jobs[job_id].take(lane, n)]
    return Batch(model, room, tuple(picks))


def _whole_rounds(shares: Mapping[str, int], room: int, points: int) -> dict[str, int]:
    """How many first rounds of so many points each job gets for its share of a pass, one at least in all: what is left
    of shares that hold no whole number of them goes to those that miss least."""
    rounds = {job_id: n // points for job_id, n in shares.items()}
    left = max(1, room // points) - sum(rounds.values())
    missing = sorted((job_id for job_id, n in shares.items() if n % points), key=lambda id: -(shares[id] % points))
    for job_id in missing[: max(0, left)]:
        rounds[job_id] += 1
    return {job_id: n for job_id, n in rounds.items() if n}
