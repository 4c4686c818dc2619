import copy

import pytest
import torch
from attributor.runtimes.transforms.folding import FoldedNorm, fold_norms
from torch import Tensor, nn

torch.set_num_threads(1)


def with_statistics(module: nn.Module) -> nn.Module:
    """Norms as training leaves them, none of whose numbers is 0 or 1."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.3, 3)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
    return module.eval().requires_grad_(False)


class Block(nn.Module):
    """A convolution and a norm; `use` says what else happens to the convolution's output."""

    def __init__(self, use: str = "") -> None:
        super().__init__()
        self.conv, self.norm, self.use = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), use
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        if self.use == "written over":
            z.mul_(2)
        if self.use == "convolved twice":
            z = z + self.conv(x)
        found = self.norm(z)
        if self.use == "normalised twice":
            found = self.norm(found)
        if self.use == "added":
            found = found + z
        if self.use == "viewed":
            found = found + z.flatten(1).mean()
        if self.use == "detached":
            found = found * z.detach().mean()
        return found.relu()


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Linear(5, 4), nn.BatchNorm1d(4), (5,)),
        (nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4, affine=False), (5,)),
        (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), (3, 9)),
        (nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(4), (4, 9, 9)),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect", bias=False), nn.BatchNorm2d(4), (3, 9, 9)),
        (nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), (2, 5, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6), (4, 5, 5)),
    ],
)
def test_a_folded_norm_changes_nothing(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    module = with_statistics(nn.Sequential(layer, norm, nn.Tanh())).double()
    x = torch.randn(3, *shape, dtype=torch.float64)

    made, n_folded = fold_norms(module, [x])

    assert n_folded == 1
    assert isinstance(made[1], FoldedNorm)
    torch.testing.assert_close(made(x), module(x), rtol=1e-12, atol=1e-12)


def test_the_original_keeps_its_weights_and_shares_the_others() -> None:
    module = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 49, 2)))
    before = copy.deepcopy(module.state_dict())

    made, _ = fold_norms(module, [torch.randn(2, 3, 9, 9)])

    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert made[3].weight is module[3].weight
    assert made[0].weight is not module[0].weight


def test_the_layer_and_the_norm_are_found_across_modules_and_what_only_passes_on() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Identity())
            self.second = nn.ModuleList([nn.BatchNorm2d(4)])

        def forward(self, x: Tensor) -> Tensor:
            if x.dim() != 4:  # which torch.fx could not trace
                raise ValueError(x.shape)
            return self.second[0](self.first(x)).relu()

    module = with_statistics(Apart())
    x = torch.randn(2, 3, 9, 9)

    made, n_folded = fold_norms(module, [x])

    assert n_folded == 1
    torch.testing.assert_close(made(x), module(x))


@pytest.mark.parametrize("use", ["written over", "convolved twice", "normalised twice", "added", "viewed", "detached"])
def test_a_norm_stays_where_something_else_sees_the_layer(use: str) -> None:
    module = with_statistics(Block(use))

    made, n_folded = fold_norms(module, [torch.randn(2, 3, 9, 9)])

    assert n_folded == 0
    assert made is module


def test_a_layers_output_that_is_returned_keeps_its_norm() -> None:
    class Returned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z = self.conv(x)
            return self.norm(z), z

    assert fold_norms(with_statistics(Returned()), [torch.randn(2, 3, 9, 9)])[1] == 0


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(3)),  # of the second axis, not of the linear layer's outputs
        nn.Sequential(nn.Conv1d(3, 5, 1), nn.BatchNorm1d(5, track_running_stats=False)),
        nn.Sequential(nn.Conv1d(3, 5, 1), nn.ReLU(), nn.BatchNorm1d(5)),
    ],
)
def test_a_norm_of_other_things_stays(module: nn.Module) -> None:
    module.eval()

    assert fold_norms(module, [torch.randn(2, 3, 4)])[1] == 0


def test_a_layer_of_a_class_of_its_own_keeps_its_norm() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / self.weight.std()

    module = with_statistics(nn.Sequential(Standardised(3, 4, 3), nn.BatchNorm2d(4)))

    assert fold_norms(module, [torch.randn(2, 3, 9, 9)])[1] == 0


def test_norms_stay_where_python_reads_values() -> None:
    class Bright(nn.Module):
        """A bright picture takes a way past the norm; the example is none."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            z = self.conv(x)
            return z if bool((x.abs() > 100).any()) else self.norm(z)

    module = with_statistics(Bright())

    assert fold_norms(module, [torch.randn(2, 3, 9, 9)]) == (module, 0)
