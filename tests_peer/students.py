"""Tiny students for the common tests: what transformers calls a model tester."""

import torch
from transformers import AutoConfig
from transformers_common_tests.test_modeling_common import floats_tensor, ids_tensor

from transformers_aura import AuraAudioConfig, AuraConfig, AuraForSpeechQA


_FAMILY_SETTINGS = {
    "llama": {},
    "qwen3": {"tie_word_embeddings": True},
    "gemma3_text": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64},
}


class StudentTester:
    """
    Configuration and inputs of a student on a random LLM, as the common tests ask for them.

    Args:
        family: of the LLM.
        with_audio: whether each row of the inputs has a recording; they are of three lengths.
        audio: further fields of [`AuraAudioConfig`].
        settings: further fields of [`AuraConfig`].
    """

    # Names that the common tests read; seven rows are what their largest batch has.
    batch_size = 7
    seq_length = 12
    vocab_size = 99
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    is_training = True
    causal_lm_class = AuraForSpeechQA

    # Low, because the tests of smaller vocabularies take the highest ids away.
    audio_token_id = 3
    num_mel_bins = 16
    frames_per_token = 4
    num_frames = (12, 7, 3)

    def __init__(
        self, family: str, with_audio: bool = True, audio: dict[str, object] | None = None, **settings: object
    ) -> None:
        self.family, self.with_audio, self.audio = family, with_audio, audio or {}
        self.settings = {"lora_rank": 4, **settings}

    def with_recordings(self) -> "StudentTester":
        """The same student, with a recording in each row."""
        return StudentTester(self.family, audio=self.audio, **self.settings)

    def get_config(self) -> AuraConfig:
        """Of the student."""
        text_config = AutoConfig.for_model(
            self.family,
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=40,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=512,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            **_FAMILY_SETTINGS[self.family],
        )
        audio_config = AuraAudioConfig(
            num_mel_bins=self.num_mel_bins,
            frames_per_token=self.frames_per_token,
            conv_width=16,
            tokens_per_block=2,
            **self.audio,
        )
        config = AuraConfig.from_text_audio_configs(
            text_config, audio_config, audio_token_id=self.audio_token_id, **self.settings
        )
        config.vocab_size = self.vocab_size  # the training test reads it here
        return config

    def prepare_config_and_inputs_for_common(self) -> tuple[AuraConfig, dict[str, torch.Tensor]]:
        """The configuration, and a batch of `batch_size` rows."""
        first_text_id = self.audio_token_id + 1
        input_ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size - first_text_id) + first_text_id
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        if self.with_audio:
            lengths = [self.num_frames[row % len(self.num_frames)] for row in range(self.batch_size)]
            for row, length in enumerate(lengths):
                input_ids[row, 3 : 3 + -(-length // self.frames_per_token)] = self.audio_token_id
            longest = max(lengths)
            inputs["input_features"] = floats_tensor([self.batch_size, longest, self.num_mel_bins])
            inputs["input_features_mask"] = torch.arange(longest) < torch.tensor(lengths).unsqueeze(-1)
        return self.get_config(), inputs
