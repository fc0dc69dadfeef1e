import pytest
from transformers import HfArgumentParser

from transformers_aura.distillation.training_args import AuraTrainingArguments


def arguments(tmp_path, **settings):
    return AuraTrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"supervision": "all"}, "transcript, distillation, both"),
        ({"time_alignment": "nearest"}, "mean, interpolate"),
        ({"teacher_normalization": "batch"}, "standardize, layer_norm, none"),
        ({"layer_mapping": "deep"}, "uniform, shallow, last"),
        ({"layer_mapping": 3}, "got 3"),
        ({"cosine_weight": -1}, "`cosine_weight` must be at least 0, got -1"),
        ({"answer_kl_temperature": 0}, "above 0"),
        ({"normalization_clips": 0}, "at least 1"),
        ({"context_probability": 1.5}, "between 0 and 1"),
        ({"heads_learning_rate": -1e-4}, "heads_learning_rate"),
        ({"supervision": "transcript", "distillation_warmup_steps": 10}, "supervision='both'. only"),
        ({"supervision": "transcript", "lm_weight": 0}, "Nothing is left to learn"),
        ({"supervision": "distillation", "cosine_weight": 0, "mse_weight": 0}, "Nothing is left to learn"),
        ({"text_state_weight": 0.5}, "set `subword_ctc_weight` too"),
        ({"keep_subword_ctc_head": True}, "set `subword_ctc_weight` above 0"),
        ({"subword_ctc_weight": 0.5, "answers_from_transcript": True}, "set `keep_subword_ctc_head` too"),
        ({"questions_by_ear": ["What was ordered?"]}, "without `answers_from_transcript` all are"),
        ({"questions_by_ear": "What was ordered?"}, "must be a list of texts .* got 'What was ordered.'"),
        ({"questions_by_ear": ["What was ordered?", " "]}, "none of them empty"),
        ({"subword_ctc_layer": -1}, "`subword_ctc_layer` must be at least 0, got -1"),
        ({"text_state_layers": "12"}, "`text_state_layers` must be a list of depths"),
        ({"remove_unused_columns": True}, "remove_unused_columns"),
        ({"train_sampling_strategy": "batch_rebalance"}, "group_by_length"),
    ],
)
def test_bad_values_are_named(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, **settings)


def test_what_is_used(tmp_path):
    both = arguments(tmp_path)
    assert (both.uses_distillation, both.uses_language_modeling, both.uses_answer_kl) == (True, True, False)
    transcript = arguments(tmp_path, supervision="transcript", answer_kl_weight=1.0)
    assert (transcript.uses_distillation, transcript.uses_answer_kl) == (False, True)
    tokens = arguments(
        tmp_path, supervision="transcript", lm_weight=0.0, subword_ctc_weight=1.0, text_state_weight=1.0
    )
    assert (tokens.uses_language_modeling, tokens.uses_subword_ctc, tokens.uses_text_states) == (False, True, True)
    assert tokens.parsed_text_state_layers is None
    distillation = arguments(tmp_path, supervision="distillation", answer_kl_weight=1.0)
    assert (distillation.uses_language_modeling, distillation.uses_answer_kl) == (False, False)


def test_layer_mapping_as_pairs_and_as_json(tmp_path):
    assert arguments(tmp_path, layer_mapping=[[4, 0], [9, 1]]).parsed_layer_mapping == [(4, 0), (9, 1)]
    assert arguments(tmp_path, layer_mapping="[[4, 0], [9, 1]]").parsed_layer_mapping == [(4, 0), (9, 1)]
    assert arguments(tmp_path).parsed_layer_mapping == "uniform"


def test_command_line(tmp_path):
    (parsed,) = HfArgumentParser(AuraTrainingArguments).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--use_cpu", "--layer_mapping", "[[1, 0]]", "--answer_kl_weight", "0.5"]
    )
    assert parsed.parsed_layer_mapping == [(1, 0)]
    assert parsed.answer_kl_weight == 0.5
