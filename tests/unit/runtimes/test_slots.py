import pytest
import torch
from attributor.runtimes.slots import Form, Slots

CPU = torch.device("cpu")


def test_a_freed_slot_is_used_again_and_growth_moves_nothing():
    slots = Slots({"a": Form((1,)), "ids": Form((2,), torch.int64)}, CPU)
    taken = [slots.add({"a": torch.tensor([float(i)]), "ids": torch.tensor([i, -i])}) for i in range(200)]
    assert len(set(taken)) == 200
    assert slots.gather("a", torch.tensor(taken))[:, 0].tolist() == list(range(200))
    assert slots.gather("ids", torch.tensor(taken[:3])).tolist() == [[0, 0], [1, -1], [2, -2]]
    slots.remove(taken[7])
    assert slots.add({"a": torch.zeros(1), "ids": torch.zeros(2)}) == taken[7]


def test_a_tensor_of_another_shape_is_a_bug_and_takes_no_slot():
    slots = Slots({"a": Form((2,))}, CPU)
    first = slots.add({"a": torch.zeros(2)})
    slots.remove(first)
    with pytest.raises(ValueError, match=r"'a' must have shape \(2,\)\. This is a bug\."):
        slots.add({"a": torch.zeros(1)})
    assert slots.add({"a": torch.zeros(2)}) == first
