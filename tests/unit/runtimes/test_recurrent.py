import pytest
import torch
from attributor.runtimes.recurrent import differentiable, recurrent_parts
from torch import nn

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Words(nn.Module):
    """Dropout within the recurrence and after it, both of which must stay off."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.recurrence = kind(4, 6, num_layers=2, dropout=0.5, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(12)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        outputs, _ = self.recurrence(x)
        return self.head(self.norm(self.dropout(outputs.mean(1))))


def words(kind=nn.LSTM):
    torch.manual_seed(0)
    return Words(kind).eval().requires_grad_(False)


def gradient(module, x):
    leaf = x.clone().requires_grad_()
    outputs = module(leaf)
    (found,) = torch.autograd.grad(outputs.sum(), leaf)
    return outputs.detach(), found


def test_on_the_cpu_nothing_has_to_be_done():
    assert recurrent_parts(words()) == []


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrences_compute_as_in_eval_mode(kind):
    module, x = words(kind), torch.randn(3, 5, 4)
    expected = gradient(module, x)
    with differentiable([module.recurrence]):
        assert module.recurrence.training
        assert not module.training
        assert not module.dropout.training
        assert not module.norm.training
        found = gradient(module, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_afterwards_all_is_as_it_was_also_where_the_model_raises():
    module = words()

    def fail():
        with differentiable([module.recurrence]):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not module.recurrence.training
    assert module.recurrence.dropout == 0.5


@CUDA
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_on_cuda_they_can_be_differentiated_in_eval_mode(kind):
    module, x = words(kind), torch.randn(3, 5, 4)
    expected = gradient(module, x)
    module = module.cuda()
    parts = recurrent_parts(module)
    assert parts == [module.recurrence]
    with pytest.raises(RuntimeError, match="training mode"):
        gradient(module, x.cuda())
    with differentiable(parts):
        found = gradient(module, x.cuda())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-5)
