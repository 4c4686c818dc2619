"""What follows from how long an example of a model with variable inputs is. Knows declarations and shapes."""

from collections.abc import Sequence
from dataclasses import replace

from attributor.jobs.model import InputSpec, OutputSpec, Tensors


def output_at(output: OutputSpec, declared: Sequence[InputSpec], example: Tensors) -> OutputSpec:
    """The output as an example has it: a sequence has as many positions as the example, where inputs are variable."""
    if output.positions is None:
        return output
    lengths = (len(example[spec.name]) for spec in declared if spec.variable)
    return replace(output, positions=next(lengths, output.positions))
