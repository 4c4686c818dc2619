"""How many evaluations and forward passes an input takes: expected, and at most. Arithmetic on a job's own words.

What only the model can tell (where the adaptive rule splits, how far a search goes) is taken as it was measured on the
nets of this repository. Inputs count with their declared sizes.
"""

from dataclasses import dataclass
from math import ceil, log10, prod

from attributor.core.first_round import EVEN_ROUNDS, FEWEST_FIRST_NODES, LOOSEST, even_rule, first_nodes
from attributor.core.integrator import Tolerance
from attributor.core.placing import LARGEST_SHARE, closer_looks, first_scan
from attributor.inputs.baselines import shapley_features
from attributor.inputs.perturbing import default_samples, n_patches, window_shape
from attributor.jobs.explanation import COMPARATORS, BaselineKind, Explanation, GammaKind, Method, Precision
from attributor.jobs.job import JobSpec, Quadrature, RuleName
from attributor.jobs.model import ModelInfo

#: Gradients that the adaptive rule takes per first node: 1 at LOOSEST, and more by this times the square of the
#: tolerance's decades below it. Ours: fitted to the means over the first 100 reference inputs of `breast-cancer` and
#: `digits`, 9 at 5 %, 15.7 at 1 %, 44 at 0.1 %; heavily kinked nets take half as many again (ARCHITECTURE.md, 13).
SPLITTING_PER_SQUARE_DECADE = 0.3
#: Stretches of a curve that are looked at closer. Ours: 1.1 on those inputs.
TYPICAL_LOOKED_AT = 1.1
#: As the engine has them: baselines of another class are looked for among so many of the reference set at once, at most
#: so many in all, and then by so many halvings.
SEARCHED_AT_ONCE, MOST_SEARCHED, SEARCH_HALVINGS = 64, 1024, 12
#: As the engine has it: nodes that are evaluated again in float32, where the others are in bfloat16.
CHECKED_NODES = 3
#: Nodes of a rule at the ends of its curves: of all others none.
_AT_BOTH_ENDS, _AT_THE_LAST = RuleName.TRAPEZOID, RuleName.RIGHT_RIEMANN


@dataclass(frozen=True, slots=True)
class Count:
    """A number, as it is to be expected and as it can be at most."""

    expected: int
    at_most: int

    def __add__(self, other: "Count") -> "Count":
        return Count(self.expected + other.expected, self.at_most + other.at_most)

    def times(self, factor: int) -> "Count":
        """So many of them."""
        return Count(self.expected * factor, self.at_most * factor)


@dataclass(frozen=True, slots=True)
class Counts:
    """`evaluations`: points with a gradient. `forwards`: points with a score, those included."""

    evaluations: Count
    forwards: Count

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.evaluations + other.evaluations, self.forwards + other.forwards)

    def times(self, factor: int) -> "Counts":
        """So many of them."""
        return Counts(self.evaluations.times(factor), self.forwards.times(factor))


def counts(spec: JobSpec, info: ModelInfo, *, looks: bool = True) -> Counts:
    """Of one input of a job, for all of its targets together. `looks`: whether scores show the adaptive rule where its
    first gradients are wanted, on a single curve."""
    explanation = spec.explanation
    if explanation.method in COMPARATORS:
        return _comparison(explanation, info)
    one = _of_method(spec, info, looks=looks) + _searches(explanation, info)
    one += _exactly(len(explanation.interior_alphas), 0)
    one += _exactly(0, len(explanation.saturation.alphas) if explanation.saturation else 0)
    if explanation.smoothing is None:
        return one
    return one.times(explanation.smoothing.samples) + _exactly(0, 1)  # the targets are resolved at the input itself


def _exactly(evaluations: int, scores: int) -> Counts:
    """So many points with a gradient, and so many with a score only."""
    return Counts(Count(evaluations, evaluations), Count(evaluations + scores, evaluations + scores))


def _of_method(spec: JobSpec, info: ModelInfo, *, looks: bool) -> Counts:
    explanation = spec.explanation
    n_baselines = sum(each.samples for each in explanation.baselines) or 1
    if explanation.method in (Method.SALIENCY, Method.GRADIENT_X_INPUT):
        return _exactly(1, 0)
    if explanation.method is Method.SHAPLEY:
        inner = 2 * ceil(explanation.samples / 2) * (shapley_features(info) - 1)
        # Each pass has the input in it as well, and how many there are is the worker's choice; and once more it passes
        # by itself.
        passes = Count(min(inner, 1), inner)
        return _exactly(0, n_baselines * (inner + 2) + 1) + Counts(Count(0, 0), passes.times(n_baselines))
    if explanation.method is Method.EXPECTED_GRADIENTS:
        named = sum(each.samples == 1 for each in explanation.baselines)
        drawn = explanation.samples if named < len(explanation.baselines) or not named else 0
        one = _exactly(explanation.samples, min(explanation.samples, named + drawn) + 1)
        return one + _once_more(_checked(explanation, explanation.samples, seals=False))
    walks, n_pieces = _walks(explanation), _n_pieces(explanation)
    walked = n_baselines * walks
    curves = _Curves(n_baselines, n_pieces, len(explanation.targets))
    n_nodes = len(curves) * (spec.quadrature.n_steps or CHECKED_NODES)
    checked = _checked(explanation, n_nodes, seals=n_baselines == 1)
    integrated = _fixed(curves, spec.quadrature)
    if integrated is None:
        integrated = _adaptive(curves, spec.quadrature, Count(walked, walked) + checked, looks=looks)
    return integrated + _exactly(walked, n_baselines if walks else 0) + _once_more(checked)


def _checked(explanation: Explanation, n_nodes: int, *, seals: bool) -> Count:
    """Nodes that are evaluated again for an answer in low precision; twice, where their vectors were freed."""
    if explanation.precision is Precision.FLOAT32:
        return Count(0, 0)
    n = min(CHECKED_NODES, n_nodes)
    return Count(n, 2 * n if seals else n)


def _once_more(checked: Count) -> Counts:
    """These nodes, and with them the score at the input."""
    return Counts(checked, checked + Count(1, 1)) if checked.expected else _exactly(0, 0)


@dataclass(frozen=True, slots=True)
class _Curves:
    """Paths from so many baselines, each of so many pieces. Neighbours share a vertex, and all share the example."""

    n_baselines: int
    n_pieces: int
    n_targets: int

    def __len__(self) -> int:
        return self.n_baselines * self.n_pieces

    @property
    def n_vertices(self) -> int:
        """Points where a curve begins or ends."""
        return len(self) + 1


def _fixed(curves: _Curves, quadrature: Quadrature) -> Counts | None:
    """Of a fixed rule; None of the adaptive one."""
    if quadrature.rule is RuleName.ADAPTIVE or quadrature.n_steps is None:
        return None
    inner, gradients = quadrature.n_steps, 0
    if quadrature.rule is _AT_BOTH_ENDS:
        inner, gradients = inner - 2, curves.n_vertices
    elif quadrature.rule is _AT_THE_LAST:
        inner, gradients = inner - 1, curves.n_vertices - curves.n_baselines
    return _exactly(len(curves) * inner + gradients, curves.n_vertices - gradients)


def _adaptive(curves: _Curves, quadrature: Quadrature, others: Count, *, looks: bool) -> Counts:
    """Of the adaptive rule, with what others (a walk, a check) leave of the budget."""
    n = len(curves)
    budget = max(quadrature.max_evaluations - others.expected, FEWEST_FIRST_NODES * n)
    most = max(quadrature.max_evaluations - others.at_most, FEWEST_FIRST_NODES * n)
    tolerance = Tolerance(quadrature.tolerance, quadrature.absolute_tolerance, quadrature.attribution_tolerance)
    tight = min(t for t in (quadrature.tolerance, quadrature.attribution_tolerance) if t is not None)
    splitting = 1 + SPLITTING_PER_SQUARE_DECADE * log10(LOOSEST / min(tight, LOOSEST)) ** 2
    looks |= n > 1
    first = n * first_nodes(n, tolerance, budget) if looks else even_rule(tolerance, budget).n
    if not looks:  # so many first nodes that few inputs need more
        gradients = Count(min(first, budget), most)
        return Counts(gradients, gradients + Count(curves.n_vertices, EVEN_ROUNDS * curves.n_vertices))
    gradients = Count(min(round(first * splitting), budget), most)
    n_scanned = len(first_scan(n))
    scanned = n * (n_scanned - 2) + curves.n_vertices
    # Of a target's shares of the variation so many can be above LARGEST_SHARE.
    looked_at = min(n_scanned - 1, curves.n_targets * (round(1 / LARGEST_SHARE) - 1))
    closer = closer_looks(n_scanned)
    scores = Count(scanned + round(n * closer * min(TYPICAL_LOOKED_AT, looked_at)), scanned + n * closer * looked_at)
    return Counts(gradients, gradients + scores)


def _walks(explanation: Explanation) -> int:
    """Gradients of the walk of a guided path."""
    return max((each.steps - 1 for each in explanation.gamma.values() if each.kind is GammaKind.GUIDED), default=0)


def _n_pieces(explanation: Explanation) -> int:
    return max(
        (each.steps if each.kind is GammaKind.GUIDED else len(each.points) + 1 for each in explanation.gamma.values()),
        default=1,
    )


def _searches(explanation: Explanation, info: ModelInfo) -> Counts:
    """Scores of the searches for inputs of another class."""
    searches = sum(
        any(part.kind is BaselineKind.OTHER_CLASS for part in each.parts.values()) for each in explanation.baselines
    )
    looked, most = min(info.reference_count, SEARCHED_AT_ONCE), min(info.reference_count, MOST_SEARCHED)
    visits = ceil(most / SEARCHED_AT_ONCE)
    one = Count(looked + 1 + SEARCH_HALVINGS, most + visits + SEARCH_HALVINGS)
    return Counts(Count(0, 0), one).times(searches)


def _comparison(explanation: Explanation, info: ModelInfo) -> Counts:
    """Of a comparator: rows that pass, and the scores at both ends."""
    perturbed = _perturbed(explanation, info)
    rows = 2 if explanation.method is Method.DEEP_LIFT else 1
    one = _exactly(rows, 0) if perturbed is None else _exactly(0, perturbed)
    return one.times(len(explanation.targets)) + _exactly(0, 2)


def _perturbed(explanation: Explanation, info: ModelInfo) -> int | None:
    """Rows with parts taken away, per target; None of methods that propagate."""
    options = {name: int(value) for name, value in explanation.options.items()}
    window = options.get("window")
    if explanation.method in (Method.KERNEL_SHAP, Method.LIME):
        return options.get("samples", default_samples(explanation.method, n_patches(info.inputs, window)))
    if explanation.method is not Method.OCCLUSION:
        return None
    places = 0
    for declared in info.inputs:
        if declared.attributed:
            sides = window_shape(declared, window)
            steps = [min(options.get("stride", side), side) for side in sides]
            moves = zip(declared.shape, sides, steps, strict=True)
            places += prod(ceil((length - side) / step) + 1 for length, side, step in moves)
    return places
