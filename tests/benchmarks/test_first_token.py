"""Every system, tiny, up to its first token."""

import pytest
import torch

from benchmarks import first_token
from benchmarks.peers import LAYOUTS, EncoderSystem
from benchmarks.systems import Systems
from tests.benchmarks.support import tiny_arguments
from tests.support.tiny import tone


def test_every_system_is_measured(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch, lengths=[1])
    (table,) = first_token.measure(arguments).tables
    assert set(table.values) == {
        first_token.LIMIT,
        first_token.MERGED,
        first_token.DIRECTLY,
        first_token.FROM_TRANSCRIPT,
        first_token.CASCADE,
        *(layout.name for layout in LAYOUTS),
    }
    assert table.case_names == ["1"]
    assert all(len(rounds) == 1 for by_case in table.values.values() for rounds in by_case.values())
    assert [row[0] for row in first_token.summary_rows(table)] == list(table.values)


def test_int8_quantises_the_llm_of_all_systems_and_leaves_lora_out(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch, lengths=[1], dtype="int8")
    result = first_token.measure(arguments)
    assert first_token.DIRECTLY not in result.tables[0].values
    assert any("int8" in note for note in result.notes)
    systems = Systems(arguments.student, arguments.base_model, dtype="int8")
    for model in (systems.language_model.model, systems.merged_model.model.language_model):
        assert "DynamicQuantizedLinear" in str(model.layers[0])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_layouts_give_as_many_tokens_as_the_originals(layout, tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch)
    encoder = EncoderSystem(Systems(arguments.student, arguments.base_model), layout)
    assert encoder.audio_embeddings(tone(2.0, 400)).shape[:2] == (1, 100 // layout.stack + (100 % layout.stack > 0))
    assert encoder.audio_embeddings(tone(31.0, 400)).shape[1] >= 31 * 50 // layout.stack


def test_unpadded_audio_of_a_whole_window_is_encoded_as_by_transformers(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch)
    system = EncoderSystem(Systems(arguments.student, arguments.base_model), LAYOUTS[-1])
    features = system.systems.speech_features([tone(1.0, 400)])
    with torch.no_grad():
        torch.testing.assert_close(system._unpadded(features), system.encoder(features).last_hidden_state)
