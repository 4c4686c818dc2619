"""Every type of model that is served, built small: it loads, passes its proof, and can be differentiated twice."""

import json

import pytest
import torch
from attributor.registry.catalog import open_bundle
from attributor.registry.formats.huggingface_config import MODEL_TYPES
from attributor.registry.loader import load_bundle
from attributor.registry.proof.probe import prove
from attributor.runtimes.layers import replaced
from attributor.runtimes.torch_runtime import configure_threads
from format_bundles import POSITIONS, SPECIAL, VOCABULARY, folder_bundle, text_tokenizer
from transformers import CONFIG_MAPPING, MODEL_MAPPING

configure_threads()

IDS = torch.tensor([[2, 5, 6, 7, 9, 3]])
SIZES = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS + 2,
    "initializer_range": 0.3,
}
HEAD = {"head_dim": 8}
OPENAI = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}
SEGMENTS = {"type_vocab_size": 2}
EXPERTS = {**HEAD, "moe_intermediate_size": 8, "num_experts": 4, "num_experts_per_tok": 2}
MODERN = {"global_attn_every_n_layers": 2, "local_attention": 4, "cls_token_id": 2, "sep_token_id": 3}
#: What a type calls by names of its own, or cannot do without.
OWN = {
    "albert": {"embedding_size": 16},
    "bloom": {"n_layer": 2, "n_head": 2},
    "convbert": {"embedding_size": 16, "head_ratio": 1, "conv_kernel_size": 3},
    "deberta": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 4},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "electra": {"embedding_size": 16},
    "falcon": {"new_decoder_architecture": False},
    "gemma2": {"query_pre_attn_scalar": 8, "sliding_window": 4},
    "gemma3_text": {"query_pre_attn_scalar": 8, "sliding_window": 4},
    "gpt2": OPENAI,
    "gpt_bigcode": OPENAI,
    "gpt_neo": {"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]], "window_size": 4},
    "gptj": {**OPENAI, "rotary_dim": 4},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "modernbert": MODERN,
    "modernbert-decoder": MODERN,
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": POSITIONS},
    "openai-gpt": OPENAI,
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 8},
    "qwen3_moe": EXPERTS,
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roformer": {"embedding_size": 16},
    "xglm": {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2},
}
WITH_HEADS = "cohere gemma gemma2 gemma3_text glm glm4 helium llama ministral mistral mixtral qwen3".split()  # noqa: SIM905


def save(folder, kind):
    own = {**(HEAD if kind in WITH_HEADS else {}), **OWN.get(kind, {})}
    with torch.random.fork_rng():
        torch.manual_seed(11)
        config = CONFIG_MAPPING[kind](**{**SIZES, **own})
        model = MODEL_MAPPING[type(config)](config).eval()
    assert sum(each.numel() for each in model.parameters()) < 2**22
    folder.mkdir()
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(text_tokenizer(), encoding="utf-8")
    names = {f"{special.strip('[]').lower()}_token": special for special in SPECIAL}
    inputs = ["input_ids", "attention_mask"]
    told = {**names, "model_max_length": POSITIONS, "model_input_names": inputs}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


@pytest.mark.parametrize("kind", sorted(MODEL_TYPES))
def test_a_type_that_is_served_passes_its_proof_and_has_second_derivatives(tmp_path, kind):
    save(tmp_path / "saved", kind)
    bundle = open_bundle(folder_bundle(tmp_path, "small", tmp_path / "saved"))
    loaded = load_bundle(bundle)
    assert prove(loaded, bundle.info, {}).problem is None
    name = bundle.info.inputs[0].embedding
    place = loaded.module.get_submodule(name)(IDS).clone().requires_grad_()
    with replaced(loaded.module, name, place):
        given = [IDS if spec.embedding else torch.ones_like(IDS) for spec in bundle.info.inputs]
        score = loaded.module(*given).flatten(1)[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, place, create_graph=True)
    assert gradient.abs().sum() > 0
    (second,) = torch.autograd.grad(gradient.square().sum(), place)
    assert second.isfinite().all()
    assert second.abs().sum() > 0
