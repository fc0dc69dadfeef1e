"""A tokenizer and a processor small enough to be built in a test, without a file or a network."""

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from transformers_aura.processing.feature_extraction_aura import AuraFeatureExtractor
from transformers_aura.processing.processing_aura import AuraProcessor


# Like the templates of most LLMs it only knows contents that are strings.
STRING_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def tiny_tokenizer(
    chat_template: str | None = STRING_CHAT_TEMPLATE,
    pad_token: str | None = "<|endoftext|>",
    special_tokens: tuple[str, ...] = (),
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 256 bytes, a few merges, three special tokens (about 270 tokens) and further ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("o", "u"), ("i", "n")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *special_tokens)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token=pad_token,
        chat_template=chat_template,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def tiny_processor(frames_per_token: int = 8, num_mel_bins: int = 80) -> AuraProcessor:
    """A processor around [`tiny_tokenizer`]."""
    return AuraProcessor(
        AuraFeatureExtractor(feature_size=num_mel_bins), tiny_tokenizer(), frames_per_token=frames_per_token
    )


def tone(
    seconds: float, hertz: float = 440.0, sampling_rate: int = 16_000, amplitude: float = 0.3
) -> NDArray[np.float32]:
    """A sine wave with a little noise, float32 of shape `(seconds * sampling_rate,)`."""
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    noise = np.random.default_rng(0).normal(scale=1e-3, size=time.shape)
    return (amplitude * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)
