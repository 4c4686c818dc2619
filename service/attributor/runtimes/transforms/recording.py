"""What a module does in one pass: the operators that torch dispatches, and the calls of its submodules around them.

Below Python code, so that it is the same for every way a model is written: torch.fx traces few modules as they are, and
hooks alone do not see what `forward` does between modules. Knows torch; knows no transforms.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # torch has no public name for it; structures of tensors are its one purpose
from torch.utils._python_dispatch import TorchDispatchMode  # nor for this; torch documents it all the same

#: Operators that hand a value to Python: what the model does next may depend on it.
_READ_BY_PYTHON = frozenset({"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero"})


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operator: its schema's name, and its arguments and results as they were."""

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any
    mutates: bool

    @property
    def given(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return _tensors((self.args, self.kwargs))


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a submodule: its operations are numbers `first` to `last` - 1 of the record."""

    module: nn.Module
    first: int
    last: int
    given: Any
    result: Any


@dataclass(slots=True, eq=False)
class Record:
    """One pass without gradients. Tensors are told apart by identity; all that took part are kept alive by it."""

    inputs: Sequence[Tensor]
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: Any = None
    _depends: set[int] = field(default_factory=set)

    def depends(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed from an input of the pass."""
        return id(tensor) in self._depends

    def users(self, tensor: Tensor) -> list[int]:
        """The numbers of the operations that take this tensor, or another view of its memory."""
        memory = _memory(tensor)
        return [
            number
            for number, operation in enumerate(self.operations)
            if any(given is tensor or _memory(given) == memory for given in operation.given)
        ]

    def takers(self, tensor: Tensor) -> list[int]:
        """The numbers of the operations that take this very tensor."""
        return [
            number
            for number, operation in enumerate(self.operations)
            if any(given is tensor for given in operation.given)
        ]

    def is_output(self, tensor: Tensor) -> bool:
        """Whether the pass returns it."""
        return any(found is tensor for found in _tensors(self.outputs))

    def calls_of(self, module: nn.Module) -> list[Call]:
        """In order."""
        return [call for call in self.calls if call.module is module]

    @property
    def is_read(self) -> bool:
        """Whether Python read a value that depends on the inputs: another input may take another way."""
        return any(
            operation.name in _READ_BY_PYTHON and any(self.depends(given) for given in operation.given)
            for operation in self.operations
        )

    @property
    def form(self) -> tuple[str, ...]:
        """The operators in order: equal for two inputs that took the same way."""
        return tuple(operation.name for operation in self.operations)

    def note(self, operation: Operation) -> None:
        """Adds an operation."""
        self.operations.append(operation)
        if any(self.depends(given) for given in operation.given):
            self._depends.update(id(found) for found in _tensors(operation.result))
            if operation.mutates:
                self._depends.update(id(given) for given in operation.given)


def record(module: nn.Module, inputs: Sequence[Tensor]) -> Record:
    """One pass of a module, which is in eval mode. Raises whatever the module raises."""
    found = Record(inputs=tuple(inputs))
    found._depends.update(id(given) for given in inputs)
    with torch.no_grad(), _noted_calls(module, found), _Noting(found):
        found.outputs = module(*inputs)
    return found


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own hook on subclasses
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and torch's compiler takes seconds and some hundred MB to import."""
        return False

    def __init__(self, record: Record) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record = record

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        schema = func._schema  # type: ignore[attr-defined]
        self._record.note(Operation(schema.name, args, given, result, schema.is_mutable))
        return result


@contextmanager
def _noted_calls(module: nn.Module, record: Record) -> Iterator[None]:
    began: list[int] = []

    def before(_part: nn.Module, _args: Any) -> None:
        began.append(len(record.operations))

    def after(part: nn.Module, args: Any, result: Any) -> None:
        record.calls.append(Call(part, began.pop(), len(record.operations), args, result))

    # A fused kernel of torch's transformer modules computes past the modules inside.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        for part in module.modules():
            if part is not module:
                stack.callback(part.register_forward_pre_hook(before).remove)
                stack.callback(part.register_forward_hook(after).remove)
        yield


def _tensors(structure: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
