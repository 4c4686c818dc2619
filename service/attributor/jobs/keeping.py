"""How many nodes' vectors and how many vertices an answer needs at a time, at the least: what the API refuses by, and
what a worker shares its memory out by.

Knows what was asked; knows no sizes of tensors.
"""

from dataclasses import dataclass

from attributor.core.first_round import FEWEST_FIRST_NODES
from attributor.jobs.explanation import Explanation, Gamma, GammaKind, Method, Quantity
from attributor.jobs.job import Quadrature, RuleName

#: Bytes of the vectors that a job keeps at a time. Ours: with the model and torch beside it, a worker then takes well
#: below the 10 GB that a job of 50 nodes at once takes of a ResNet at 3x224x224 (performance notes); 300 nodes of such
#: a picture fit without sealing any.
DEFAULT_JOB_VECTOR_BYTES = 200_000_000
#: Nodes whose vectors are kept at the least where panels can be sealed. Ours: with fewer, of which half are first ones,
#: an integration could hardly begin; 16 targets of a picture of 3x224x224 then fit.
FEWEST_KEPT = 12
#: Nodes that a usual answer has, which need then not be sealed. Ours: first nodes at 1 % and a round of splits.
USUAL_NODES = 24
#: What the sums of sealed panels take, in nodes: two, of the rule and the coarse one, in float64 instead of float32.
SUMS_IN_NODES = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one copy of an input, at a time. `nodes`: whose vectors are kept, at the least; `usual`: in a usual answer;
    `beside`: what else is kept, in vectors; `vertices`: of its paths, both ends included."""

    nodes: int
    usual: int
    beside: int
    vertices: int


def kept(explanation: Explanation, quadrature: Quadrature) -> Kept:
    """What a method keeps. Shapley's vertices are a visit's, whose size the model decides: not counted here."""
    paths, pieces = n_baselines(explanation), n_pieces(explanation)
    interior = len(explanation.interior_alphas)
    if explanation.method is Method.EXPECTED_GRADIENTS:
        samples = explanation.samples
        return Kept(samples, samples, interior, 1 + samples * pieces)
    if explanation.method is not Method.INTEGRATED_GRADIENTS:
        nodes = 0 if explanation.method is Method.SHAPLEY else 1
        return Kept(nodes, nodes, 0, 1 + nodes)
    curves = paths * pieces
    seals = sums_can_be_taken(explanation, paths, pieces)
    if quadrature.rule is RuleName.ADAPTIVE:
        nodes = max(FEWEST_KEPT, FEWEST_FIRST_NODES * curves)
        nodes, usual = min(nodes, quadrature.max_evaluations), min(max(nodes, USUAL_NODES), quadrature.max_evaluations)
    else:
        usual = (quadrature.n_steps or 1) * curves
        nodes = min(usual, FEWEST_KEPT) if seals else usual
        usual = min(usual, USUAL_NODES) if seals else usual
    return Kept(nodes, usual, interior + SUMS_IN_NODES * seals, 1 + curves)


def sums_can_be_taken(explanation: Explanation, n_paths: int, n_pieces: int) -> bool:
    """Whether panels may be sealed: of the whole answer only, not where the attributions of each baseline are wanted,
    and not where a mean over a path gives its pieces other weights than the integral has."""
    influence = explanation.layer is not None and explanation.layer.quantity is Quantity.INFLUENCE
    return n_paths == 1 and not (influence and n_pieces > 1)


def n_baselines(explanation: Explanation) -> int:
    """Draws counted; at least one."""
    return sum(each.samples for each in explanation.baselines) or 1


def n_pieces(explanation: Explanation) -> int:
    """How many smooth curves each path is made of, at most."""
    return max((_pieces_of(gamma) for gamma in explanation.gamma.values()), default=1)


def _pieces_of(gamma: Gamma) -> int:
    return gamma.steps if gamma.kind is GammaKind.GUIDED else len(gamma.points) + 1
