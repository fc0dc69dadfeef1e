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
        ({"context_max_words": 0}, "at least 1"),
        ({"context_probability": 1.5}, "between 0 and 1"),
        ({"on_policy_beta": 1.5}, "`on_policy_beta` must be between 0 and 1, got 1.5"),
        ({"on_policy_max_new_tokens": 0}, "at least 1"),
        ({"heads_learning_rate": -1e-4}, "heads_learning_rate"),
        ({"supervision": "transcript", "distillation_warmup_steps": 10}, "supervision='both'. only"),
        ({"text_state_weight": 0.5}, "set `subword_ctc_weight` too"),
        ({"remove_unused_columns": True}, "remove_unused_columns"),
        ({"train_sampling_strategy": "batch_rebalance"}, "group_by_length"),
    ],
)
def test_bad_values_are_named(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, **settings)


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
