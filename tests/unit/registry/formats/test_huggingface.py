import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import transformers
from attributor.errors import BundleError
from attributor.registry.catalog import open_bundle
from attributor.registry.formats.huggingface import pool
from attributor.registry.loader import load_module
from attributor.registry.seal import seal
from attributor.runtimes.layers import replaced
from attributor.runtimes.torch_runtime import configure_threads
from format_bundles import VOCABULARY, minilm_bundle, transformer_bundle
from safetensors.torch import load_file, save_file

configure_threads()

IDS = torch.tensor([[2, 5, 6, 7, 9, 3], [2, 5, 6, 7, 11, 3], [2, 8, 8, 8, 8, 3]])
MASK = torch.ones_like(IDS)
SEGMENTS = torch.zeros_like(IDS)
TASKS = {
    "sentence-embedding": (transformers.BertModel, (3, 16)),
    "sequence-classification": (transformers.BertForSequenceClassification, (3, 3)),
    "token-classification": (transformers.BertForTokenClassification, (3, 6, 3)),
    "causal-lm": (transformers.GPT2LMHeadModel, (3, 6, VOCABULARY)),
}
LABELS = ("bad", "fair", "good")


def bundle_of(root, task, **more):
    return transformer_bundle(root, task, task, labels=LABELS if "classification" in task else (), **more)


def loaded(root, task, **more):
    return load_module(open_bundle(bundle_of(root, task, **more)))


def given(task):
    return (IDS, MASK) if task == "causal-lm" else (IDS, MASK, SEGMENTS)


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_computes_what_transformers_computes_with_it(tmp_path, task):
    folder = bundle_of(tmp_path, task)
    module = load_module(open_bundle(folder))
    made, shape = TASKS[task]
    theirs = made.from_pretrained(folder, local_files_only=True).eval()(input_ids=IDS, attention_mask=MASK)
    expected = theirs.last_hidden_state.mean(1) if task == "sentence-embedding" else theirs.logits
    assert expected.shape == shape
    torch.testing.assert_close(module(*given(task)), expected, atol=1e-5, rtol=1e-4)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("task", TASKS)
def test_gradients_and_their_gradients_reach_the_embeddings(tmp_path, task):
    bundle = open_bundle(bundle_of(tmp_path, task))
    module = load_module(bundle)
    name = bundle.info.inputs[0].embedding
    place = module.get_submodule(name)(IDS).clone().requires_grad_()
    with replaced(module, name, place):
        score = module(*given(task)).flatten(1)[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, place, create_graph=True)
    assert gradient.abs().sum() > 0
    # The second derivative, by which directional derivatives through a model are computed.
    (second,) = torch.autograd.grad(gradient.square().sum(), place)
    assert second.isfinite().all()
    assert second.abs().sum() > 0


def test_nothing_reaches_for_the_network(tmp_path, monkeypatch):
    folder = bundle_of(tmp_path, "causal-lm")

    def no_network(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert load_module(open_bundle(folder)) is not None
    change_config(folder, model_type="detr", backbone="someone/anything", use_pretrained_backbone=True)
    with pytest.raises(BundleError, match=r"has (use_pretrained_)?backbone"):
        load_module(open_bundle(folder))


def test_the_hub_is_switched_off_in_this_process_before_transformers_is_there():
    words = (
        "import os; import attributor.registry.formats.huggingface; import huggingface_hub.constants; "
        "print(huggingface_hub.constants.HF_HUB_OFFLINE, os.environ['TRANSFORMERS_OFFLINE'])"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
    found = subprocess.run([sys.executable, "-c", words], env=environment, capture_output=True, check=True, text=True)
    assert found.stdout.split() == ["True", "1"]


def test_padding_under_the_mask_changes_nothing(tmp_path):
    module = loaded(tmp_path, "sentence-embedding")
    padded, mask = torch.cat([IDS, IDS], 1), torch.cat([MASK, torch.zeros_like(MASK)], 1)
    torch.testing.assert_close(
        module(padded, mask, torch.zeros_like(mask)), module(IDS, MASK, SEGMENTS), atol=1e-5, rtol=1e-4
    )


def test_a_mask_of_floats_is_a_mask(tmp_path):
    module = loaded(tmp_path, "sentence-embedding")
    torch.testing.assert_close(module(IDS, MASK.float(), SEGMENTS), module(IDS, MASK, SEGMENTS))


def test_pooling():
    states = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(states, mask, "mean").tolist() == [[2.0, -3.0]]
    assert pool(states, mask, "max").tolist() == [[3.0, -2.0]]
    assert pool(states, mask, "cls").tolist() == [[1.0, -2.0]]


def test_an_embedding_of_unit_length_is_that_and_in_the_same_direction(tmp_path):
    plain = loaded(tmp_path, "sentence-embedding")(IDS, MASK, SEGMENTS)
    unit = loaded(tmp_path / "unit", "sentence-embedding", made_of={"unit_length": True})(IDS, MASK, SEGMENTS)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(unit * plain.norm(dim=1, keepdim=True), plain)


def test_minilm_tells_meanings_apart(tmp_path):
    folder = minilm_bundle(tmp_path)
    module = load_module(open_bundle(folder))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    texts = ("A cat sits on the mat.", "A kitten rests on a rug.", "Inflation fell by two per cent.")
    cat, kitten, inflation = (module(*(torch.tensor([part]) for part in parts(tokenizer, text)))[0] for text in texts)
    assert float(cat @ kitten) > 0.5 > 0.2 > float(cat @ inflation)


def parts(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    ids = [token for token in ids if token != 0]
    return ids, [1] * len(ids), [0] * len(ids)


def test_half_precision_and_shards_become_float32(tmp_path):
    folder = bundle_of(tmp_path, "token-classification")
    expected = load_module(open_bundle(folder))(IDS, MASK, SEGMENTS)
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, own in halves.items():
        save_file({name: weights[name] for name in own}, folder / file)
    index = {"weight_map": {name: file for file, own in halves.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    seal(folder)
    module = load_module(open_bundle(folder))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    torch.testing.assert_close(module(IDS, MASK, SEGMENTS), expected, atol=0.02, rtol=0.02)


def test_weights_that_changed_are_not_loaded(tmp_path):
    folder = bundle_of(tmp_path, "causal-lm")
    bundle = open_bundle(folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.safetensors has sha256"):
        load_module(bundle)


def test_weights_of_a_type_that_torch_has_not_are_refused(tmp_path):
    folder = bundle_of(tmp_path, "causal-lm")
    head = b'{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0")
    seal(folder)
    with pytest.raises(BundleError, match=r"model\.safetensors is no safetensors file") as caught:
        load_module(open_bundle(folder))
    assert caught.value.field == "files.model.safetensors"


def test_weights_without_the_head_of_the_task_are_refused(tmp_path):
    folder = bundle_of(tmp_path, "token-classification")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "classifier" not in name}, folder / "model.safetensors"
    )
    seal(folder)
    with pytest.raises(BundleError, match=r"missing: classifier\.bias, classifier\.weight") as caught:
        load_module(open_bundle(folder))
    assert caught.value.field == "task"


def test_weights_of_another_shape_are_refused(tmp_path):
    folder = bundle_of(tmp_path, "token-classification")
    change_config(folder, vocab_size=VOCABULARY + 1)
    with pytest.raises(BundleError, match=r"word_embeddings"):
        load_module(open_bundle(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"auto_map": {"AutoModel": "code.Net"}}, "auto_map, which names Python code"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
        ({"model_type": "of-our-own"}, "model_type 'of-our-own', not one of those served"),
        (
            {"model_type": "detr", "is_encoder_decoder": False},
            "model_type 'detr', not one of those served: albert, bert",
        ),
        ({"backbone": "someone/anything"}, "has backbone, by which a part of the model would be fetched"),
        ({"parts": [{"backbone_config": {}}]}, "has backbone_config"),
        ({"part": {"use_timm_backbone": True}}, "has use_timm_backbone"),
        ({"use_pretrained_backbone": False}, "has use_pretrained_backbone"),
        ({"part": {"auto_map": {}}}, "auto_map, which names Python code"),
        ({"model_type": None}, "model_type None"),
        ({"is_encoder_decoder": True}, "an encoder and a decoder"),
        ({"hidden_size": "wide"}, r"config\.json is refused by transformers"),
        ({"num_attention_heads": 3}, "transformers cannot load the model: .*heads"),
    ],
)
def test_a_configuration_that_is_not_served_is_refused(tmp_path, change, words):
    folder = bundle_of(tmp_path, "sequence-classification")
    change_config(folder, **change)
    with pytest.raises(BundleError, match=words):
        load_module(open_bundle(folder))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_configuration_that_is_no_object_is_refused(tmp_path, text):
    folder = bundle_of(tmp_path, "sequence-classification")
    (folder / "config.json").write_text(text)
    seal(folder)
    with pytest.raises(BundleError, match=r"config\.json (is not JSON|holds no JSON object)"):
        load_module(open_bundle(folder))


def test_code_in_the_folder_is_refused(tmp_path):
    folder = bundle_of(tmp_path, "sequence-classification")
    (folder / "modeling_ours.py").write_text("raise RuntimeError")
    seal(folder)
    with pytest.raises(BundleError, match=r"modeling_ours\.py holds code") as caught:
        load_module(open_bundle(folder))
    assert caught.value.field == "files.modeling_ours.py"


def test_an_adapter_is_refused(tmp_path):
    folder = bundle_of(tmp_path, "sequence-classification")
    (folder / "adapter_config.json").write_text("{}")
    seal(folder)
    with pytest.raises(BundleError, match="merge it"):
        load_module(open_bundle(folder))


def test_attention_from_elsewhere_is_not_taken(tmp_path):
    folder = bundle_of(tmp_path, "sequence-classification")
    change_config(folder, attn_implementation="someone/kernel", _attn_implementation="someone/kernel")
    module = load_module(open_bundle(folder))
    assert module.network.config._attn_implementation == "eager"


def test_an_input_that_the_model_does_not_take_is_refused(tmp_path):
    folder = bundle_of(tmp_path, "sequence-classification")
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("token_type_ids", "segments"))
    with pytest.raises(BundleError, match="takes input_ids, attention_mask, token_type_ids") as caught:
        load_module(open_bundle(folder))
    assert caught.value.field == "inputs.segments"


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    seal(folder)
