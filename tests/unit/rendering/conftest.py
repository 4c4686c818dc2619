"""Two subjects that every drawing test can use: a grey 8x8 picture and a table of six features."""

import numpy as np
import pytest
from attributor.jobs.model import Feature, InputKind, InputSpec
from attributor.rendering.subject import Subject


@pytest.fixture
def digit() -> Subject:
    """The left half lowers, the right half raises, the last row does nothing."""
    example = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    attributions = np.tile(np.array([-4, -3, -2, -1, 1, 2, 3, 4], dtype=np.float32) / 100, (1, 8, 1))
    attributions[0, 7] = 0
    return Subject(
        input_spec=InputSpec("image", InputKind.IMAGE, (1, 8, 8), value_range=(0.0, 1.0)),
        example=example,
        baseline=np.zeros_like(example),
        attributions=attributions,
        target_label="3",
        score=0.98213456,
        baseline_score=0.1012,
        completeness_error=0.00210987,
        relative_completeness_error=0.0024,
    )


@pytest.fixture
def table() -> Subject:
    """Sums to 0.2; `age` is at its baseline."""
    features = (
        Feature("mean radius", "mm"),
        Feature("age", "years"),
        Feature("mean area", "mm²"),
        Feature("texture"),
        Feature("count"),
        Feature("smoothness"),
    )
    return Subject(
        input_spec=InputSpec("features", InputKind.TABULAR, (6,), features),
        example=np.array([17.99, 40, 1001, 10.38, 123456, 0.1184], dtype=np.float32),
        baseline=np.array([14, 40, 655, 19, 7, 0.1], dtype=np.float32),
        attributions=np.array([0.3, 0, -0.2, 0.1, -0.05, 0.05], dtype=np.float32),
        target_label="malignant",
        score=0.9,
        baseline_score=0.7,
        completeness_error=0.001,
        relative_completeness_error=None,
    )
