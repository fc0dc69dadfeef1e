"""Tokenizers of every kind that LLMs have, a few hundred tokens each, with control tokens at all the places where they can be."""

from collections.abc import Callable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from .tiny import tiny_tokenizer


SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if tools %}<tool_call>{{ tools }}</tool_call>{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CHARACTERS = [chr(code) for code in range(33, 127)] + ["é", "ü"]


def _finished(tokenizer: Tokenizer, *, normalized: bool = False, rstrip: bool = False) -> PreTrainedTokenizerFast:
    special = [AddedToken(text, special=True, normalized=normalized, rstrip=rstrip) for text in SPECIAL_TOKENS]
    tokenizer.add_special_tokens(special)
    others = ["<tool_call>", "</tool_call>", "<|fim|>", "\n\n", "<td>"]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=normalized) for text in others])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _sentencepiece_bpe(legacy: bool, rstrip: bool = False) -> PreTrainedTokenizerFast:
    words = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *_CHARACTERS, "im", "en", "end", "▁<"]
    merges = [("i", "m"), ("e", "n"), ("en", "d"), ("▁", "<")]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>"))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _finished(tokenizer, rstrip=rstrip)


def _unigram() -> PreTrainedTokenizerFast:
    """Its vocabulary holds the control tokens as likely pieces, and they are looked for behind the normalisation."""
    pieces = [(text, 0.0) for text in [*SPECIAL_TOKENS, "<tool_call>"]]
    pieces += [("▁", -2.0), ("\n", -3.0), *((character, -3.0) for character in _CHARACTERS), ("im", -2.6)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _finished(tokenizer, normalized=True)


def _wordpiece() -> PreTrainedTokenizerFast:
    words = [*SPECIAL_TOKENS, *_CHARACTERS, *(f"##{character}" for character in _CHARACTERS)]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _finished(tokenizer, normalized=True)


def _words() -> PreTrainedTokenizerFast:
    words = [*SPECIAL_TOKENS, "a", "b", "user", "assistant"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _finished(tokenizer)


def _whole_pretokens() -> PreTrainedTokenizerFast:
    """As Llama 3's: a word that is in the vocabulary is taken without any merge."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL_TOKENS]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("<|im_end|>", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _finished(tokenizer)


TOKENIZER_FAMILIES: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": tiny_tokenizer,
    "sentencepiece": lambda: _sentencepiece_bpe(legacy=False),
    "sentencepiece with a prefix": lambda: _sentencepiece_bpe(legacy=True),
    "sentencepiece, tokens strip": lambda: _sentencepiece_bpe(legacy=True, rstrip=True),
    "unigram": _unigram,
    "wordpiece": _wordpiece,
    "words": _words,
    "whole pretokens": _whole_pretokens,
}
DECODES_TO_WHAT_WAS_WRITTEN = ("bytes", "sentencepiece", "sentencepiece with a prefix", "unigram", "whole pretokens")
