"""The leading affine layers of a module, taken out of it: x -> z, and what remains: z -> outputs.

A path that is straight in x is straight in z: z(x' + alpha (x - x')) = z(x') + alpha (z(x) - z(x')). So both ends are
mapped once, nodes lie between the z's, and one weighted sum of gradients is pulled back at the end. Knows torch and
one module; knows no paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attributor.runtimes.transforms.affine import Link, affine_chain, equal_forms, float_rows
from attributor.runtimes.transforms.copying import replaced_copy
from attributor.runtimes.transforms.recording import Call, Record, record


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a prefix is worth having."""

    #: Of float32 z for one point. Ours: ten jobs of 20 nodes then keep 1.6 GB at most; a stem at 224x224 has 3.2 MB.
    most_bytes: int = 8 * 2**20
    #: Multiplications in the prefix per number in z. Each number costs about ten reads and writes per point on top
    #: (interpolated, its gradient multiplied, summed and kept), so that a prefix that computes little per number loses.
    least_work: float = 64.0


class Prefix(nn.Module):
    """`module` cut in two behind `last`; both halves share its weights. One thread at a time.

    z has shape (rows, *`shape`); of maps in channels-last format the channels are its last axis, so that it is
    contiguous. Neither half may be used in a layer's name: names are those of the whole module.
    """

    def __init__(self, module: nn.Module, cut: "Cut", *, channels_last: bool) -> None:
        super().__init__()
        self.place = cut.place
        self.input_shape = cut.input_shape
        self._turned = channels_last and len(cut.shape) == 3
        self.shape = (*cut.shape[1:], cut.shape[0]) if self._turned else cut.shape
        self._stop, self._given = _Stop(cut.last), _Given(writes=cut.is_overwritten)
        skipped: dict[nn.Module, nn.Module] = {part: _Skipped(shape) for part, shape in cut.skipped}
        self._head = replaced_copy(module, {cut.last: self._stop})
        self._rest = replaced_copy(module, {**skipped, cut.last: self._given})
        self._others = tuple(other[:1] for other in cut.others)

    def forward(self, x: Tensor) -> Tensor:
        """z of rows of x, (rows, *shape), with its graph."""
        # Copies, as the module may write in place.
        arguments = [other.expand(len(x), *other.shape[1:]).clone() for other in self._others]
        arguments.insert(self.place, x)
        try:
            self._head(*arguments)
        except _Reached as reached:
            z = reached.tensor
            return z.permute(0, 2, 3, 1).contiguous() if self._turned else z.contiguous()
        raise RuntimeError("The module computes a layer without calling it as a module, so that it cannot be cut.")

    def outputs(self, z: Tensor, others: Sequence[Tensor] = ()) -> Tensor:
        """The module's outputs at z, (rows, *shape), and its other inputs in their order."""
        arguments = list(others)
        arguments.insert(self.place, z.new_zeros(1).expand(len(z), *self.input_shape))
        self._given.tensor = z.permute(0, 3, 1, 2) if self._turned else z
        try:
            found: Tensor = self._rest(*arguments)
            return found
        finally:
            self._given.tensor = None

    def pull_back(self, gradients: Tensor) -> Tensor:
        """The transpose of the prefix's linear part: gradients by z, (rows, *shape), as gradients by x.

        Linear, so a weighted sum of gradients is pulled back at once.
        """
        with torch.enable_grad():
            x = gradients.new_zeros(len(gradients), *self.input_shape).requires_grad_()
            return torch.autograd.grad(self(x), x, gradients)[0]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Where a module can be cut: behind the call of `last`, which gives z of `shape` (without the rows).

    `place`: of the input; `others`: the other inputs, of which z does not depend; `skipped`: modules in front of
    `last`, by the shape of what they give; `work`: multiplications per point.
    """

    place: int
    input_shape: tuple[int, ...]
    others: tuple[Tensor, ...]
    last: nn.Module
    shape: tuple[int, ...]
    skipped: tuple[tuple[nn.Module, tuple[int, ...]], ...]
    work: float
    is_overwritten: bool


def find_cut(module: nn.Module, batches: Sequence[Sequence[Tensor]], place: int, bounds: Bounds) -> Cut | None:
    """The last place within the bounds behind which the module can be cut; None if there is none.

    `batches`: inputs of different numbers of rows, on which it must take the same way. Raises whatever it raises.
    """
    seen = [record(module, inputs) for inputs in batches]
    if not equal_forms(seen) or not all(float_rows(inputs[place], len(inputs[place])) for inputs in batches):
        return None
    cuts = [_cuts(each, place) for each in seen]
    agreed = [cut for cut in cuts[0] if all(any(_same(cut, other) for other in more) for more in cuts[1:])]
    for cut in reversed(agreed):
        n_numbers = int(torch.Size(cut.shape).numel())
        if n_numbers * 4 <= bounds.most_bytes and cut.work >= bounds.least_work * n_numbers:
            return cut
    return None


def _same(one: Cut, other: Cut) -> bool:
    return one.last is other.last and one.shape == other.shape and one.skipped == other.skipped


def _cuts(seen: Record, place: int) -> list[Cut]:
    """All places, in order."""
    x = seen.inputs[place]
    links = affine_chain(seen, x)
    within = [call for call in seen.calls if _is_within(seen, call, links)]
    found = []
    for link in links:
        calls = [call for call in within if call.result is link.result]
        if not calls or not float_rows(link.result, len(x)):
            continue
        call = max(calls, key=lambda each: each.last - each.first)
        before = [each for each in within if each.last <= link.number + 1 and not _is_inside(each, call)]
        found.append(
            Cut(
                place=place,
                input_shape=tuple(x.shape[1:]),
                others=tuple(other for number, other in enumerate(seen.inputs) if number != place),
                last=call.module,
                shape=tuple(link.result.shape[1:]),
                skipped=tuple((each.module, tuple(each.result.shape[1:])) for each in _outermost(before)),
                work=link.work / len(x),
                is_overwritten=any(seen.operations[number].mutates for number in seen.users(link.result)),
            )
        )
    return found


def _is_within(seen: Record, call: Call, links: Sequence[Link]) -> bool:
    """Whether a module, called once, computes nothing of the inputs but links of the chain, and returns one."""
    chain = {link.number for link in links}
    if len(seen.calls_of(call.module)) != 1 or not any(call.result is link.result for link in links):
        return False
    return all(
        number in chain or not any(seen.depends(given) for given in seen.operations[number].given)
        for number in range(call.first, call.last)
    ) and any(number in chain for number in range(call.first, call.last))


def _is_inside(call: Call, outer: Call) -> bool:
    return outer.first <= call.first and call.last <= outer.last


def _outermost(calls: Sequence[Call]) -> list[Call]:
    widest = sorted(calls, key=lambda call: call.last - call.first, reverse=True)
    found: list[Call] = []
    for call in widest:
        if not any(_is_inside(call, outer) for outer in found):
            found.append(call)
    return sorted(found, key=lambda call: call.first)


class _Reached(BaseException):
    """Leaves a pass at z: no `except Exception` of a model may stop it."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor


class _Stop(nn.Module):
    """The last module of the prefix, behind which a pass ends."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.last = last

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Raises _Reached with what the module gives."""
        raise _Reached(self.last(*args, **kwargs))


class _Given(nn.Module):
    """In the place of the last module: gives z. `writes`: the model goes on in place, so of a copy."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__()
        self._writes = writes
        self.tensor: Tensor | None = None

    def forward(self, *_args: Any, **_kwargs: Any) -> Tensor:
        """z."""
        if self.tensor is None:
            raise RuntimeError("No z is given. This is a bug.")
        return self.tensor.clone() if self._writes else self.tensor


class _Skipped(nn.Module):
    """In the place of a module whose work is in z: something of the right shape, without memory of its own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape

    def forward(self, x: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
        """Zeros, (rows, *shape)."""
        return x.new_zeros(1).expand(len(x), *self._shape)
