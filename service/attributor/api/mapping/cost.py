"""What a job counts in the queue: by it tenants get their parts, the queue is bounded, and quotas are used up."""

from math import ceil

from attributor.api.mapping.counting import Counts, counts
from attributor.jobs.job import JobSpec
from attributor.jobs.model import ModelInfo

#: Scores that count as one evaluation: a gradient is a pass forward and one backward, which is twice the work
#: (Griewank and Walther 2008, section 4.6, bounds both together by four times the forward pass).
SCORES_PER_EVALUATION = 3


def cost(spec: JobSpec, info: ModelInfo, *, looks: bool = True) -> int:
    """Evaluations that an attribution job is expected to take, all inputs together; points with a score only count as
    a third. `looks`: as in `counts`."""
    return _cost(counts(spec, info, looks=looks), len(spec.inputs))


def prediction_cost(n_inputs: int) -> int:
    """The same of a prediction."""
    return ceil(n_inputs / SCORES_PER_EVALUATION)


def _cost(one: Counts, n_inputs: int) -> int:
    evaluations, forwards = one.evaluations.expected, one.forwards.expected
    return max(1, ceil(n_inputs * (evaluations + (forwards - evaluations) / SCORES_PER_EVALUATION)))
