"""The benchmark of long recordings."""

import torch

from benchmarks import long_audio
from tests.benchmarks.support import tiny_arguments
from transformers_aura.decoding.alphabet import BLANK


def test_transcripts_and_orders_of_tiny_models(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch, lengths=[5.0], around=[1.0], orders=2)
    few = long_audio.questions_and_orders()[:3]
    monkeypatch.setattr(long_audio, "questions_and_orders", lambda: few)
    result = long_audio.measure(arguments)
    errors, orders = result.tables
    assert set(errors.values) == {long_audio.TOGETHER, long_audio.ONE_BY_ONE}
    assert errors.median(long_audio.TOGETHER, 5.0) > 0
    assert len(orders.values) == 6
    assert result.notes[0].startswith("Right, the order alone: 0 of 2 (95 %: 0% to ")


class _Head:
    """Finds a character in the embeddings that are not zero."""

    def log_probabilities(self, embeddings):
        found = torch.full((2 * len(embeddings), 3), -9.0)
        found[:, BLANK] = -1.0
        found[:, 2] = torch.where(embeddings.any(1), 0.0, -9.0).repeat_interleave(2)
        return found


def test_silence_is_dropped_but_for_what_is_near_speech(monkeypatch):
    monkeypatch.setattr(long_audio, "STEPS_PER_TOKEN", 2)
    monkeypatch.setattr(long_audio, "KEPT_TOKENS", 1)
    model = type("Model", (), {"model": type("Inner", (), {"character_ctc_head": _Head()})})
    embeddings = torch.zeros(10, 4)
    embeddings[3] = embeddings[4] = 1
    assert len(long_audio.drop_silence(model, embeddings)) == 4
    assert len(long_audio.drop_silence(model, torch.zeros(10, 4))) == 10
