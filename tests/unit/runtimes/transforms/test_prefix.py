import pytest
import torch
from attributor.runtimes.transforms.folding import fold_norms
from attributor.runtimes.transforms.memory_format import channels_last
from attributor.runtimes.transforms.prefix import Bounds, Prefix, find_cut
from torch import Tensor, nn

torch.set_num_threads(1)

ANYWHERE = Bounds(most_bytes=2**30, least_work=0.0)


def cut_of(module: nn.Module, *shapes: tuple[int, ...], bounds: Bounds = ANYWHERE, place: int = 0):
    batches = [[torch.randn(n, *shape) for shape in shapes] for n in (2, 3)]
    return find_cut(module.eval(), batches, place, bounds)


def integrals(module: nn.Module, prefix: Prefix, x: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
    """Attributions by the midpoint rule, with points between the inputs and with points between their z's."""
    alphas = (torch.arange(20, dtype=torch.float64) + 0.5) / 20

    def mean_gradient(run, start: Tensor, end: Tensor) -> Tensor:
        points = start + alphas.view(-1, *[1] * (start.dim() - 1)) * (end - start)
        points.requires_grad_()
        return torch.autograd.grad(run(points)[:, 0].sum(), points)[0].mean(0, keepdim=True)

    plain = mean_gradient(module, baseline, x) * (x - baseline)
    with torch.no_grad():
        start, end = prefix(baseline), prefix(x)
    by_z = mean_gradient(prefix.outputs, start, end)
    return plain, prefix.pull_back(by_z) * (x - baseline)


class Net(nn.Module):
    """A stem with what nets put around it in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(3, 1, 1))
        self.conv, self.norm = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 2)
        self.norm.running_var.uniform_(0.3, 3)
        self.norm.running_mean.normal_()

    def forward(self, x: Tensor) -> Tensor:
        maps = self.relu(self.norm(self.conv((x - self.mean) / 2)))
        return self.head(maps.mean((2, 3)).tanh())


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * 81, 8), nn.Tanh(), nn.Linear(8, 2))


def pooled() -> nn.Module:
    layers = nn.ZeroPad2d(1), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.Identity(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4 * 9, 5), nn.Softplus(), nn.Linear(5, 2))


class Patches(nn.Module):
    """Patch embeddings, then positions and a token in front, as a vision transformer does it."""

    class Embed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Conv2d(3, 6, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.project(x).flatten(2).transpose(1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.head = self.Embed(), nn.LayerNorm(6), nn.Linear(6, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.positions = nn.Parameter(torch.randn(1, 10, 6))

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1) + self.positions
        return self.head(self.norm(tokens)[:, 0] + tokens.sin().mean(1))


@pytest.mark.parametrize(
    ("build", "shape"),
    [(Net, (4, 4, 4)), (linear, (8,)), (pooled, (5,)), (Patches, (9, 6))],
    ids=["net", "linear", "pooled", "patches"],
)
def test_points_between_zs_give_the_same_integral(build, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = build().eval().requires_grad_(False).double()
    x, baseline = torch.randn(2, 1, 3, 9, 9, dtype=torch.float64)
    cut = find_cut(module, [[torch.randn(n, 3, 9, 9, dtype=torch.float64)] for n in (2, 3)], 0, ANYWHERE)
    assert cut is not None
    assert cut.shape == shape

    plain, by_prefix = integrals(module, Prefix(module, cut, channels_last=False), x, baseline)

    torch.testing.assert_close(by_prefix, plain, rtol=1e-10, atol=1e-12)


def test_the_work_of_the_prefix_is_counted() -> None:
    cut = cut_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (3, 9, 9))

    assert cut is not None
    assert cut.work == 4 * 7 * 7 * 3 * 3 * 3


def test_the_original_is_left_alone_and_weights_are_shared() -> None:
    module = Net().eval()
    x = torch.randn(2, 3, 9, 9)
    expected = module(x)
    cut = cut_of(module, (3, 9, 9))
    assert cut is not None

    prefix = Prefix(module, cut, channels_last=False)

    assert {id(each) for each in prefix.parameters()} <= {id(each) for each in module.parameters()}
    assert torch.equal(module(x), expected)
    z = prefix(x).detach()
    before = z.clone()
    prefix.outputs(z)
    assert torch.equal(z, before)  # though the ReLU behind it works in place


def test_channels_last_maps_have_their_channels_as_last_axis_of_z() -> None:
    torch.manual_seed(0)
    module = Net().eval().requires_grad_(False)
    x = torch.randn(2, 3, 9, 9)
    folded, _ = fold_norms(module, [x])
    turned = channels_last(folded, [x], 1)
    assert turned is not None
    cut = cut_of(turned, (3, 9, 9))
    assert cut is not None

    prefix = Prefix(turned, cut, channels_last=True)
    z = prefix(x)

    assert prefix.shape == (4, 4, 4)
    assert tuple(z.shape) == (2, 4, 4, 4)
    assert z.is_contiguous()
    torch.testing.assert_close(prefix.outputs(z), module(x))


class Two(nn.Module):
    """A second input, which `use` puts behind or into the prefix."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.layer, self.head, self.use = nn.Linear(4, 5), nn.Linear(5, 2), use

    def forward(self, factor: Tensor, x: Tensor) -> Tensor:
        if self.use == "inside":
            return self.head(self.layer(x * factor).relu())
        return self.head(self.layer(x).relu()) * factor


def test_other_inputs_are_given_to_the_rest() -> None:
    module = Two("behind").eval()
    cut = cut_of(module, (1,), (4,), place=1)
    assert cut is not None
    factor, x = torch.randn(3, 1), torch.randn(3, 4)

    prefix = Prefix(module, cut, channels_last=False)

    torch.testing.assert_close(prefix.outputs(prefix(x), [factor]), module(factor, x))


def test_another_input_that_the_prefix_would_need_forbids_it() -> None:
    assert cut_of(Two("inside"), (1,), (4,), place=1) is None


class Start(nn.Module):
    """A linear layer that is no prefix, for the reason that `use` names."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.layer, self.square, self.use = nn.Linear(4, 4), nn.Linear(4, 4), use

    def forward(self, x: Tensor) -> Tensor:
        if self.use == "square first":
            return self.layer(x * x)
        if self.use == "input seen again":
            return self.layer(x).relu() + x
        if self.use == "called again":
            return self.layer(self.layer(x).relu())
        if self.use == "written over":
            return self.layer(x.clone().relu_())
        if self.use == "read":
            return self.layer(x).relu() if x.sum() > 0 else self.layer(x).tanh()
        if self.use == "only a function":
            return nn.functional.linear(x, self.layer.weight).relu()
        return self.layer(x) * self.square(x)


@pytest.mark.parametrize(
    "use",
    ["square first", "input seen again", "called again", "written over", "read", "only a function", "multiplied"],
)
def test_what_does_not_begin_with_an_affine_module_has_no_prefix(use: str) -> None:
    assert cut_of(Start(use), (4,)) is None


def test_a_module_that_is_called_twice_ends_the_prefix_before_it() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Linear(4, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.again(self.first(x)).relu())

    module = Twice()
    cut = cut_of(module, (4,))

    assert cut is not None
    assert cut.last is module.first


def test_a_prefix_beyond_its_bounds_is_not_taken_but_a_shorter_one_is() -> None:
    narrow, wide = nn.Linear(4, 4), nn.Linear(4, 400)
    module = nn.Sequential(narrow, wide, nn.ReLU())

    assert cut_of(module, (4,)).last is wide
    assert cut_of(module, (4,), bounds=Bounds(most_bytes=100, least_work=0)).last is narrow
    assert cut_of(module, (4,), bounds=Bounds(most_bytes=100, least_work=5)) is None


def test_a_z_that_mixes_rows_into_its_first_axis_is_no_prefix() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.reshape(-1, 2)).relu().reshape(len(x), -1)

    assert cut_of(Folded(), (4,)) is None
