"""Builds the student's corpus: what the training voices say, and recordings of real people.

    python -m aura_research.corpus outputs/corpus [--seed 0] [--scale 1.0] [--workers 2] [--only orders questions]

Everything follows from the seed: a clip is planned from `(seed, part, engine, number)` alone. A shard (one Parquet file with the clips' FLAC
bytes) is the unit of work and appears when it is whole, so a build that was killed goes on with the shards that are missing. Test voices,
test questions and validation clips never enter: the build checks every clip against `aura_research.reserved` and stops otherwise.

| part | what is said | columns that teach |
|---|---|---|
| orders | orders of the grammar | transcript; JSON answer |
| questions | short questions | transcript; the LLM's own answer |
| sentences | general sentences with rare words | transcript |
| everyday | general sentences as they come | transcript |
| law | clauses of state papers | transcript |
| names | statements and questions with names, numbers and abbreviations | transcript |
| named_questions | questions of many forms about what has a name | transcript |
| common_words | questions and statements that combine common words, definitions and examples | transcript |
| scrambled | runs of words from sentences, questions and clauses, as nobody wrote them | transcript |
| real_orders | orders by real people, each at several rates and tract lengths | transcript; JSON answer |
| prompts | studio prompts by one real person, likewise | transcript |
| acted | what actors say in three games, each at two tract lengths | Whisper's transcript |
"""

import argparse
import io
import json
import random
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from aura_research.acted_speech import acted_recordings
from aura_research.noise import write_training_noise
from aura_research.places import SHARED_DATA
from aura_research.recordings import (
    NOISE_FILE,
    order_recordings,
    order_transcripts,
    prompt_recordings,
    read_speech,
)
from aura_research.reserved import check_clip, is_validation_clip, normalise, reserved_texts
from aura_research.speech_shaping import SAMPLING_RATE, change_tract, normalize_level, surround_with_pauses
from aura_research.texts.common_words import COMMON_WORDS
from aura_research.texts.named_questions import NAMED_QUESTIONS
from aura_research.texts.names import NAMES
from aura_research.texts.orders import ORDER_QUESTION, OrderGrammar
from aura_research.texts.questions import Question, training_questions
from aura_research.texts.scrambled import scramble
from aura_research.texts.sentences import EVERYDAY, LAW, SENTENCES, load_sentences
from aura_research.voices import draw_voice
from tools.voices import Voice, missing_engines, speak, trim_silence


CLIPS_PER_SHARD = 100

# Clips of each part and engine at scale 1. Kokoro, the best voices, speak at 3.5 times real time a core; the others at 50 and more.
NUM_CLIPS = {
    "orders": {"hibari": 2000, "flite": 1500, "pico": 1000, "kokoro": 800},
    "questions": {"hibari": 3000, "flite": 1500, "pico": 1000, "kokoro": 1200},
    "sentences": {"hibari": 8000, "flite": 5000, "pico": 3000, "kokoro": 900},
    "everyday": {"hibari": 5000, "flite": 3500, "pico": 2500, "kokoro": 2000},
    "law": {"hibari": 700, "flite": 500, "pico": 300, "kokoro": 500},
    "names": {"hibari": 3500, "flite": 2500, "pico": 2000, "kokoro": 2500},
    "named_questions": {"hibari": 6000, "flite": 4500, "pico": 3500, "kokoro": 1400},
    "common_words": {"hibari": 6500, "flite": 5000, "pico": 4000, "kokoro": 1200},
    "scrambled": {"hibari": 10000, "flite": 7500, "pico": 5000, "kokoro": 2400},
}
NUM_VALIDATION_CLIPS = {
    "orders": 60,
    "questions": 60,
    "sentences": 60,
    "everyday": 60,
    "law": 60,
    "names": 60,
    "named_questions": 60,
    "common_words": 60,
    "scrambled": 60,
}
VARIANTS_OF_A_RECORDING = {"real_orders": 8, "prompts": 4, "acted": 2}


@dataclass(frozen=True)
class Clip:
    """A clip to make: what is said, what it means, and how it is said. `seed` settles everything else about its sound.

    Attributes:
        recording: file of a real person's recording that it is made of; `None` = a voice speaks it.
        rate: speed of speaking, relative to the voice's or the person's own.
        tract: see [`change_tract`].
    """

    part: str
    transcript: str | None
    question: str | None
    answer: str | None
    speaker: str
    rate: float
    tract: float
    pitch: float
    seed: int
    recording: str | None = None


@lru_cache
def order_grammar() -> OrderGrammar:
    """The grammar, read once."""
    return OrderGrammar()


@lru_cache
def questions_of(validation: bool) -> list[Question]:
    """The questions that are spoken in validation clips, or those in training clips."""
    return [item for item in training_questions() if _is_validation_text(item.question) == validation]


@lru_cache
def sentences_of(part: str, validation: bool) -> list[str]:
    """The sentences of a part that are spoken in validation clips, or those in training clips."""
    files = {
        "sentences": SENTENCES,
        "everyday": EVERYDAY,
        "law": LAW,
        "names": NAMES,
        "named_questions": NAMED_QUESTIONS,
        "common_words": COMMON_WORDS,
    }
    texts = load_sentences(files[part])
    return [text for text in texts if _is_validation_text(text) == validation]


@lru_cache
def texts_to_scramble(validation: bool) -> dict[str, list[str]]:
    """What the scrambled texts are made of."""
    texts = {part: sentences_of(part, validation) for part in ("sentences", "everyday", "law")}
    return texts | {"questions": [item.question for item in questions_of(validation)]}


@lru_cache
def _validation_texts() -> frozenset[str]:
    return frozenset(normalise(text) for texts in texts_to_scramble(validation=True).values() for text in texts)


def is_kept_aside(text: str, validation: bool) -> bool:
    """Whether a scrambled text happens to be a test's, or, for training, a validation clip's."""
    return reserved_texts().holds(text) or (not validation and normalise(text) in _validation_texts())


def plan_spoken(part: str, engine: str, numbers: range, seed: int, validation: bool = False) -> list[Clip]:
    """Clips number `numbers` of a part that an engine's voices speak."""
    split = "validation" if validation else "train"
    return [
        _plan_spoken(part, engine, random.Random(f"{seed} {split} {part} {engine} {number}"), number, validation)
        for number in numbers
    ]


def _plan_spoken(part: str, engine: str, generator: random.Random, number: int, validation: bool) -> Clip:
    question = answer = None
    if part == "orders":
        grammar = order_grammar()
        order = grammar.sample(generator)
        # One text in 16 is in validation only.
        while _is_validation_text(order.text) != validation:
            order = grammar.sample(generator)
        transcript, question, answer = order.text, ORDER_QUESTION, grammar.json_answer(order.slots)
    elif part == "questions":
        items = questions_of(validation)
        item = generator.choice(items) if validation else items[number % len(items)]
        transcript, answer = item.question, item.answer
    elif part == "scrambled":
        transcript = scramble(generator, texts_to_scramble(validation))
        while is_kept_aside(transcript, validation):
            transcript = scramble(generator, texts_to_scramble(validation))
    else:
        sentences = sentences_of(part, validation)
        # Every engine begins elsewhere in the list, and passes over all of it before it repeats a sentence.
        start = random.Random(engine).randrange(len(sentences))
        transcript = sentences[(start + number) % len(sentences)]
    voice = draw_voice(engine, generator)
    return Clip(
        part, transcript, question, answer, str(voice),
        rate=round(generator.uniform(0.85, 1.25), 3),
        tract=round(generator.uniform(*voice.tract), 3),
        pitch=round(generator.uniform(*voice.pitch), 3),
        seed=generator.getrandbits(32),
    )  # fmt: skip


def _is_validation_text(text: str) -> bool:
    return random.Random(text).random() < 1 / 16


def plan_recorded(part: str, seed: int, shared_data: Path = SHARED_DATA, validation: bool = False) -> list[Clip]:
    """Variants of the real recordings of a part; the first of each is the recording as it is.

    Args:
        validation: the recordings kept aside, as they are, where the corpus has them: of `acted` one text in 16.
    """
    grammar = order_grammar()
    clips = []
    if part == "real_orders":
        transcripts = order_transcripts()
        recordings = [
            item for item in order_recordings(shared_data / "barista") if not is_validation_clip(item.path.name)
        ]
    elif part == "prompts":
        recordings = prompt_recordings(shared_data / "asterisk-core-sounds-en.txt")
    else:
        recordings = [item for item in acted_recordings() if _is_validation_text(item.transcript or "") == validation]
    for recording in recordings:
        for variant in range(1 if validation else VARIANTS_OF_A_RECORDING[part]):
            generator = random.Random(f"{seed} {part} {recording.path.name} {variant}")
            bent = variant > 0
            clips.append(
                Clip(
                    part,
                    transcripts.get(recording.path.name) if part == "real_orders" else recording.transcript,
                    ORDER_QUESTION if recording.slots is not None else None,
                    grammar.json_answer(recording.slots) if recording.slots is not None else None,
                    speaker="real",
                    rate=1.0,
                    tract=round(generator.uniform(0.86, 1.16), 3) if bent else 1.0,
                    pitch=1.0,
                    seed=generator.getrandbits(32),
                    recording=str(recording.path),
                )
            )
    return clips


def make_clip(clip: Clip) -> np.ndarray:
    """The samples of `clip`: float32 `(n_samples,)` at 16 kHz within [-1, 1]."""
    generator = np.random.default_rng(clip.seed)
    if clip.recording is not None:
        samples = read_speech(Path(clip.recording))
        if clip.tract != 1.0:
            samples = change_tract(samples, SAMPLING_RATE, clip.tract)
        # A recorded order of eight seconds holds some four of speech; a clip of a game begins and ends with its words.
        if clip.part == "acted" or (clip.tract != 1.0 and generator.random() < 0.7):
            samples = surround_with_pauses(trim_silence(samples, margin_seconds=0.15), generator)
        return normalize_level(samples)
    engine, _, name = clip.speaker.partition(" ")
    samples, sampling_rate = speak(
        Voice(engine, name, (1, 1)), clip.transcript, clip.rate / clip.tract, clip.seed, clip.pitch
    )
    samples = change_tract(samples, sampling_rate, clip.tract)
    return normalize_level(surround_with_pauses(trim_silence(samples), generator))


def build_corpus(
    folder: Path,
    seed: int = 0,
    scale: float = 1.0,
    workers: int = 2,
    parts: Sequence[str] | None = None,
    shared_data: Path = SHARED_DATA,
) -> None:
    """Makes what is missing of a corpus: `folder/PART/train-ENGINE-NUMBER.parquet` and `folder/PART/validation-...parquet`.

    Raises:
        ValueError: a clip is reserved for testing.
        RuntimeError: an engine is not installed.
    """
    if missing := missing_engines():
        raise RuntimeError("Voices are missing. " + "; ".join(missing))
    shards = plan_shards(folder, seed, scale, parts or [*NUM_CLIPS, *VARIANTS_OF_A_RECORDING], shared_data)
    for clips in shards.values():
        for clip in clips:
            check_clip(clip)
    write_noise(folder, shared_data)
    missing_shards = {path: clips for path, clips in shards.items() if not path.is_file()}
    print(f"{len(shards) - len(missing_shards)} of {len(shards)} shards are there.", flush=True)
    start, done, seconds = time.perf_counter(), 0, 0.0
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(write_shard, path, clips): path for path, clips in missing_shards.items()}
        for future in as_completed(futures):
            try:
                seconds += future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            done += 1
            elapsed = time.perf_counter() - start
            print(
                f"{done}/{len(missing_shards)} {futures[future].name}: {seconds / 3600:.2f} h of speech in {elapsed:.0f} s",
                flush=True,
            )


def write_noise(folder: Path, shared_data: Path = SHARED_DATA) -> None:
    """Writes the part of the recorded background noise that training may use; without the recording it says so."""
    recording = shared_data / "barista" / NOISE_FILE
    if not recording.is_file():
        print(
            f"No background noise: {recording} is absent; train with --set data.augmentation.noise_files=[]",
            flush=True,
        )
        return
    write_training_noise(recording, folder / "noise" / NOISE_FILE)


def plan_shards(
    folder: Path, seed: int, scale: float, parts: Sequence[str], shared_data: Path = SHARED_DATA
) -> dict[Path, list[Clip]]:
    """The clips of every shard, in an order in which all parts and engines advance together, but for kokoro, which takes longest."""
    shards: list[tuple[float, Path, list[Clip]]] = []

    def add(part: str, name: str, clips: list[Clip]) -> None:
        count = -(-len(clips) // CLIPS_PER_SHARD)
        for number in range(count):
            chunk = clips[number * CLIPS_PER_SHARD : (number + 1) * CLIPS_PER_SHARD]
            shards.append((number / count, folder / part / f"{name}-{number:03d}.parquet", chunk))

    for part in (part for part in NUM_CLIPS if part in parts):
        for engine, count in NUM_CLIPS[part].items():
            add(part, f"train-{engine}", plan_spoken(part, engine, range(round(count * scale)), seed))
            add(
                part,
                f"validation-{engine}",
                plan_spoken(part, engine, range(NUM_VALIDATION_CLIPS[part] // 4), seed, True),
            )
    for part in (part for part in VARIANTS_OF_A_RECORDING if part in parts):
        add(part, "train-real", plan_recorded(part, seed, shared_data))
        if part == "acted":
            add(part, "validation-real", plan_recorded(part, seed, shared_data, validation=True))
    return {
        path: clips
        for _, path, clips in sorted(shards, key=lambda shard: ("kokoro" in shard[1].name, shard[0], str(shard[1])))
    }


def write_shard(path: Path, clips: Sequence[Clip]) -> float:
    """Makes the clips of a shard and writes it whole. Returns seconds of speech."""
    from datasets import Audio, Dataset, Features, Value

    rows, seconds = [], 0.0
    for number, clip in enumerate(clips):
        samples = make_clip(clip)
        seconds += len(samples) / SAMPLING_RATE
        content = io.BytesIO()
        soundfile.write(content, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
        audio = {"bytes": content.getvalue(), "path": f"{path.stem}-{number:03d}.flac"}
        rows.append(
            {
                "audio": audio,
                "transcript": clip.transcript,
                "question": clip.question,
                "answer": clip.answer,
                "seconds": len(samples) / SAMPLING_RATE,
                "plan": json.dumps(asdict(clip) | {"recording": clip.recording and Path(clip.recording).name}),
            }
        )
    text = Value("string")
    features = Features(
        {
            "audio": {"bytes": Value("binary"), "path": text},
            **dict.fromkeys(("transcript", "question", "answer"), text),
            "seconds": Value("float32"),
            "plan": text,
        }
    )
    dataset = Dataset.from_list(rows, features=features).cast_column("audio", Audio(SAMPLING_RATE, decode=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    dataset.to_parquet(partial)
    partial.replace(path)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="clips that voices speak, relative to the full corpus"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=[*NUM_CLIPS, *VARIANTS_OF_A_RECORDING], help="parts to build")
    arguments = parser.parse_args()
    build_corpus(arguments.folder, arguments.seed, arguments.scale, arguments.workers, arguments.only)


if __name__ == "__main__":
    main()
