"""Rounds of alike inputs in one pass: evaluated, integrated and answered together. What needs more than a few goes to
its procedure, with all that is known. Knows jobs, stacks and what they have in common; no torch, no store.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from attributor.core.first_round import EVEN_ROUNDS, even_refined
from attributor.core.spectral import Rule
from attributor.core.stack import FirstRounds, first_rounds
from attributor.engine.active_job import ActiveJob
from attributor.engine.alike import Alike, stacked
from attributor.engine.faults import RAISED_BY_MODELS
from attributor.engine.outcome import LARGEST_FLOAT32
from attributor.engine.scheduler import StackBatch
from attributor.engine.stacked_answers import Integrated, Row, answers
from attributor.engine.task import Task, Wish
from attributor.model_port import GradientModel, Stack, StackTold, joined_told
from attributor.ports import Clock

log = logging.getLogger(__name__)

#: A job, and the number of its input.
Owner = tuple[ActiveJob, int]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a stack of inputs after some rounds, by the nodes of `rule`."""

    model: GradientModel
    alike: Alike
    owners: Sequence[Owner]
    rule: Rule
    rounds: int
    told: StackTold

    @property
    def n_new(self) -> int:
        """Points that the last round had of each: the example, and every other node."""
        return self.rule.n - self.rule.n // 2 + 1


def evaluate(batch: StackBatch) -> Known:
    """The first round of a pass. Raises whatever the model raises."""
    owners = [(job, number) for job, numbers in batch.picks for number in numbers]
    rule = batch.alike.rule
    return Known(batch.model, batch.alike, owners, rule, 1, _told(batch.model, batch.alike, owners, rule.alphas))


def settle(known: Known, now_s: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give each job the answers of its inputs whose tolerance holds; the rows of the others: those that another round
    may help, and those that it cannot."""
    rounds = first_rounds(known.rule, known.alike.tolerance, known.told.scores, known.told.slopes)
    rows = np.flatnonzero(rounds.met)
    if len(rows):
        rows = _answer(known, rows, rounds, now_s)
    left = np.ones(len(known.owners), np.bool_)
    left[rows] = False
    return np.flatnonzero(left & rounds.open), np.flatnonzero(left & ~rounds.open)


def finish(known: Known, clock: Clock, points: Counter[str]) -> list[tuple[Known, int]]:
    """Let rows have their answers, after further rounds where these help, whose points are added to `points` by job;
    those that need more than that, each with what is known by then. Raises what is wrong with the first round's
    arithmetic, before any answer is given."""
    left, others = settle(known, clock())
    unfinished = [(known, row) for row in others.tolist()]
    try:
        while len(left) and (more := _refined(known, left)) is not None:
            for job, _ in more.owners:
                points[job.id] += more.n_new
            open_rows, others = settle(more, clock())
            known, left = more, open_rows
            unfinished += [(known, row) for row in others.tolist()]
    except Exception:  # a defect, of which the procedures know nothing
        log.exception("%d inputs go to their procedures", len(left))
    return unfinished + [(known, row) for row in left.tolist()]


def _refined(known: Known, rows: NDArray[np.intp]) -> Known | None:
    """Some rows after another round, whose nodes lie between the known ones; None where there is none, or the model
    raises: the procedures then find whose fault it is."""
    rule = even_refined(known.rule, known.alike.quadrature.max_evaluations)
    if known.rounds == EVEN_ROUNDS or rule is None:
        return None
    owners = [known.owners[row] for row in rows.tolist()]
    alphas = rule.alphas[::2]
    at_once = max(1, known.model.pass_points(known.alike.lane) // (len(alphas) + 1))
    try:
        parts = [
            _told(known.model, known.alike, owners[first : first + at_once], alphas)
            for first in range(0, len(owners), at_once)
        ]
    except RAISED_BY_MODELS:
        return None
    told = known.told.refined(rows, joined_told(parts))
    if any(known.told.resolved[row] != target for row, target in zip(rows.tolist(), told.resolved, strict=True)):
        return None  # classes so near to each other that rounding tells which one is predicted
    return Known(known.model, known.alike, owners, rule, known.rounds + 1, told)


def _told(model: GradientModel, alike: Alike, owners: Sequence[Owner], alphas: tuple[float, ...]) -> StackTold:
    examples = [job.spec.inputs[number] for job, number in owners]
    return model.evaluate_stack(Stack(stacked(examples), alike.baseline.tensors, alike.target, alphas))


def _answer(known: Known, rows: NDArray[np.intp], rounds: FirstRounds, now_s: float) -> NDArray[np.intp]:
    """Answer some rows; those of them whose attributions float32 can hold. The procedures of the others say what is
    wrong with them."""
    vectors = known.told.vectors
    sums = vectors.sums(rows, rounds.weights[rows]), vectors.sums(rows, rounds.coarse_weights)
    integrated = Integrated(known.rule, known.rounds, rounds, *sums)
    fine = _representable(integrated, len(rows))
    if not fine.all():
        return _answer(known, rows[fine], rounds, now_s) if fine.any() else rows[:0]
    owners = [known.owners[row] for row in rows.tolist()]
    asked = [Row(job.spec, number, now_s - job.admitted_s) for job, number in owners]
    found = answers(known.alike, asked, rows, known.told, integrated)
    places = range(len(owners))
    by_job = [list(own) for _, own in groupby(places, lambda place: id(owners[place][0]))]  # a job's are neighbours
    alone = [place for place, *others in by_job if not others]
    if alone:
        for (job, number), result in zip([owners[place] for place in alone], found.of(alone), strict=True):
            job.answered(number, (result,), result.evaluations, result.relative_completeness_error)
    for own in by_job:
        if len(own) > 1:
            owners[own[0]][0].answered_together(found.of(own))
    return rows


def _representable(found: Integrated, n_rows: int) -> NDArray[np.bool_]:
    fine = np.ones(n_rows, np.bool_)
    for values in found.fine.values():
        fine &= (np.abs(values) <= LARGEST_FLOAT32).reshape(n_rows, -1).all(axis=1)
    return fine


def go_on(known: Known, row: int) -> tuple[Task, Wish] | None:
    """Hand a row over to its procedure, which is told what is known; None where that is of no use to it, or there is
    no room for it now. Raises what the procedure raises."""
    job, number = known.owners[row]
    task = job.hand_over(number, known.rounds)
    if task is None:
        return None
    portions = task.start()
    if task.first_asks != known.alike.asks(known.rule):  # with so little memory that it begins with fewer nodes
        job.add(portions)
        return None
    task.work.costs.forwards += 2 * (known.rounds - 1)  # each round has both ends (a stack one start)
    return task, task.resume(lambda route, asks: known.model.take_over(route, asks, known.told, row))
