"""One step of an LSTM, GRU or RNN in plain torch: for what torch's own recurrences do not know.

Knows ONNX's equations, gates and activation functions. Knows no node.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Unsupported

Activation = Callable[[Tensor], Tensor]
#: The hidden state, and the cell state of an LSTM.
State = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a node says of its steps. `activations`: of one direction; `bound`: what clips their input."""

    activations: tuple[Activation, ...]
    bound: float | None
    input_forget: bool = False
    linear_before_reset: bool = False

    def clipped(self, x: Tensor) -> Tensor:
        """An activation's input."""
        return x if self.bound is None else x.clamp(-self.bound, self.bound)


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one direction, as ONNX orders the gates: recurrent (gates x hidden, hidden), biases of the input and of the
    recurrence (gates x hidden), peepholes of input, output and forget gate."""

    recurrent: Tensor
    bias: Tensor
    recurrent_bias: Tensor
    peepholes: tuple[Tensor, ...] | None = None


Step = Callable[[Rules, Weights, Tensor, State], State]


def lstm_step(rules: Rules, weights: Weights, x: Tensor, state: State) -> State:
    """ONNX's equations of LSTM; `x`: the input times its weights. Gates: input, output, forget, cell."""
    f, g, h = rules.activations
    hidden, cell = state
    gates = x + hidden @ weights.recurrent.t() + weights.bias + weights.recurrent_bias
    at_input, at_output, at_forget, at_cell = gates.chunk(4, -1)
    if weights.peepholes is not None:
        at_input = at_input + weights.peepholes[0] * cell
        at_forget = at_forget + weights.peepholes[2] * cell
    let_in = f(rules.clipped(at_input))
    kept = 1 - let_in if rules.input_forget else f(rules.clipped(at_forget))
    cell = kept * cell + let_in * g(rules.clipped(at_cell))
    if weights.peepholes is not None:
        at_output = at_output + weights.peepholes[1] * cell
    return f(rules.clipped(at_output)) * h(cell), cell


def gru_step(rules: Rules, weights: Weights, x: Tensor, state: State) -> State:
    """ONNX's equations of GRU. Gates: update, reset, hidden."""
    f, g = rules.activations
    (hidden,) = state
    xz, xr, xh = (x + weights.bias).chunk(3, -1)
    rz, rr, rh = weights.recurrent.chunk(3, 0)
    bz, br, bh = weights.recurrent_bias.chunk(3, -1)
    update = f(rules.clipped(xz + hidden @ rz.t() + bz))
    reset = f(rules.clipped(xr + hidden @ rr.t() + br))
    inner = reset * (hidden @ rh.t() + bh) if rules.linear_before_reset else (reset * hidden) @ rh.t() + bh
    return ((1 - update) * g(rules.clipped(xh + inner)) + update * hidden,)


def rnn_step(rules: Rules, weights: Weights, x: Tensor, state: State) -> State:
    """ONNX's equation of RNN."""
    (f,) = rules.activations
    return (f(rules.clipped(x + state[0] @ weights.recurrent.t() + weights.bias + weights.recurrent_bias)),)


def unrolled(
    step: Callable[[Tensor, State], State], x: Tensor, state: State, alive: Tensor | None, *, reverse: bool
) -> tuple[Tensor, State]:
    """All hidden states, (time, rows, hidden), and the last state. `alive`: (time, rows, 1), where a row still has
    positions; behind them outputs are 0 and the state stays."""
    n = x.shape[0]
    outputs: list[Any] = [None] * n
    for t in reversed(range(n)) if reverse else range(n):
        found = step(x[t], state)
        if alive is None:
            state, outputs[t] = found, found[0]
        else:
            state = tuple(torch.where(alive[t], new, old) for new, old in zip(found, state, strict=True))
            outputs[t] = torch.where(alive[t], found[0], 0.0)
    return torch.stack(outputs), state


def alive_of(lengths: NDArray[Any], n: int, device: torch.device) -> Tensor:
    """Which positions rows of these lengths have, as `unrolled` takes it."""
    return (torch.arange(n)[:, None] < torch.from_numpy(lengths)[None, :])[..., None].to(device)


def activations(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None
) -> tuple[Activation, ...]:
    """The functions of these names; their parameters are taken in turn by those that have one, as onnxruntime does.

    Raises Unsupported for unknown names, and for lists of parameters that do not come out even.
    """
    first, second = iter(alphas or ()), iter(betas or ())
    found = tuple(_activation(name, first, second) for name in names)
    if next(first, None) is not None or next(second, None) is not None:
        raise Unsupported("has more activation_alpha or activation_beta than its activations have parameters")
    return found


_PLAIN: dict[str, Activation] = {
    "Relu": torch.relu,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "Softsign": F.softsign,
    "Softplus": F.softplus,
}


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    if name in _PLAIN:
        return _PLAIN[name]
    if name == "LeakyRelu":
        slope = next(alphas, 0.01)
        return lambda x: torch.where(x >= 0, x, slope * x)
    if name == "Elu":
        scale = next(alphas, 1.0)
        return lambda x: torch.where(x >= 0, x, scale * torch.expm1(x.clamp(max=0)))
    if name == "HardSigmoid":
        slope, shift = next(alphas, 0.2), next(betas, 0.5)
        return lambda x: (slope * x + shift).clamp(0, 1)
    raise Unsupported(f"has the activation {name!r}, which is not computed")
