"""What the student is measured on.

| set | recordings | asked | truth |
|---|---|---|---|
| orders | recordings of real people, kept out of training by `research/aura_research/validation_clips.txt` | for the order as JSON | slots |
| questions | spoken questions, see `spoken_questions.py` | nothing: the recording is the question | accepted answers |
| question-transcripts | the same | for a transcript | transcript |
| written | the same | in writing, to answer the question | accepted answers |
| reading | read English by speakers of no corpus of ours, open vocabulary | for a transcript | transcript |

Orders are also asked with kitchen noise, from seconds that training never has.
"""

import json
import re
from pathlib import Path

import soundfile

from aura_research.noise import read_noise
from aura_research.places import SHARED_DATA
from aura_research.recordings import NOISE_FILE, order_recordings, order_transcripts
from aura_research.reserved import TRANSCRIPTS
from aura_research.texts.orders import ORDER_QUESTION
from transformers_aura.evaluation.benchmarks import Benchmark, LoadedBenchmark, read_own
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.items import Item


BARISTA = SHARED_DATA / "barista"
VALIDATION_CLIPS = Path(__file__).parents[1] / "validation_clips.txt"
SNR_DB = (6, 9, 12, 15, 18, 21, 24)
SPEECH_SNR_DB = (6, 12, 18)
VARIED = ("speed:0.8", "speed:1.25", "gain:-20", "gain:-10", "gain:10", "context:32", "context:256", "shuffled")

ORDERS = Benchmark(
    "orders",
    ("slots", "slots_strict"),
    "Orders by real people, recordings that training did not have. The public source does not say who speaks, so a voice may be among the "
    "training's. An order is right if every labelled slot is (strict: and nothing else is answered).",
    read_own,
)
READING = Benchmark(
    "reading",
    ("wer", "cer"),
    "Read English by people of no corpus of ours: sentences of an audio book and playing cards.",
    read_own,
)


def orders(barista: Path = BARISTA, limit: int | None = None) -> LoadedBenchmark | None:
    """Validation recordings of a folder with `manifest.jsonl`; `None`, said aloud, when it is absent."""
    names = set(VALIDATION_CLIPS.read_text().split())
    recordings = [recording for recording in order_recordings(barista) if recording.path.name in names]
    transcripts = order_transcripts()
    items = [
        Item(
            name=recording.path.name,
            task="slots",
            audio=str(recording.path),
            accepted=(json.dumps(recording.slots, sort_keys=True),),
            question=ORDER_QUESTION,
            text=transcripts.get(recording.path.name),
            seconds=soundfile.info(recording.path).duration,
        )
        for recording in recordings[:limit]
    ]
    return LoadedBenchmark(ORDERS, items, {"clips": VALIDATION_CLIPS.name}) if items else None


def order_conditions(barista: Path = BARISTA, seed: int = 0) -> list[Condition]:
    """Clean, and every SNR of [`SNR_DB`] with the part of the noise that measurements have; clean alone, said aloud, where it is absent."""
    recording = barista / NOISE_FILE
    if not recording.is_file():
        print(f"No noisy orders: {recording} is absent, so they are left out.", flush=True)
        return [Condition()]
    noise = read_noise(recording, training=False)
    return [Condition(), *(Condition("noise", snr_db, noise, seed) for snr_db in SNR_DB)]


def varied_conditions(seed: int = 0) -> list[Condition]:
    """Other speeds, levels and places in the prompt, and the control in which every clip is another's."""
    return [Condition.parse(written, seed=seed) for written in VARIED]


def speech_conditions(barista: Path = BARISTA, seed: int = 0) -> list[Condition]:
    """Clean, the SNRs of [`SPEECH_SNR_DB`] where there is a recording of noise, and the control."""
    noisy = [condition for condition in order_conditions(barista, seed) if condition.amount in SPEECH_SNR_DB]
    return [Condition(), *noisy, Condition("shuffled", seed=seed)]


def reading(folder: Path = TRANSCRIPTS, limit: int | None = None) -> LoadedBenchmark | None:
    """Sentences of an audio book and read playing cards, from Debian's `pocketsphinx-testdata`; `None`, said aloud, without it.

    `limit` is the number of clips of each of the two.
    """
    items = []
    for part, transcription in (("librivox", "transcription"), ("cards", "cards.transcription")):
        file = folder / part / transcription
        if not file.is_file():
            print(f"No read {part}: {file} is absent (Debian: apt-get install pocketsphinx-testdata).", flush=True)
            continue
        for line in file.read_text().splitlines()[:limit]:
            text, name = _parse_transcription(line)
            path = file.with_name(f"{name}.wav")
            items.append(
                Item(
                    name=f"{part}/{name}",
                    task="transcript",
                    audio=str(path),
                    accepted=(text,),
                    text=text,
                    groups={"part": part},
                    seconds=soundfile.info(path).duration,
                )
            )
    return LoadedBenchmark(READING, items, {"package": "pocketsphinx-testdata"}) if items else None


def _parse_transcription(line: str) -> tuple[str, str]:
    """Text and clip of a line `<s> seven of clubs </s> (003)`."""
    match = re.fullmatch(r"<s>\s*(.+?)\s*</s>\s*\((.+)\)\s*", line)
    if match is None:
        raise ValueError(f"Not a line of a Sphinx transcription, `<s> words </s> (clip)`: {line!r}.")
    return match[1], match[2]
