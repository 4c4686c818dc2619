"""What a request will cost at the least, held against what it allows itself and what one job may cost."""

from attributor.api.schemas.bodies import MOST_EVALUATIONS, AttributionBody
from attributor.core.adaptive import FEWEST_FIRST_NODES
from attributor.errors import InvalidRequest
from attributor.inputs.baselines import shapley_features
from attributor.jobs.explanation import Explanation, Gamma, GammaKind, Method
from attributor.jobs.job import RuleName
from attributor.jobs.model import ModelInfo

#: Nodes of a fixed rule if the request does not say: what Captum and the TruLens practice start from.
DEFAULT_STEPS = 50
#: Forward passes of one input's sampled orders. Ours: about a minute of a small net on a CPU.
MOST_PASSES = 1_000_000


def require_budget(body: AttributionBody, explanation: Explanation, info: ModelInfo) -> None:
    """Whether all paths' first nodes, a fixed rule's nodes, or sampled orders can be paid. Raises InvalidRequest."""
    n_paths = sum(each.samples for each in explanation.baselines) or 1
    if body.method is Method.SHAPLEY:
        passes = n_paths * explanation.samples * shapley_features(info)
        if passes > MOST_PASSES:
            raise InvalidRequest(
                f"{passes} forward passes, features times samples times baselines: at most {MOST_PASSES}",
                field="samples",
            )
    if body.method is not Method.INTEGRATED_GRADIENTS:
        return
    n_pieces = max((_pieces(gamma) for gamma in explanation.gamma.values()), default=1)
    paths = f"{n_paths} path{'s' * (n_paths > 1)} of {n_pieces} piece{'s' * (n_pieces > 1)}"
    if body.rule is not RuleName.ADAPTIVE:
        nodes = n_paths * n_pieces * (body.n_steps or DEFAULT_STEPS)
        if nodes > MOST_EVALUATIONS:
            raise InvalidRequest(f"{nodes} nodes for {paths}: at most {MOST_EVALUATIONS}", field="n_steps")
    elif (fewest := FEWEST_FIRST_NODES * n_paths * n_pieces) > body.max_evaluations:
        raise InvalidRequest(
            f"must be at least {fewest} for {paths}; or take fewer baselines or points", field="max_evaluations"
        )


def _pieces(gamma: Gamma) -> int:
    """How many smooth curves such a path is made of, at most."""
    return gamma.steps if gamma.kind is GammaKind.GUIDED else len(gamma.points) + 1
