import numpy as np
from attributor.jobs.lengths import output_at
from attributor.jobs.model import InputKind, InputSpec, OutputKind, OutputSpec

IDS = InputSpec("ids", InputKind.TOKENS, (9,), vocabulary=5, embedding="embed", variable=True)
FIXED = InputSpec("x", InputKind.TENSOR, (4,))
SEQUENCE = OutputSpec("out", ("a", "b"), OutputKind.SEQUENCE, positions=9)


def test_a_sequence_is_as_long_as_its_example_where_inputs_are_variable():
    example = {"ids": np.zeros(3, np.int64), "x": np.zeros(4, np.float32)}
    assert output_at(SEQUENCE, (FIXED, IDS), example).shape == (3, 2)
    assert output_at(SEQUENCE, (FIXED,), example) == SEQUENCE
    one = OutputSpec("out", ("a", "b"))
    assert output_at(one, (FIXED, IDS), example) == one
