import pytest
import torch
from attributor.errors import UnknownLayer, UnsupportedByModel
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.proof.places import forward, places_of
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import configure_threads
from bundles import token_bundle, two_input_bundle

configure_threads()

IDS = torch.tensor([[3, 5, 2, 0, 0, 0], [-1, 11, 4, -1, 2, 7]])
MASK = torch.ones(2, 6)


def loaded(folder):
    bundle = open_bundle(folder)
    return load_module(bundle), bundle.info


def test_float_inputs_are_their_own_places(tmp_path):
    module, info = loaded(two_input_bundle(tmp_path))
    inputs = {"measurements": torch.rand(4, 2), "signal": torch.rand(4, 3)}
    places = places_of(module, info, inputs)
    assert list(places) == ["measurements", "signal"]
    moved = {"measurements": places["measurements"] + 1, "signal": places["signal"]}
    direct = module(inputs["measurements"] + 1, inputs["signal"])
    torch.testing.assert_close(forward(module, info, inputs, moved), direct)


def test_tokens_have_their_embedding_for_a_place_which_is_zero_without_a_token(tmp_path):
    module, info = loaded(token_bundle(tmp_path))
    inputs = {"ids": IDS, "mask": MASK}
    places = places_of(module, info, inputs)
    assert list(places) == ["ids"]
    table = module.embedding.weight
    torch.testing.assert_close(places["ids"][0], table[IDS[0]])
    assert not places["ids"][1, [0, 3]].any()
    torch.testing.assert_close(places["ids"][1, 1], table[11])
    by_hand = module.head((torch.tanh(module.mixer(places["ids"])) * MASK[..., None]).sum(1) / 6)
    torch.testing.assert_close(forward(module, info, inputs, places), by_hand)


def test_gradients_reach_the_embedding(tmp_path):
    module, info = loaded(token_bundle(tmp_path))
    inputs = {"ids": IDS, "mask": MASK}
    places = {name: place.requires_grad_() for name, place in places_of(module, info, inputs).items()}
    (gradient,) = torch.autograd.grad(forward(module, info, inputs, places).sum(), [places["ids"]])
    assert gradient.abs().sum(-1).bool().all()


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ('embedding = "embedding"', 'embedding = "embeddings"', UnknownLayer, "Did you mean 'embedding'"),
        ('embedding = "embedding"', 'embedding = "head"', UnsupportedByModel, "these axes have to come first"),
    ],
)
def test_an_embedding_that_is_none_is_refused(tmp_path, old, new, error, words):
    folder = token_bundle(tmp_path)
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(old, new))
    seal(folder)
    module, info = loaded(folder)
    with pytest.raises(error, match=words):
        places_of(module, info, {"ids": IDS, "mask": MASK})
