"""Tokenizers of their real classes, with vocabularies of a few hundred tokens that are trained here, on a few lines."""

import io
from functools import cache

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

LINES = [
    "Hello! How can I help you today?",
    "What color is the sky? It is blue. The sky is blue and the sea is green.",
    "system user assistant model tool [INST] [/INST] answer question",
    "Hello Hello Goodbye! The answer is 42. What is 2 + 2? It is 4. Once upon a time",
    "How are you? I am fine, thank you. Naïve café, größer, 你好 😀.",
]
# Texts that templates use as single tokens.
MARKS = ["<|im_start|>", "<|im_end|>", "<|eot|>", "<|start|>", "<|stop|>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@cache
def _metaspace_bpe(first):
    """A vocabulary and merges as those of Llama, Mistral and Gemma: ``▁`` for a space, bytes for what is not known."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.train_from_iterator(
        LINES * 20, trainers.BpeTrainer(vocab_size=600, special_tokens=[*first, *BYTES], show_progress=False)
    )
    return _parts(tokenizer)


@cache
def _byte_bpe():
    """A vocabulary and merges over bytes, as those of GPT-2 and Qwen."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(LINES * 20, trainer)
    return _parts(tokenizer)


def _parts(tokenizer):
    import json

    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@cache
def sentencepiece_model():
    """The bytes of a SentencePiece file."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_writer=out,
        vocab_size=380,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return out.getvalue()


def llama(**options):
    """Of Llama 2 and Mistral: SentencePiece's ways in the tokenizers library."""
    from transformers import LlamaTokenizer

    vocab, merges = _metaspace_bpe(("<unk>", "<s>", "</s>"))
    return _marked(LlamaTokenizer(vocab=vocab, merges=merges, **options))


def legacy_llama():
    """The older way: every piece between special tokens begins with ``▁``."""
    return llama(legacy=True)


def gemma():
    """Of Gemma: no space before a text."""
    from transformers import GemmaTokenizer

    vocab, merges = _metaspace_bpe(("<pad>", "<eos>", "<bos>", "<unk>"))
    return _marked(GemmaTokenizer(vocab=vocab, merges=merges))


def gpt2():
    """Of GPT-2, whose places of tokens leave spaces out."""
    from transformers import GPT2Tokenizer

    vocab, merges = _byte_bpe()
    return _marked(GPT2Tokenizer(vocab=dict(vocab) | {"<|endoftext|>": len(vocab)}, merges=merges))


def qwen():
    """Of Qwen, which puts Unicode into its composed form."""
    from transformers import Qwen2Tokenizer

    vocab, merges = _byte_bpe()
    return _marked(Qwen2Tokenizer(vocab=dict(vocab) | {"<|endoftext|>": len(vocab)}, merges=merges))


def t5():
    """Of T5: unigrams, and one token for what is not known."""
    from transformers import T5Tokenizer

    words = sorted({f"▁{word}" for line in LINES for word in line.split()})
    letters = sorted({letter for line in LINES for letter in line if letter != " "})
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocab += [(word, -3.0) for word in words if len(word) > 2] + [(letter, -6.0) for letter in letters]
    return _marked(T5Tokenizer(vocab=vocab, extra_ids=0))


def bert():
    """Of BERT: words and their pieces, in lower case."""
    from transformers import BertTokenizer

    letters = sorted({letter for line in LINES for letter in line.lower() if letter != " "})
    words = sorted({word.strip("?!.,") for line in LINES for word in line.lower().split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters), *words]
    return _marked(BertTokenizer(vocab={token: i for i, token in enumerate(dict.fromkeys(tokens))}))


def byt5():
    """Of ByT5: one token a byte, in Python alone, without places of tokens."""
    from transformers import ByT5Tokenizer

    return _marked(ByT5Tokenizer(extra_ids=0))


def slow_sentencepiece(folder):
    """SentencePiece itself, in Python alone."""
    from transformers import BertGenerationTokenizer

    path = folder / "spiece.model"
    path.write_bytes(sentencepiece_model())
    return _marked(BertGenerationTokenizer(vocab_file=str(path)))


def of_model_file(folder):
    """Of a folder with SentencePiece's file alone, as older models have."""
    from transformers import AutoTokenizer

    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return _marked(AutoTokenizer.from_pretrained(folder))


def _marked(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    if tokenizer.bos_token is None:
        tokenizer.bos_token = "<|start|>"
    if tokenizer.eos_token is None:
        tokenizer.eos_token = "<|stop|>"
    return tokenizer


FAST = {"llama": llama, "legacy llama": legacy_llama, "gemma": gemma, "gpt2": gpt2, "qwen": qwen, "t5": t5, "bert": bert}
