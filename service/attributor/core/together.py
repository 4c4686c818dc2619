"""Many integrators told at once: what each of them computes next is computed for all, as one stack of arrays.

An array operation costs more than the arithmetic of one curve. Knows adaptive integrators; no jobs.
"""

from collections.abc import Sequence

from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Asks, Floats
from attributor.core.panels import CurvePanels, fit_together
from attributor.core.placing import Scan, look_together


def tell_together(rounds: Sequence[tuple[AdaptiveIntegrator, Asks, Floats, Floats]]) -> list[Exception | None]:
    """`tell` for many integrators, of as many jobs: what they compute is computed together.

    Returns what each raised.
    """
    raised: list[Exception | None] = [None] * len(rounds)
    ready: list[int] = []
    for number, (integrator, asks, scores, slopes) in enumerate(rounds):
        try:
            if integrator.take_in(asks, scores, slopes):
                ready.append(number)
        except Exception as error:
            raised[number] = error
    unseen = {number: rounds[number][0].unseen() for number in ready}
    together = True
    try:
        _compute(list(unseen.values()))
    except Exception:  # a defect, or numbers of one of them that no arithmetic stands: then each by itself
        together = False
    for number, own in unseen.items():
        try:
            if not together:
                _compute([own])
            rounds[number][0].go_on()
        except Exception as error:
            raised[number] = error
    return raised


def _compute(unseen: Sequence[tuple[Sequence[Scan], Sequence[CurvePanels]]]) -> None:
    look_together([scan for scans, _ in unseen for scan in scans])
    fit_together([curve for _, curves in unseen for curve in curves])
