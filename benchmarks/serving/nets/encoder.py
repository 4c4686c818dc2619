"""A sentence encoder of 6 layers and width 384 (the layout of MiniLM-L6) and a classifier on its mean."""

from torch import Tensor, nn
from transformers import BertConfig, BertModel

TOPICS = 16


class Encoder(nn.Module):
    """Token ids (rows, tokens) to logits (rows, 16)."""

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.classify = nn.Linear(384, TOPICS)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classify(self.encoder(input_ids=ids).last_hidden_state.mean(1))

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings (rows, tokens, 384)."""
        return self.encoder.embeddings.word_embeddings(ids)

    def from_embeddings(self, words: Tensor) -> Tensor:
        """The logits of word embeddings."""
        return self.classify(self.encoder(inputs_embeds=words).last_hidden_state.mean(1))


def build() -> nn.Module:
    return Encoder()
