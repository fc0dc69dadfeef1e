"""Which voices speak the training corpus, and which are kept for tests."""

from typing import Any

from tools.voices import Voice


KOKORO_TEST_VOICES = ("bf_emma", "bf_isabella", "bm_george", "bm_fable", "am_michael", "am_puck")
"""Kept aside for testing; let them speak in measurements only."""

KOKORO_ENGLISH_VOICES = [
    "af_alloy",
    "af_aoede",
    "af_bella",
    "af_heart",
    "af_jessica",
    "af_kore",
    "af_nicole",
    "af_nova",
    "af_river",
    "af_sarah",
    "af_sky",
    "am_adam",
    "am_echo",
    "am_eric",
    "am_fenrir",
    "am_liam",
    "am_onyx",
    "am_santa",
    "bf_alice",
    "bf_lily",
    "bm_daniel",
    "bm_lewis",
]
KOKORO_ACCENTED_VOICES = [
    "ef_dora",
    "em_alex",
    "ff_siwis",
    "hf_alpha",
    "hf_beta",
    "hm_omega",
    "hm_psi",
    "if_sara",
    "im_nicola",
    "jf_alpha",
    "jf_nezumi",
    "jm_kumo",
    "pf_dora",
    "pm_alex",
]


TRAINING_VOICES = {
    "kokoro": tuple(Voice("kokoro", name, (0.92, 1.08)) for name in KOKORO_ENGLISH_VOICES),
    "hibari": (Voice("hibari", "heart", (0.82, 1.15), pitch=(0.55, 1.25)),),
    "flite": (
        Voice("flite", "slt", (0.85, 1.10)),
        Voice("flite", "rms", (0.92, 1.25)),
        Voice("flite", "awb", (0.92, 1.20)),
    ),
    "pico": (Voice("pico", "en-US", (0.82, 1.15)), Voice("pico", "en-GB", (0.82, 1.15))),
}


def draw_voice(engine: str, generator: Any) -> Voice:
    """A training voice of an engine; for kokoro every other one is a blend of two. `generator` is a `random.Random`."""
    voices = TRAINING_VOICES[engine]
    if engine != "kokoro" or generator.random() < 0.4:
        return generator.choice(voices)
    english = generator.choice(KOKORO_ENGLISH_VOICES)
    other = generator.choice([*KOKORO_ENGLISH_VOICES, *KOKORO_ACCENTED_VOICES])
    share = round(generator.uniform(0.25, 0.75), 2)
    return Voice("kokoro", f"{english}:{share:g}+{other}:{1 - share:.2g}", (0.92, 1.08))
