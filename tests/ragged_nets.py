"""Small nets on texts of several lengths, that see what an example is filled up with, or do not.

All take ids and a mask (n, T), and embed ids by `embed`; nets that see no filling rest on the mask, or on the order.
"""

from dataclasses import replace

import torch
from attributor.jobs.model import ModelInfo, OutputKind
from attributor.runtimes.padding import Examples
from nets_of_text import IDS, MASK, VOCABULARY
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch_nets import described, settled

WIDTH, N_OUT = 8, 3


class Text(nn.Module):
    """Embedding, something in the middle, and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.middle = self.made()
        self.head = nn.Linear(WIDTH, N_OUT)
        self.head.weight.data *= 4
        settled(self)

    def made(self) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.read(self.embed(ids), mask))

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError


class MaskedMean(Text):
    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        kept = mask[:, :, None]
        return (self.middle(embedded) * kept).sum(1) / kept.sum(1)


class Mean(Text):
    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.middle(embedded).mean(1)


class KinkedMean(MaskedMean):
    def made(self) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, WIDTH))


class FaintMask(Text):
    """Attention whose mask only weakens what it should hide."""

    FAINT = 8.0

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        scores = embedded.sum(2) - self.FAINT * (1 - mask)
        return (self.middle(embedded) * scores.softmax(1)[:, :, None]).sum(1)


class Undefined(Text):
    """Hides filling from the outputs, and not from the gradients: a root at zero."""

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        size = embedded.square().sum(2).sqrt()
        return (self.middle(embedded) * (size * mask)[:, :, None]).sum(1)


class Recurrent(Text):
    def made(self) -> nn.Module:
        return nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)


class Packed(Recurrent):
    """The mean over what a bidirectional LSTM makes of packed texts."""

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(1).cpu()
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        mixed, _ = pad_packed_sequence(self.middle(packed)[0], batch_first=True)
        return mixed.sum(1) / lengths[:, None]


class BothWays(Recurrent):
    """The mean by the mask, of a bidirectional LSTM that does not know of it."""

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        kept = mask[:, :, None]
        return (self.middle(embedded)[0] * kept).sum(1) / kept.sum(1)


class Gathered(Text):
    """The state of a forward LSTM after the last token."""

    def made(self) -> nn.Module:
        return nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        states = self.middle(embedded)[0]
        return states[torch.arange(len(mask)), mask.sum(1) - 1]


class Last(Gathered):
    """The state of a forward LSTM at the last position, whatever is there."""

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.middle(embedded)[0][:, -1]


class Frozen(Text):
    """A GRU whose state stays where the mask is 0."""

    def made(self) -> nn.Module:
        return nn.GRUCell(WIDTH, WIDTH)

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        state = torch.zeros_like(embedded[:, 0])
        for position in range(embedded.shape[1]):
            kept = mask[:, position, None].to(state.dtype)
            state = kept * self.middle(embedded[:, position], state) + (1 - kept) * state
        return state


class Tagger(Gathered):
    """Logits per position of a forward LSTM: (n, T, 3)."""

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.middle(embedded)[0]


class TaggerBothWays(Recurrent):
    """Logits per position of an LSTM that begins with what comes last."""

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.middle(embedded)[0]


def info_of(most: int, *, sequence: bool = False) -> ModelInfo:
    """Of nets here, for texts of up to so many tokens."""
    inputs = [replace(spec, shape=(most,)) for spec in (IDS, MASK)]
    if sequence:
        return described(*inputs, n_out=N_OUT, kind=OutputKind.SEQUENCE, positions=most)
    return described(*inputs, n_out=N_OUT)


def examples(device: str = "cpu") -> Examples:
    """Random ids, nothing masked."""

    def rows(n_rows: int, positions: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(VOCABULARY, (n_rows, positions), generator=generator)
        return {"ids": ids.to(device), "mask": torch.ones_like(ids).to(device)}

    return rows
