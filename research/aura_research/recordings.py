"""Recordings of real people for training and validation: spoken orders and studio prompts. Each is skipped, with a sentence, where it is absent."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr


SAMPLING_RATE = 16000
ASTERISK_SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
NOISE_FILE = "kitchen.flac"


LONGEST_PROMPT_SECONDS = 10
"""A batch of eight clips of half a minute takes 15 GB to train on."""


@dataclass(frozen=True)
class Recording:
    """A recording of a person: file, what is said (`None` where nobody wrote it down), and the order's slots if it is one."""

    path: Path
    transcript: str | None
    slots: dict[str, str] | None


def read_speech(path: Path) -> np.ndarray:
    """The samples of a file as mono float32 `(n_samples,)` at 16 kHz."""
    samples, sampling_rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), sampling_rate, SAMPLING_RATE).astype(np.float32)


def order_recordings(folder: Path) -> list[Recording]:
    """The real spoken orders of a folder with `manifest.jsonl`; an empty list, said aloud, when there is none."""
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        print(f"No recorded orders: {manifest} is absent, so they are left out.", flush=True)
        return []
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [Recording(folder / row["audio"], None, row["slots"]) for row in rows]


def prompt_recordings(transcripts: Path, sounds: Path = ASTERISK_SOUNDS) -> list[Recording]:
    """Studio prompts of Debian's `asterisk-core-sounds-en-wav` of at least two words and at most ten seconds; an empty list, said aloud, without them.

    Args:
        transcripts: file of lines `name: text`; `;` begins a comment, `[...]` describes a sound that is not speech.
    """
    if not transcripts.is_file() or not sounds.is_dir():
        print(f"No studio prompts: {transcripts} or {sounds} is absent, so they are left out.", flush=True)
        return []
    recordings = []
    for line in transcripts.read_text().splitlines():
        name, colon, text = line.partition(":")
        path = sounds / f"{name.strip()}.wav"
        text = re.sub(r"\s+", " ", text).strip()
        is_speech = colon and not line.startswith(";") and "[" not in text and len(text.split()) >= 2
        if is_speech and path.is_file() and soundfile.info(path).duration <= LONGEST_PROMPT_SECONDS:
            recordings.append(Recording(path, text, None))
    return recordings


ORDER_TRANSCRIPTS = Path(__file__).with_name("order_transcripts.json")


def order_transcripts() -> dict[str, str]:
    """What is said in the recorded orders, by file name, as [`write_order_transcripts`] found out."""
    return json.loads(ORDER_TRANSCRIPTS.read_text())


def write_order_transcripts(folder: Path, whisper: Path) -> None:
    """Writes down what is said in the recorded orders of `folder`, whose slots are known but not their words.

    Of all sentences of the grammar that mean the true slots, the one whose characters are nearest to Whisper's transcript (Levenshtein).

    Args:
        folder: of the recordings, see [`order_recordings`].
        whisper: a Whisper model's folder.
    """
    import jiwer
    import torch
    from tqdm import tqdm
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    from aura_research.texts.orders import OrderGrammar

    grammar = OrderGrammar()
    model = WhisperForConditionalGeneration.from_pretrained(whisper, dtype=torch.bfloat16, attn_implementation="eager")
    processor = WhisperProcessor.from_pretrained(whisper)
    recordings = order_recordings(folder)
    transcripts = {}
    for start in tqdm(range(0, len(recordings), 12), unit_scale=12, unit="clip"):
        batch = recordings[start : start + 12]
        waveforms = [read_speech(recording.path) for recording in batch]
        inputs = processor(waveforms, sampling_rate=SAMPLING_RATE, return_tensors="pt").to(torch.bfloat16)
        with torch.no_grad():
            tokens = model.generate(inputs.input_features, max_new_tokens=60)
        for recording, text in zip(batch, processor.batch_decode(tokens, skip_special_tokens=True), strict=True):
            transcript = re.sub(r"[^a-z' ]+", "", text.lower()).strip() or " "
            assert recording.slots is not None
            transcripts[recording.path.name] = min(
                grammar.sentences(recording.slots),
                key=lambda sentence, transcript=transcript: (
                    jiwer.process_characters(sentence.lower(), transcript).cer * len(sentence)
                ),
            )
    ORDER_TRANSCRIPTS.write_text(json.dumps(transcripts, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    import sys

    write_order_transcripts(Path(sys.argv[1]), Path(sys.argv[2]))
