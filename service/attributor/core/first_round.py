"""What an adaptive integration begins with: scores that show where it changes, and how many gradients.

Knows tolerances and budgets; no scores.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import log10

from attributor.core import spectral
from attributor.core.asks import Asks, Curve, laid_out
from attributor.core.integrator import Tolerance
from attributor.core.panels import MOST_EXTENDED
from attributor.core.placing import PLACINGS, Placing, first_scan

#: First nodes of a single curve at the loosest tolerance, 5 %. Odd numbers, so that the panels between them pair up and
#: every other node makes a rule too. Ours: 7 leave half of the transformer's inputs above 5 %; ARCHITECTURE.md, 13.
FIRST_NODES, LOOSEST = 9, 0.05
#: More of them per factor of ten in the tolerance: 15 at 1 %, 23 at 0.1 %. The error of such a rule on a smooth score
#: falls by a factor per node (Trefethen 2008), so they grow as the logarithm. Ours: 15 meet 1 % on most inputs.
NODES_PER_DECADE = 8.6
TIGHTEST = 1e-6
#: The share of them that each curve gets, by the most curves that get so many. Ours: two curves of 5 have about the
#: panels of one of 9, and luck in one curve of four is diluted by the others.
SHARES_OF_EACH = ((1, 1.0), (4, 5 / 9))
SMALLEST_SHARE = 1 / 3
#: So many more first nodes take the place of a look, and so many more of them per factor of ten in the tolerance. Ours:
#: then two small nets' attributions are as near to the true ones as with a look and its 9 forward passes (2.4 and 2.8 %
#: off in the median at 5 %, against 2.4 and 2.6), and most need no second round at 1 % either, which would cost such a
#: net more than twice as many gradients.
MORE_WITHOUT_A_LOOK, MORE_PER_DECADE = 4, 12
#: Where these are not enough, all gradients are spread evenly once more, and then again: what is left is kinked, and
#: panels are split one by one. Ours: of two small nets' inputs 2.0 % are left after the first round at 5 %, 0.3 % after
#: the second; at 1 % 20 %, 2.1 % and 0.3 %.
EVEN_ROUNDS = 3
#: A smaller budget has too few nodes for any choice of stencils, and none for a coarse rule either.
FEWEST_FIRST_NODES = 2
#: Vectors that are left, of the most that may be kept, when panels are sealed; so many are the first ones at most, so
#: that there is room to split before anything must be sealed. Ours: the next seal is then half of the bound away.
SHARE_LEFT = 1 / 2


def fewest_evaluations(curves: Sequence[Curve]) -> int:
    """Evaluations that the first nodes of these curves take: the least budget that AdaptiveIntegrator accepts."""
    return FEWEST_FIRST_NODES * len(curves)


def first_nodes(n_curves: int, tolerance: Tolerance, max_evaluations: int) -> int:
    """Gradients that each of so many curves begins with."""
    share = next((share for most, share in SHARES_OF_EACH if n_curves <= most), SMALLEST_SHARE)
    wanted = share * (FIRST_NODES + NODES_PER_DECADE * _decades(tolerance))
    odd = 2 * round((wanted - 1) / 2) + 1
    return max(FEWEST_FIRST_NODES, min(odd, max_evaluations // n_curves))


def _decades(tolerance: Tolerance) -> float:
    """By how many factors of ten it is tighter than the loosest."""
    asked = [t for t in (tolerance.relative, tolerance.attribution) if t is not None]
    tight = min(max(asked[0], TIGHTEST), LOOSEST) if asked else LOOSEST
    return log10(LOOSEST / tight)


@lru_cache(maxsize=64)
def first_asks(curves: tuple[Curve, ...]) -> Asks:
    """The scores that are looked at first."""
    asks = laid_out(curves, (first_scan(len(curves)),) * len(curves))
    return Asks(replace(ask, gradient=False) for ask in asks)


def even_rule(tolerance: Tolerance, max_evaluations: int, most_kept: int | None = None) -> spectral.Rule:
    """The first nodes of a single curve where no scores are looked at before."""
    looked = first_rule(1, tolerance, max_evaluations, most_kept, PLACINGS[0])
    n = looked.n + MORE_WITHOUT_A_LOOK + 2 * round(MORE_PER_DECADE * _decades(tolerance) / 2)
    return spectral.rule(n, PLACINGS[0]) if n < _most(max_evaluations, most_kept) else looked


def first_rule(
    n_curves: int, tolerance: Tolerance, max_evaluations: int, most_kept: int | None, placing: Placing
) -> spectral.Rule:
    """The first nodes of a curve."""
    n = first_nodes(n_curves, tolerance, _most(max_evaluations, most_kept))
    return spectral.rule(n, placing, nested=n * n_curves < max_evaluations)


def _most(max_evaluations: int, most_kept: int | None) -> int:
    return max_evaluations if most_kept is None else min(max_evaluations, int(SHARE_LEFT * most_kept))


@lru_cache(maxsize=64)
def even_asks(curve: Curve, rule: spectral.Rule) -> Asks:
    """The scores at both ends of a single curve, and the gradients at the rule's nodes."""
    return laid_out((curve,), (rule.alphas,))


def even_start(
    curves: Sequence[Curve], tolerance: Tolerance, max_evaluations: int, most_kept: int | None, rounds: int
) -> tuple[spectral.Rule, Asks]:
    """What an integration of a single curve begins with where no scores are looked at before, for so many rounds at
    once. Raises ValueError for several curves."""
    (curve,) = curves
    rule = even_rule(tolerance, max_evaluations, most_kept)
    for _ in range(rounds - 1):
        rule = even_refined(rule, _most(max_evaluations, most_kept)) or rule
    return rule, even_asks(curve, rule)


def even_refined(rule: spectral.Rule, max_evaluations: int) -> spectral.Rule | None:
    """The rule of the next round that is spread evenly; None where there is none."""
    extends = rule.nested and rule.n + 2 <= MOST_EXTENDED and rule.next.n <= max_evaluations
    return rule.next if extends else None
