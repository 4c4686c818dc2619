"""LSTM, GRU and RNN: torch's own recurrences where they compute the same, else step by step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer import cells
from attributor.onnx_importer.cells import Rules, State, Weights
from attributor.onnx_importer.node import Function, Node, Unsupported, operator

_ATTRIBUTES = "activation_alpha activation_beta activations clip direction hidden_size layout"
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True, slots=True)
class _Kind:
    """An operator. `order`: its gates as torch orders them; `activations`: the default ones."""

    order: tuple[int, ...]
    activations: tuple[str, ...]
    step: cells.Step
    n_states: int


_KINDS = {
    "LSTM": _Kind((0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh"), cells.lstm_step, 2),
    "GRU": _Kind((1, 0, 2), ("Sigmoid", "Tanh"), cells.gru_step, 1),
    "RNN": _Kind((0,), ("Tanh",), cells.rnn_step, 1),
}
#: torch's functions: (input, states, weights, has biases, layers, dropout, train, bidirectional, batch first).
_FUSED: dict[tuple[str, ...], Callable[..., tuple[Tensor, ...]]] = {
    ("Sigmoid", "Tanh", "Tanh"): torch.lstm,
    ("Sigmoid", "Tanh"): torch.gru,
    ("Tanh",): torch.rnn_tanh,
    ("Relu",): torch.rnn_relu,
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """A node as it was read. `reverse` and `rules`: per direction; `fused`: torch's function that does the same."""

    kind: _Kind
    reverse: tuple[bool, ...]
    rules: tuple[Rules, ...]
    hidden: int | None
    rows_first: bool
    fused: Callable[..., tuple[Tensor, ...]] | None


@operator("LSTM", versions=(7, 14, 22), attributes=f"{_ATTRIBUTES} input_forget", host=(4,))
@operator("GRU", versions=(7, 14, 22), attributes=f"{_ATTRIBUTES} linear_before_reset", host=(4,))
@operator("RNN", versions=(7, 14, 22), attributes=_ATTRIBUTES, host=(4,))
def recurrent(node: Node) -> Function:
    """All hidden states, the last ones, and the last cells of an LSTM."""
    plan = _planned(node)
    kept = _kept_weights(node, plan)

    def run(
        x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: NDArray[Any] | None = None, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        if plan.rows_first:
            x = x.transpose(0, 1)
        given, peepholes = _split(plan, rest)
        _require_shapes(plan, x, w, r, b)
        states = tuple(_state(plan, state, x, r) for state in given)
        _require_peepholes(peepholes, r)
        lengths = _shorter(lengths, x)
        if plan.fused is not None and peepholes is None and lengths is None:
            flat = _flat_weights(plan, w, r, b) if kept is None else [current() for current in kept]
            outputs, ends = _fused(plan, x, states, flat, has_bias=b is not None)
        else:
            outputs, ends = _stepped(plan, x, states, lengths, _per_direction(w, r, b, peepholes))
        if plan.rows_first:
            return outputs.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in ends)
        return outputs, *ends

    return run


def _planned(node: Node) -> _Plan:
    kind = _KINDS[node.op_type]
    direction, layout = node.text("direction", "forward"), node.integer("layout", 0)
    if direction not in _DIRECTIONS or layout not in (0, 1):
        raise Unsupported(f"has the direction {direction!r} and layout {layout}, which we do not know")
    reverse = _DIRECTIONS[direction]
    names = node.texts("activations") or kind.activations * len(reverse)
    n = len(kind.activations)
    if len(names) != n * len(reverse):
        raise Unsupported(f"has {len(names)} activations, not {n * len(reverse)}")
    functions = cells.activations(names, node.numbers("activation_alpha"), node.numbers("activation_beta"))
    bound = node.number("clip") if "clip" in node.attributes else None
    input_forget = node.integer("input_forget", 0) != 0
    before = node.integer("linear_before_reset", 0) != 0
    rules = tuple(Rules(functions[n * d : n * d + n], bound, input_forget, before) for d in range(len(reverse)))
    same = all(names[n * d : n * d + n] == names[:n] for d in range(len(reverse)))
    plain = same and bound is None and not input_forget and (before or node.op_type != "GRU")
    fused = _FUSED.get(tuple(names[:n])) if plain else None
    hidden = node.integer("hidden_size") if "hidden_size" in node.attributes else None
    return _Plan(kind, reverse, rules, hidden, layout == 1, fused)


def _kept_weights(node: Node, plan: _Plan) -> list[Callable[[], Tensor]] | None:
    """Weights in torch's order, if they are known at import: made once."""
    w, r, b = ([*node.constants, None, None, None])[1:4]
    bias_comes = len(node.present) > 3 and node.present[3] and b is None
    if plan.fused is None or w is None or r is None or bias_comes:
        return None
    try:
        _require_weights(plan, w.shape, r.shape, None if b is None else b.shape)
    except ValueError as error:
        raise Unsupported(f"has weights that do not fit: {error}") from None
    return [node.keep(np.ascontiguousarray(array)) for array in _flat_weights(plan, w, r, b)]


def _flat_weights(plan: _Plan, w: Any, r: Any, b: Any) -> list[Any]:
    """Per direction: of the input, of the recurrence, and their biases; arrays or tensors."""
    n, hidden = len(plan.kind.order), r.shape[2]
    rows = [gate * hidden + row for gate in plan.kind.order for row in range(hidden)]
    found = []
    for d in range(len(plan.reverse)):
        found += [w[d][rows], r[d][rows]]
        if b is not None:
            found += [b[d][: n * hidden][rows], b[d][n * hidden :][rows]]
    return found


def _split(plan: _Plan, rest: Sequence[Tensor | None]) -> tuple[tuple[Tensor | None, ...], Tensor | None]:
    """The initial states, and the peepholes of an LSTM."""
    padded = (*rest, None, None, None)
    n = plan.kind.n_states
    return padded[:n], padded[n] if n == 2 else None


def _require_shapes(plan: _Plan, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None) -> None:
    """torch reads beyond the end of operands that do not fit, without a word."""
    if x.dim() != 3 or 0 in x.shape:
        raise ValueError(f"the input has shape {list(x.shape)}; positions, rows and features are needed")
    _require_weights(plan, w.shape, r.shape, None if b is None else b.shape)
    if w.shape[2] != x.shape[2]:
        raise ValueError(f"the input has {x.shape[2]} features, not {w.shape[2]} as the weights")


def _require_weights(plan: _Plan, w: Sequence[int], r: Sequence[int], b: Sequence[int] | None) -> None:
    if len(r) != 3 or len(w) != 3:
        raise ValueError(f"the weights have shapes {list(w)} and {list(r)}; three axes are needed")
    directions, gates, hidden = len(plan.reverse), len(plan.kind.order), r[2]
    if plan.hidden is not None and plan.hidden != hidden:
        raise ValueError(f"the hidden_size is {plan.hidden}, but the recurrent weights have shape {list(r)}")
    wanted: dict[str, tuple[Sequence[int], tuple[int, ...]]] = {}
    wanted["recurrent weights"] = (r, (directions, gates * hidden, hidden))
    wanted["weights"] = (w, (directions, gates * hidden, w[2]))
    if b is not None:
        wanted["biases"] = (b, (directions, 2 * gates * hidden))
    for name, (shape, right) in wanted.items():
        if tuple(shape) != right:
            raise ValueError(f"the {name} have shape {list(shape)}, not {list(right)}")


def _state(plan: _Plan, given: Tensor | None, x: Tensor, r: Tensor) -> Tensor:
    wanted = (len(plan.reverse), x.shape[1], r.shape[2])
    if given is None:
        return x.new_zeros(wanted)
    state = given.transpose(0, 1) if plan.rows_first and given.dim() == 3 else given
    if tuple(state.shape) != wanted:
        raise ValueError(f"an initial state has shape {list(given.shape)}; directions, rows, hidden are {wanted}")
    return state.contiguous()


def _require_peepholes(peepholes: Tensor | None, r: Tensor) -> None:
    if peepholes is not None and tuple(peepholes.shape) != (r.shape[0], 3 * r.shape[2]):
        raise ValueError(f"the peepholes have shape {list(peepholes.shape)}, not {[r.shape[0], 3 * r.shape[2]]}")


def _shorter(lengths: NDArray[Any] | None, x: Tensor) -> NDArray[Any] | None:
    """The lengths of rows, if one of them is shorter than the input."""
    if lengths is None:
        return None
    if lengths.shape != (x.shape[1],) or lengths.min() < 1 or lengths.max() > x.shape[0]:
        raise ValueError(f"sequence_lens are {lengths.tolist()}; one from 1 to {x.shape[0]} per row is needed")
    return lengths if (lengths != x.shape[0]).any() else None


def _fused(
    plan: _Plan, x: Tensor, states: State, flat: list[Tensor], *, has_bias: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    backwards = plan.reverse == (True,)
    initial = states if plan.kind.n_states == 2 else states[0]
    # cuDNN differentiates only what it computed for training; without dropout that is the same.
    train = x.is_cuda and torch.is_grad_enabled()
    assert plan.fused is not None  # noqa: S101 - asked for before
    given = x.flip(0) if backwards else x
    outputs, *ends = plan.fused(given, initial, flat, has_bias, 1, 0.0, train, len(plan.reverse) == 2, False)
    outputs = torch.unflatten(outputs, -1, (len(plan.reverse), -1)).transpose(1, 2)
    return outputs.flip(0) if backwards else outputs, tuple(ends)


def _per_direction(w: Tensor, r: Tensor, b: Tensor | None, p: Tensor | None) -> list[tuple[Tensor, Weights]]:
    found = []
    for d in range(w.shape[0]):
        biases = b[d] if b is not None else r.new_zeros(2 * r.shape[1])
        bias, recurrent_bias = biases.chunk(2)
        found.append((w[d], Weights(r[d], bias, recurrent_bias, None if p is None else tuple(p[d].chunk(3)))))
    return found


def _stepped(
    plan: _Plan, x: Tensor, states: State, lengths: NDArray[Any] | None, weights: list[tuple[Tensor, Weights]]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    alive = None if lengths is None else cells.alive_of(lengths, x.shape[0], x.device)
    outputs, ends = [], []
    for d, (of_input, others) in enumerate(weights):

        def step(at: Tensor, state: State, d: int = d, others: Weights = others) -> State:
            return plan.kind.step(plan.rules[d], others, at, state)

        state = tuple(state[d] for state in states)
        hidden, end = cells.unrolled(step, x @ of_input.t(), state, alive, reverse=plan.reverse[d])
        outputs.append(hidden)
        ends.append(end)
    return torch.stack(outputs, 1), tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
