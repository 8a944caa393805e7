"""Tiny random sequence classifiers in folders, as the hub has large ones."""

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)

_WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "you", "are", "so", "kind", "bad", "and", "mean"]


def save(folder, labels, *, is_decoder=False, **config):
    """Write one with these labels by index; a decoder's tokenizer has no padding and adds no marks."""
    vocab = {word: place for place, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]", "model_max_length": 32}
    if is_decoder:
        special |= {"eos_token": "[SEP]"}
    else:
        marks = [("[CLS]", 1), ("[SEP]", 2)]
        tokenizer.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
        )
        special |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config |= {"id2label": labels, "label2id": {name: place for place, name in labels.items()}, "vocab_size": len(_WORDS)}
    torch.manual_seed(len(labels))
    if is_decoder:
        size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
        model = GPT2ForSequenceClassification(GPT2Config(**size, **config, pad_token_id=None))
    else:
        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        model = BertForSequenceClassification(BertConfig(**size, **config, max_position_embeddings=32))
    for parameter in model.parameters():  # far enough from zero that texts differ
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    return folder


def load(folder):
    """Model and tokenizer by transformers alone."""
    return AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
