"""Whether an answer hangs on chance, and the seed that decides it."""

import secrets

from attributor.api.schemas.bodies import LARGEST_SEED
from attributor.jobs.explanation import BaselineKind, Explanation, Method

#: Baselines that are drawn: another seed gives another.
DRAWN = frozenset({BaselineKind.UNIFORM, BaselineKind.GAUSSIAN, BaselineKind.REFERENCE})
#: Methods that draw, whatever their baselines are.
DRAWING = frozenset({Method.EXPECTED_GRADIENTS, Method.SHAPLEY, Method.KERNEL_SHAP, Method.LIME})


def is_random(explanation: Explanation) -> bool:
    """Whether another seed would give another answer."""
    return (
        explanation.method in DRAWING
        or explanation.smoothing is not None
        or any(part.kind in DRAWN for each in explanation.baselines for part in each.parts.values())
    )


def seed_for(asked: int | None, explanation: Explanation) -> int:
    """The seed asked for; without one, a fresh one where chance has a part, else 0, so that equal requests are equal
    jobs."""
    if asked is not None:
        return asked
    return secrets.randbelow(LARGEST_SEED + 1) if is_random(explanation) else 0
