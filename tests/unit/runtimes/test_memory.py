"""Real allocations that do not fit: in a child process whose address space ends soon, and on a GPU if there is one."""

import os
import subprocess
import sys
import weakref

import pytest
import torch
from attributor.errors import OutOfMemory
from attributor.runtimes.memory import (
    bytes_for_backward,
    free_bytes,
    in_halves,
    is_out_of_memory,
    resident_bytes,
)
from torch import nn

#: Evaluates six rows of which each takes 64 MB, in a process that may have so many MB more than it has.
CHILD = """
import resource
import torch
from attributor.errors import OutOfMemory
from attributor.runtimes.memory import in_halves

torch.set_num_threads(1)

def evaluate(first, last):
    rows = torch.zeros(last - first, 16 * 2**20)
    rows += torch.arange(first, last)[:, None]
    return [int(each) for each in rows[:, 0]]

evaluate(0, 1)  # whatever torch makes ready at its first use
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
for limit_mb in (700, 330, 100, 30):
    resource.setrlimit(resource.RLIMIT_AS, (taken + limit_mb * 2**20, most))
    too_large = []
    try:
        print(in_halves(6, evaluate, too_large.append), too_large)
    except OutOfMemory as error:
        print(error.code, too_large)
"""
SAID = """\
[0, 1, 2, 3, 4, 5] []
[0, 1, 2, 3, 4, 5] [6]
[0, 1, 2, 3, 4, 5] [6, 3, 2]
out_of_memory [6, 3, 2, 1]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds what is mapped on Linux only")
def test_where_memory_runs_out_halves_are_evaluated_and_none_is_lost():
    # Where it fails, glibc tries again in another arena, which takes 64 MB of addresses for good.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", CHILD]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == SAID


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_too():
    free, _ = torch.cuda.mem_get_info()
    too_large = []

    def evaluate(first, last):
        return [torch.empty((last - first) * free // 3, dtype=torch.uint8, device="cuda").numel()]

    assert len(in_halves(4, evaluate, too_large.append)) == 2
    assert too_large == [4]


def test_what_no_allocation_could_ever_give_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as caught:
        bytearray(2**60)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), ValueError("can't allocate memory"), KeyError()]
)
def test_what_is_wrong_with_a_model_is_not(error):
    assert not is_out_of_memory(error)

    def evaluate(first, last):
        raise error

    with pytest.raises(type(error)):
        in_halves(4, evaluate, lambda n: None)


def test_the_pass_that_did_not_fit_is_gone_when_the_next_begins():
    seen = []

    def evaluate(first, last):
        held = torch.ones(1)
        seen.append(weakref.ref(held))
        assert all(ref() is None for ref in seen[:-1]), "the tensors of the failed pass still take their memory"
        if last - first > 1:
            raise MemoryError
        return [first]

    assert in_halves(4, evaluate, lambda n: None) == [0, 1, 2, 3]


def test_nothing_is_no_pass():
    assert in_halves(0, lambda first, last: 1 / 0, lambda n: None) == []


def test_a_point_alone_that_does_not_fit_says_what_to_do():
    def evaluate(first, last):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(OutOfMemory, match="worker with more memory"):
        in_halves(3, evaluate, lambda n: None)


def test_bytes_for_backward_are_those_of_the_activations():
    module = nn.Sequential(nn.Linear(10, 100), nn.Tanh(), nn.Linear(100, 3)).requires_grad_(False)
    x = torch.randn(7, 10, requires_grad=True)
    found = bytes_for_backward(lambda: module(x), module.parameters())
    assert found == 7 * 100 * 4 * 3, "the output of tanh, and gradients before and after it"


def test_what_is_saved_twice_is_counted_once():
    x = torch.randn(1000, requires_grad=True)

    def forward():
        y = x.exp()
        return y * y

    assert bytes_for_backward(forward, []) == 3 * 4000


def test_free_memory_is_some_and_less_than_all():
    found = free_bytes(torch.device("cpu"))
    assert found is None or 0 < found < 2**50


def test_resident_memory_grows_with_what_is_held():
    before = resident_bytes()
    if before is None:
        pytest.skip("this system does not say")
    held = torch.ones(16 * 2**20)
    assert 50e6 < resident_bytes() - before < 100e6
    del held
