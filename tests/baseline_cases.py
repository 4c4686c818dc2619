"""A model with an input of every kind, and one spec of every kind of baseline."""

import numpy as np
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec
from attributor.jobs.model import Feature, InputKind, InputSpec, ModelInfo, OutputKind, OutputSpec

TABLE = InputSpec(
    "table", InputKind.TABULAR, (2,), features=(Feature("age", minimum=0, maximum=100), Feature("size", minimum=-1))
)
BOUNDED = InputSpec("bounded", InputKind.TABULAR, (1,), features=(Feature("age", minimum=0, maximum=100),))
PICTURE = InputSpec("picture", InputKind.IMAGE, (3, 4, 5), value_range=(-1.0, 3.0))
SIGNAL = InputSpec("signal", InputKind.TENSOR, (3,))
TEXT = InputSpec("text", InputKind.TOKENS, (5,), vocabulary=20, embedding="embed", pad_id=0, mask_id=19)
BARE_TEXT = InputSpec("bare_text", InputKind.TOKENS, (5,), vocabulary=20, embedding="embed")
HELD = InputSpec("held", InputKind.TENSOR, (2,), attributed=False)

EXAMPLE = {
    "table": np.float32([50, 2]),
    "bounded": np.float32([50]),
    "picture": np.linspace(-1, 3, 60, dtype=np.float32).reshape(3, 4, 5),
    "signal": np.float32([1, 2, 3]),
    "text": np.array([7, 8, 9, 0, 0]),
    "bare_text": np.array([7, 8, 9, 0, 0]),
    "held": np.float32([8, 9]),
}
_ROWS = np.random.default_rng(0)
REFERENCE = {
    "table": np.float32([[10, 1], [20, 1], [60, 4], [10, 4]]),
    "bounded": np.float32([[10], [20], [60], [10]]),
    "picture": _ROWS.uniform(-1, 3, (4, 3, 4, 5)).astype(np.float32),
    "signal": np.float32([[0, 0, 0], [1, 2, 3], [5, 5, 5], [-2, 8, 0]]),
    "text": np.array([[1, 2, 0, 0, 0], [1, 3, 3, 0, 0], [4, 3, 3, 3, 0], [5, 3, 0, 0, 0]]),
    "bare_text": np.array([[1, 2, 0, 0, 0], [1, 3, 3, 0, 0], [4, 3, 3, 3, 0], [5, 3, 0, 0, 0]]),
    "held": np.zeros((4, 2), np.float32),
}


def info(*inputs: InputSpec, reference: bool = True, output: OutputKind = OutputKind.CLASSES) -> ModelInfo:
    """A model of these inputs, with the reference set or without one."""
    return ModelInfo(
        *("m", "1", "d", "t", "d", "l", "s"),
        inputs,
        OutputSpec("y", ("no", "yes"), output),
        baselines={},
        default_baseline="",
        reference_count=len(REFERENCE["held"]) if reference else 0,
    )


def part(kind: BaselineKind, declared: InputSpec, **changes: object) -> BaselinePart:
    """A part of this kind with all that it needs."""
    fields = {
        BaselineKind.NAMED: {"values": EXAMPLE[declared.name] * 0},
        BaselineKind.TENSOR: {"values": EXAMPLE[declared.name] * 0},
        BaselineKind.CONSTANT: {"value": 0.5},
        BaselineKind.GAUSSIAN: {"sigma": 0.5},
    }.get(kind, {})
    return BaselinePart(kind, **{**fields, **changes})


def spec(kind: BaselineKind, *inputs: InputSpec, **changes: object) -> BaselineSpec:
    """The same kind of baseline for all inputs."""
    return BaselineSpec(str(kind), {declared.name: part(kind, declared, **changes) for declared in inputs})
