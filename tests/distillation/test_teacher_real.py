"""The real Whisper tiny.en on real speech: what shorter padding costs."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import WhisperForConditionalGeneration

from tools.real_models import real_model_folder
from transformers_aura import load_audio
from transformers_aura.distillation.teacher import AuraTeacher


SPEECH = sorted((Path(__file__).parents[1] / "fixtures" / "speech").rglob("*.flac"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whisper():
    try:
        return real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_states_are_those_of_the_whole_model(whisper):
    teacher = AuraTeacher.from_pretrained(whisper)
    clip = load_audio(SPEECH[0])
    output = teacher([clip])
    features = teacher.feature_extractor([clip], sampling_rate=16000, return_tensors="pt").input_features
    encoder = WhisperForConditionalGeneration.from_pretrained(whisper).eval().model.encoder
    with torch.no_grad():
        expected = encoder(features, output_hidden_states=True).hidden_states
    for layer, states in enumerate(output.hidden_states):
        assert torch.equal(states[0], expected[layer + 1][0, : int(output.lengths[0])])


def test_shorter_padding_is_nearly_the_same_on_speech(whisper):
    clips = [load_audio(path) for path in SPEECH[:2]]
    full = AuraTeacher.from_pretrained(whisper)(clips)
    short = AuraTeacher.from_pretrained(whisper, pad_to_seconds=5)(clips)
    for layer, (a, b) in enumerate(zip(full.hidden_states, short.hidden_states, strict=True)):
        is_real = torch.arange(a.shape[1]) < full.lengths[:, None]
        # As in training: standardised per dimension, so that outlier dimensions do not decide.
        a, b = a[is_real], b[is_real]
        mean, std = a.mean(dim=0), a.std(dim=0)
        similarity = F.cosine_similarity((a - mean) / std, (b - mean) / std, dim=-1)
        print(f"layer {layer}: mean cosine {similarity.mean():.4f}, 5th percentile {similarity.quantile(0.05):.4f}")
        assert similarity.mean() > 0.9
