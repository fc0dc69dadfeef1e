import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from transformers_aura import AuraAudioConfig, AuraConfig
from transformers_aura.modeling.language_models import SUPPORTED_LANGUAGE_MODELS


@pytest.mark.parametrize(("frames_per_token", "rate"), [(4, 25), (8, 12.5), (16, 6.25)])
def test_tokens_per_second(frames_per_token, rate):
    assert AuraAudioConfig(frames_per_token=frames_per_token).tokens_per_second == rate


def test_config_survives_saving(tmp_path):
    config = AuraConfig.from_text_audio_configs(
        AutoConfig.for_model("llama", num_hidden_layers=6),
        AuraAudioConfig(num_mel_bins=128, tokens_per_block=None),
        base_model="org/base",
        lora_rank=16,
        lora_scope="audio",
        character_ctc_alphabet=" aäb",
        subword_ctc_layer=3,
        answer_from="transcript",
        decoding_config={"beam_size": 7, "language_model_weight": 0.0},
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is AuraConfig
    ignored = ("_name_or_path", "transformers_version")
    assert {k: v for k, v in loaded.to_dict().items() if k not in ignored} == {
        k: v for k, v in config.to_dict().items() if k not in ignored
    }
    assert config.lora_num_layers == 4  # two thirds of six
    assert config.lora_alpha == 16


@pytest.mark.parametrize("family", ["gpt2", "hyperclovax", "opt"])
def test_unsupported_family_is_an_error_that_lists_the_supported_ones(family):
    with pytest.raises(ValueError, match=family) as raised:
        AuraConfig.from_text_audio_configs(AutoConfig.for_model(family), AuraAudioConfig())
    assert all(supported in str(raised.value) for supported in SUPPORTED_LANGUAGE_MODELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames_per_token": 3}, "multiple of `frames_per_step`"),
        ({"tokens_per_block": 0}, "tokens_per_block"),
        ({"patch_embedding": "mlp"}, "patch_embedding"),
        ({"num_mel_bins": 0}, "num_mel_bins"),
        ({"frames_per_token": 10**9}, "`frames_per_token` must be between 1 and 1024"),
        ({"conv_blocks": -1}, "conv_blocks"),
        ({"conv_blocks": 1, "patch_embedding": "linear"}, "`conv_blocks` must be 0 for the linear"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"rms_norm_eps": 0.0}, "`rms_norm_eps` must be above 0"),
    ],
)
def test_bad_audio_settings(settings, message):
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        AuraAudioConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_num_layers": 99}, "`lora_num_layers` must be between 1 and 6, got 99"),
        ({"lora_num_layers": 2.5}, "`lora_num_layers` must be a whole number"),
        ({"lora_rank": 10**9}, "`lora_rank` must be between 0 and 4096"),
        ({"lora_alpha": float("nan")}, "`lora_alpha` must be above 0.0 and 64000 or less, got nan"),
        ({"lora_alpha": 0}, "`lora_alpha` must be above 0"),
        ({"lora_alpha": -4.0}, "`lora_alpha` must be above 0"),
        ({"lora_alpha": 1e9}, "`lora_alpha` must be .* 64000 or less"),
        ({"lora_alpha": "16"}, "`lora_alpha` must be a number"),
        ({"lora_dropout": 1.0}, "`lora_dropout` must be below 1"),
        ({"lora_dropout": float("nan")}, "`lora_dropout` must be 0.0 or more"),
        ({"lora_target_modules": "all-linear"}, "must be a list of linear layers"),
        ({"lora_target_modules": ["q_proj", "q_proj"]}, "each once"),
        ({"audio_token_id": -1}, "`audio_token_id` must be 0 or more"),
        ({"lora_target_modules": ["q_proj", "qkv"]}, "'qkv'"),
        ({"lora_rank": -1}, "lora_rank"),
        ({"lora_scope": "everywhere"}, "lora_scope"),
        ({"subword_ctc_layer": 7}, "between 0 and the LLM's 6 layers, got 7"),
        ({"character_ctc_alphabet": "abc"}, "begins with a space"),
        ({"answer_from": "text"}, "answer_from"),
        ({"answer_from": "transcript"}, "needs a CTC head"),
        ({"decoding_config": {"beams": 3}}, "no setting 'beams'"),
        ({"decoding_config": {"beam_size": 0}}, "`beam_size` must be 1 or more, got 0"),
    ],
)
def test_bad_student_settings(settings, message):
    with pytest.raises((ValueError, TypeError, StrictDataclassError), match=message):
        AuraConfig.from_text_audio_configs(
            AutoConfig.for_model("llama", num_hidden_layers=6), AuraAudioConfig(), **settings
        )


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"rms_norm_eps": float("nan")}, "text_config.rms_norm_eps"),
        ({"rms_norm_eps": 0.0}, "text_config.rms_norm_eps"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": -1.0}}, "text_config.rope_parameters.rope_theta"),
        ({"attention_dropout": float("inf")}, "text_config.attention_dropout"),
        ({"output_hidden_states": 0.5}, "text_config.output_hidden_states"),
    ],
)
def test_settings_of_the_llm_that_cannot_be(settings, name):
    with pytest.raises(ValueError, match=name):
        AuraConfig(text_config={"model_type": "llama", **settings})


def test_a_compact_student_names_the_settings_of_its_llm():
    with pytest.raises(ValueError, match="`text_config` is missing: the settings of the base LLM org/base"):
        AuraConfig(base_model="org/base")
