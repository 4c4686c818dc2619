"""What the service must reach, each held against what was measured. Where there are two readings, both stand."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.serving.cells import LARGE, MANY, MEMORY_CLIENTS, STEPS, Cell, Measured
from benchmarks.serving.fairness import MOST_STEPS_LATER
from benchmarks.serving.parties import OURS

_RATIOS = {"mlp": 2.0, "digits": 3.0, "encoder": 3.0, "cnn224": 4.0, "googlenet": 4.0}
_RATIO_MANY = 10.0
SHARE_OF_LIMIT = 0.9


@dataclass(frozen=True, slots=True)
class Bar:
    """What is asked for, what was measured, and whether it does."""

    what: str
    asked: str
    measured: str
    met: bool


def bars(found: Measured) -> Iterator[Bar]:
    """All bars that this model has figures for."""
    large = found.model in LARGE
    for own in (False, True):
        yield from _rate(found, Cell(MEMORY_CLIENTS if large else 128), own=own)
        if not large:
            yield from _many(found, own=own)
    if not large:
        yield from _latency(found)
    else:
        yield from _memory(found)
    yield from _answers(found)
    yield from _limit(found)
    if found.fairness:
        later = found.fairness.steps_later
        what = f"{found.model}: engine steps that a short job ends later beside one of 10,000 evaluations, p99"
        yield Bar(what, f"at most {MOST_STEPS_LATER}", f"{later:.3g}", later <= MOST_STEPS_LATER)


def best_peer(found: Measured, cell: Cell, *, own: bool) -> tuple[str, float] | None:
    """The peer with the highest rate in a cell: of those with 50 steps, or of those with their own number."""
    labels = {label for of, label in found.runs if of == cell and _is_peer(found, label, own=own)}
    rates = {label: run.rate for label in labels if (run := found.joined(cell, label)) and run.answers}
    return max(rates.items(), key=lambda pair: pair[1]) if rates else None


def _is_peer(found: Measured, label: str, *, own: bool) -> bool:
    return label.endswith(f", {found.own_steps if own else STEPS}")


def _rate(found: Measured, cell: Cell, *, own: bool) -> Iterator[Bar]:
    ours, best = found.joined(cell, OURS), best_peer(found, cell, own=own)
    if ours and best and found.model in _RATIOS:
        what = f"{found.model}: attributions/s at {cell.clients} clients against {best[0]} steps"
        yield _ratio(what, ours.rate, best[1], _RATIOS[found.model])


def _ratio(what: str, ours: float, theirs: float, asked: float) -> Bar:
    ratio = ours / theirs
    return Bar(what, f"{asked:g} x", f"{ratio:.2f} x ({ours:.4g} / {theirs:.4g})", ratio >= asked)


def _many(found: Measured, *, own: bool) -> Iterator[Bar]:
    """Requests of 64 inputs: against what peers reach with single inputs, and with all 64 handed to Captum at once."""
    cell = Cell(16, MANY)
    ours = found.joined(cell, OURS)
    if ours is None:
        return
    single = [best for clients in (8, 32, 128) if (best := best_peer(found, Cell(clients), own=own))]
    together = best_peer(found, cell, own=own)
    if single:
        best = max(single, key=lambda pair: pair[1])
        what = f"{found.model}: inputs/s with {MANY} in a request against one at a time, {best[0]} steps"
        yield _ratio(what, ours.rate, best[1], _RATIO_MANY)
    if together:
        what = f"{found.model}: inputs/s with {MANY} in a request against all at once, {together[0]} steps"
        yield _ratio(what, ours.rate, together[1], _RATIO_MANY)


def _latency(found: Measured) -> Iterator[Bar]:
    ours = found.joined(Cell(1), OURS)
    theirs = [found.joined(Cell(1), f"FastAPI {kind}, {STEPS}") for kind in ("def", "loop")]
    medians = [run.latency_ms(0.5) for run in theirs if run and run.answers]
    if ours and ours.answers and medians:
        mine, best = ours.latency_ms(0.5), min(medians)
        what = f"{found.model}: p50 of one client against FastAPI + Captum's faster variant"
        yield Bar(what, f"at most {best:.2f} ms", f"{mine:.2f} ms", mine <= best)


def _memory(found: Measured) -> Iterator[Bar]:
    ours, theirs = found.memory_bytes.get(OURS), found.memory_bytes.get(f"FastAPI def, {STEPS}")
    if ours and theirs:
        what = f"{found.model}: peak memory at {MEMORY_CLIENTS} clients against FastAPI def"
        yield Bar(what, f"below {theirs / 1e9:.2f} GB", f"{ours / 1e9:.2f} GB", ours < theirs)


def _answers(found: Measured) -> Iterator[Bar]:
    results = sum(check.results for check in found.checks.values())
    wrong = sum(check.violations + check.misstated for check in found.checks.values())
    if results:
        what = f"{found.model}: answers above the tolerance, or whose stated error is not theirs"
        yield Bar(what, "none", f"{wrong} of {results}", wrong == 0)


def _limit(found: Measured) -> Iterator[Bar]:
    """Our evaluations against plain passes: gradients alone, and with the forward passes at their measured cost."""
    if found.limit is None:
        return
    for cell, (gradients, forwards) in evaluation_rates(found).items():
        alone, both = gradients / found.limit.gradients_per_s, found.limit.share(gradients, forwards)
        for said, share in (("gradients alone", alone), ("and forward passes at their cost", both)):
            what = f"{found.model}: evaluations/s at {cell.clients} clients against plain passes, {said}"
            yield Bar(what, f"{SHARE_OF_LIMIT:.0%}", f"{share:.0%}", share >= SHARE_OF_LIMIT)


def evaluation_rates(found: Measured) -> dict[Cell, tuple[float, float]]:
    """Gradient evaluations and forward passes without one, per second, of ours with several clients."""
    rates = {}
    for cell, check in found.checks.items():
        run = found.joined(cell, OURS)
        if cell.clients > 1 and run and run.seconds and check.results:
            rates[cell] = (check.evaluations / run.seconds, (check.forwards - check.evaluations) / run.seconds)
    return rates
