import math

import torch
from attributor.runtimes.transforms.proving import Difference, Sample, difference, differentiated, relative_difference
from torch import Tensor, nn

torch.set_num_threads(1)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head((self.embedding(ids).tanh() * mask[..., None]).sum(1))


def test_equal_modules_do_not_differ_and_scaled_ones_do() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    sample = Sample((torch.randn(1, 4),), (0,))
    same = differentiated(module, sample)

    assert difference(same, same, sample) == Difference(0.0, 0.0)

    scaled = differentiated(nn.Sequential(module, nn.Softshrink(0.0)), sample)
    assert difference(same, scaled, sample).within(1e-6, 1e-6)

    wrong = nn.Sequential(module[0], nn.Tanh(), module[2])
    found = difference(same, differentiated(wrong, sample), sample)
    assert found.outputs > 0.01
    assert found.gradients > 0.01


def test_equal_outputs_with_other_gradients_differ() -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() + 0 * x

    sample = Sample((torch.randn(1, 4),), (0,))

    found = difference(differentiated(nn.Identity(), sample), differentiated(Detached(), sample), sample)

    assert found.outputs == 0
    assert found.gradients == 1


def test_gradients_of_token_ids_are_by_their_embedding() -> None:
    torch.manual_seed(0)
    module = Words().eval().requires_grad_(False)
    sample = Sample((torch.tensor([[1, 2, 3]]), torch.tensor([[1.0, 1.0, 0.0]])), (0,), {0: "embedding"})

    outputs, (gradient,) = differentiated(module, sample)(sample.rows(2))

    assert tuple(outputs.shape) == (2, 2)
    assert tuple(gradient.shape) == (2, 3, 4)
    assert not gradient[:, 2].any()
    assert not torch.equal(outputs[0], outputs[1])  # embeddings are moved, each row's in its way


def test_rows_are_the_same_at_each_call_and_unlike_each_other() -> None:
    sample = Sample((torch.zeros(1, 3), torch.ones(1, 2)), (0,))

    rows, again = sample.rows(5), sample.rows(5)

    assert all(torch.equal(one, other) for one, other in zip(rows, again, strict=True))
    assert len({tuple(row.tolist()) for row in rows[0]}) == 5
    assert torch.equal(rows[1], torch.ones(5, 2))
    assert sample.double().rows(2)[0].dtype is torch.float64


def test_nan_is_never_within_a_tolerance() -> None:
    assert not Difference(math.nan, 0.0).within(1.0, 1.0)
    assert math.isnan(relative_difference(torch.ones(3, 2), torch.full((3, 2), math.nan)))
    assert relative_difference(torch.ones(3, 2), torch.ones(3, 1)) == math.inf
    assert relative_difference(torch.zeros(3, 2), torch.zeros(3, 2)) == 0
