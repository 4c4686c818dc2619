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


def test_memory_is_given_back_when_most_of_it_is_unused_and_what_is_left_stays():
    slots = Slots({"a": Form((1,))}, CPU)
    taken = [slots.add({"a": torch.tensor([float(i)])}) for i in range(1000)]
    assert (len(slots), slots.n_slots) == (1000, 1024)
    for slot in taken[32:]:
        slots.remove(slot)
    assert (len(slots), slots.n_slots) == (32, 32)
    assert slots.gather("a", torch.tensor(taken[:32]))[:, 0].tolist() == list(range(32))
    assert len({slots.add({"a": torch.zeros(1)}) for _ in range(100)} | set(taken[:32])) == 132


def test_without_a_slot_in_use_memory_is_as_at_first():
    slots = Slots({"a": Form((1,))}, CPU)
    first = slots.n_slots
    taken = [slots.add({"a": torch.zeros(1)}) for _ in range(first + 1)]
    assert slots.n_slots == 2 * first
    for slot in taken:
        slots.remove(slot)
    assert (len(slots), slots.n_slots) == (0, first)
    assert slots._rows["a"].untyped_storage().nbytes() == first * 4


def test_a_slot_at_the_end_that_is_in_use_keeps_the_memory():
    slots = Slots({"a": Form((1,))}, CPU)
    taken = [slots.add({"a": torch.tensor([float(i)])}) for i in range(1000)]
    for slot in taken[:-1]:
        slots.remove(slot)
    assert slots.n_slots == 1024
    assert slots.gather("a", torch.tensor(taken[-1:])).tolist() == [[999.0]]


def test_a_reserved_slot_is_filled_later():
    slots = Slots({"a": Form((1,))}, CPU)
    slot = slots.reserve()
    assert slots.add({"a": torch.ones(1)}) != slot
    slots.put(slot, {"a": torch.full((1,), 7.0)})
    assert slots.gather("a", torch.tensor([slot])).tolist() == [[7.0]]
    with pytest.raises(ValueError, match="must have shape"):
        slots.put(slot, {"a": torch.zeros(2)})
