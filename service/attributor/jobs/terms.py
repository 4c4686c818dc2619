"""What a tenant is granted in the queue."""

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class Terms:
    """`weight`: of its part of the workers' time beside other tenants'. `max_queued_cost`: evaluations that may wait at
    a time; None: as many as the queue allows every tenant. `evaluations_per_hour`: that it may ask for, by the clock's
    hours; None: as many as it likes. Raises ValueError for a weight that is not a positive number."""

    weight: float = 1.0
    max_queued_cost: int | None = None
    evaluations_per_hour: int | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight must be a positive number, not {self.weight}")


#: Of who has none of its own.
USUAL_TERMS = Terms()
