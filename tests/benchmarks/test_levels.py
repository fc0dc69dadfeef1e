import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.levels import VALIDATION_ORDERS, at_level, read_kitchen, read_orders, speech_found
from benchmarks.without_speech import clips_without_speech
from tools.real_models import real_model_folder
from transformers_aura import load_audio, packaged_students
from transformers_aura.evaluation.systems.student import AuraSystem


FIXTURES = Path(__file__).parents[1] / "fixtures" / "speech"


def test_clips_without_speech_are_many_and_at_their_levels():
    kitchen = np.random.default_rng(0).standard_normal(160_000)
    clips = clips_without_speech(1, kitchen, seconds=2.0)
    assert len(clips) == 31
    for name, clip in clips.items():
        assert clip.dtype == np.float32
        assert clip.shape == (32_000,)
        if " at -45 dB" in name:
            assert 20 * np.log10(np.sqrt(np.mean(clip**2))) == pytest.approx(-45, abs=0.1)
    again, other = clips_without_speech(1, kitchen, seconds=2.0), clips_without_speech(2, kitchen, seconds=2.0)
    np.testing.assert_array_equal(clips["fan at -45 dB"], again["fan at -45 dB"])
    assert not np.array_equal(clips["fan at -45 dB"], other["fan at -45 dB"])


def test_quiet_recordings_are_rounded_as_a_recorder_does():
    clip = np.array([0.5, -0.5, 1e-3], dtype=np.float32)
    np.testing.assert_allclose(at_level(clip, -40), [5e-3, -5e-3, 1e-5], rtol=1e-5)
    np.testing.assert_array_equal(at_level(clip, -40, bits=16) * 32_768, [164, -164, 0])


def test_orders_are_those_that_training_lacks_and_absent_ones_are_said(tmp_path, capsys):
    assert read_orders(tmp_path) == []
    assert read_kitchen(tmp_path) is None
    assert "--orders" in capsys.readouterr().out
    name = VALIDATION_ORDERS.read_text().split()[0]
    rows = [{"audio": file, "slots": {"size": "small"}} for file in (name, "other.flac")]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    soundfile.write(tmp_path / name, np.full(8_000, 0.1), 16_000)
    (order,) = read_orders(tmp_path)
    assert len(read_orders(FIXTURES)) == 27
    assert (order.name, len(order.waveform), json.loads(order.slots)) == (name, 8_000, {"size": "small"})


@pytest.mark.slow
@pytest.mark.skipif("aura-smollm2-135m" not in packaged_students(), reason="no student comes with this checkout")
def test_the_packaged_student_finds_speech_at_all_levels_and_none_in_noise():
    try:
        real_model_folder("smollm2-135m-instruct")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    system = AuraSystem("aura-smollm2-135m", dtype="float32")
    speech = {file.name: load_audio(file) for file in sorted(FIXTURES.glob("*.flac"))[:12]}
    for gain_db in (0, -40):
        quiet = {name: at_level(clip, gain_db, bits=16) for name, clip in speech.items()}
        assert all(speech_found(system, quiet).values())
    assert not any(speech_found(system, clips_without_speech(seed=3)).values())
