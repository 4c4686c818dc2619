"""First rounds of alike inputs in one pass: evaluated, integrated and answered together. What needs more goes to its
procedure, with all that is known. Knows jobs, stacks and what they have in common; no torch, no store.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.core.stack import FirstRounds, first_rounds
from attributor.engine.active_job import ActiveJob
from attributor.engine.alike import Alike, stacked
from attributor.engine.outcome import LARGEST_FLOAT32
from attributor.engine.scheduler import StackBatch
from attributor.engine.stacked_answers import Row, Sums, answers
from attributor.engine.task import Task, Wish
from attributor.model_port import Stack, StackTold

#: A row of a stack that needs more: the job, the number of its input, and where the row stands.
Unfinished = tuple[ActiveJob, int, int]


def evaluate(batch: StackBatch) -> StackTold:
    """What the model says of all rows of a pass. Raises whatever it raises."""
    alike = batch.alike
    examples = [job.spec.inputs[number] for job, numbers in batch.picks for number in numbers]
    return batch.model.evaluate_stack(Stack(stacked(examples), alike.baseline.tensors, alike.target, alike.rule.alphas))


def settle(batch: StackBatch, told: StackTold, now_s: float) -> list[Unfinished]:
    """Give each job the answers of its inputs whose tolerance holds; the others."""
    alike = batch.alike
    rounds = first_rounds(alike.rule, alike.tolerance, told.scores, told.slopes)
    owners = [(job, number) for job, numbers in batch.picks for number in numbers]
    rows = np.flatnonzero(rounds.met)
    if len(rows):
        rows = _answer(alike, owners, rows, told, rounds, now_s)
    left = np.ones(len(owners), np.bool_)
    left[rows] = False
    return [(*owners[row], row) for row in np.flatnonzero(left).tolist()]


def _answer(
    alike: Alike,
    owners: Sequence[tuple[ActiveJob, int]],
    rows: NDArray[np.intp],
    told: StackTold,
    rounds: FirstRounds,
    now_s: float,
) -> NDArray[np.intp]:
    """Answer some rows; those of them whose attributions float32 can hold. The procedures of the others say what is
    wrong with them."""
    sums = Sums(told.vectors.sums(rows, rounds.weights[rows]), told.vectors.sums(rows, rounds.coarse_weights))
    fine = _representable(sums, len(rows))
    if not fine.all():
        return _answer(alike, owners, rows[fine], told, rounds, now_s) if fine.any() else rows[:0]
    asked = [Row(job.spec, number, now_s - job.admitted_s) for job, number in (owners[row] for row in rows.tolist())]
    for row, result in zip(rows.tolist(), answers(alike, asked, rows, told, rounds, sums), strict=True):
        job, number = owners[row]
        job.answered(number, (result,), result.evaluations, result.relative_completeness_error)
    return rows


def _representable(sums: Sums, n_rows: int) -> NDArray[np.bool_]:
    fine = np.ones(n_rows, np.bool_)
    for values in sums.fine.values():
        fine &= (np.abs(values) <= LARGEST_FLOAT32).reshape(n_rows, -1).all(axis=1)
    return fine


def go_on(batch: StackBatch, told: StackTold, unfinished: Unfinished) -> tuple[Task, Wish] | None:
    """Hand a row over to its procedure, which is told what is known; None where that is of no use to it, or there is
    no room for it now. Raises what the procedure raises."""
    job, number, row = unfinished
    task = job.hand_over(number)
    if task is None:
        return None
    portions = task.start()
    if task.first_asks != batch.alike.asks:  # with so little memory that it begins with fewer nodes
        job.add(portions)
        return None
    return task, task.resume(lambda route, asks: batch.model.take_over(route, asks, told, row))
