"""Small tokenizers, as files of bundles: made here, by the library that reads them."""

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

#: Ids of the WordPiece's special tokens.
PAD, UNKNOWN, FIRST, SEPARATOR = 0, 1, 2, 3
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("hello", "world", "##ly", "good", "movie", "bad", ",", "!")


def word_piece() -> bytes:
    """BERT's kind: lower case, [CLS] text [SEP] (pair [SEP]). The file cuts and fills: readers switch it off."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *WORDS))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.add_special_tokens(list(SPECIAL))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", SEPARATOR), ("[CLS]", FIRST))
    made.enable_truncation(3)
    made.enable_padding(length=12)
    return made.to_str().encode()


def byte_level() -> bytes:
    """GPT-2's kind: bytes in pairs, no special tokens around a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(["hello world, good world"] * 3, trainer)
    return made.to_str().encode()
