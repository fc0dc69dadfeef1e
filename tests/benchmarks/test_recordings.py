"""The recordings that benchmarks take."""

import numpy as np
import pytest
import soundfile

from benchmarks.recordings import (
    ORDERS,
    QUESTIONS,
    Recording,
    long_recording,
    questions_and_orders,
    read_recordings,
    speech,
)


def test_the_repository_brings_questions_and_orders_with_their_texts():
    questions, orders = read_recordings(QUESTIONS), read_recordings(ORDERS)
    assert (len(questions), len(orders)) == (12, 27)
    assert all(recording.text for recording in questions + orders)


def test_a_folder_without_manifest_gives_every_recording(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no recordings"):
        read_recordings(tmp_path)
    soundfile.write(tmp_path / "one.wav", np.full(8_000, 0.1), 16_000)
    (recording,) = read_recordings(tmp_path)
    assert (recording.name, recording.text, recording.seconds) == ("one.wav", None, 0.5)


def test_a_long_recording_holds_recordings_in_turns_with_pauses():
    recordings = questions_and_orders()
    minute = long_recording(recordings, 60.0)
    assert minute.seconds == pytest.approx(60, abs=3)
    assert minute.text.startswith(f"{recordings[0].text} {recordings[1].text} ")
    length = len(recordings[0].waveform)
    np.testing.assert_array_equal(minute.waveform[:length], recordings[0].waveform)
    pause = minute.waveform[length : length + 9_600]
    assert 20 * np.log10(np.sqrt(np.mean(pause**2))) == pytest.approx(-75, abs=0.5)
    with pytest.raises(ValueError, match="seconds together"):
        long_recording(recordings[:2], 60.0)
    with pytest.raises(ValueError, match="not known"):
        long_recording([Recording("x", minute.waveform)], 60.0)


def test_speech_has_exactly_its_length_and_begins_again_when_all_is_said():
    two = questions_and_orders()[:2]
    assert len(speech(1.5)) == 24_000
    np.testing.assert_array_equal(speech(1.5), two[0].waveform[:24_000])
    once = sum(len(recording.waveform) + 9_600 for recording in two)
    long = speech(once / 16_000 + 1, two)
    assert long.dtype == np.float32
    np.testing.assert_array_equal(long[once:], two[0].waveform[:16_000])
