import torch
from attributor.runtimes.transforms.copying import replaced_copy, shared_copy
from torch import nn


def test_a_copy_shares_parameters_buffers_and_plain_tensors() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    module[0].table = torch.zeros(5)

    made = shared_copy(module)

    assert made[0] is not module[0]
    assert made[0].weight is module[0].weight
    assert made[0].table is module[0].table
    assert made[1].running_var is module[1].running_var


def test_weights_can_be_others_in_a_copy() -> None:
    module = nn.Linear(3, 3)
    other = nn.Parameter(torch.zeros(3, 3))

    made = shared_copy(module, {id(module.weight): other})

    assert made.weight is other
    assert module.weight is not other


def test_a_part_is_replaced_under_all_its_names_and_the_original_stays() -> None:
    part = nn.ReLU()
    module = nn.Sequential(part, nn.Sequential(part, nn.Tanh()))
    instead = nn.Identity()

    made = replaced_copy(module, {part: instead})

    assert made[0] is instead
    assert made[1][0] is instead
    assert module[0] is part


def test_a_part_inside_a_replaced_one_is_gone_with_it() -> None:
    inner, outer = nn.ReLU(), nn.Sequential(nn.ReLU())
    outer[0] = inner
    instead = nn.Identity()

    made = replaced_copy(nn.Sequential(outer), {outer: instead, inner: nn.Tanh()})

    assert made[0] is instead
