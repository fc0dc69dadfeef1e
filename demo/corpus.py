"""Builds the demo's corpus: orders spoken by offline voices, each bent, coloured and placed in a room of its own.

    python demo/corpus.py FOLDER --clips 4000

Everything follows from a seed: clip number `i` is planned from `(seed, i)` alone, so a build that was killed goes on with the clips that
are missing, and a second one finds nothing to do. Held-out orders have texts that no training clip has, and one voice (pico en-GB, where it is
installed) speaks held-out clips only.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that `python demo/corpus.py` finds `demo`

from demo.orders import OrderGrammar
from demo.voices import VOICES, available_voices
from tools.voices import Voice, speak, trim_silence


SAMPLING_RATE = 16000
SPLITS = ("train", "held_out")
HELD_OUT_VOICE = "pico en-GB"


@dataclass(frozen=True)
class Clip:
    """A clip to make: its file name, what is said, what it means, and how it is said. `seed` settles everything else about its sound."""

    audio: str
    split: str
    transcript: str
    slots: dict[str, str]
    voice: str
    rate: float
    tract: float
    seed: int


def plan_corpus(
    voices: Sequence[Voice],
    num_train: int,
    num_held_out: int,
    seed: int = 0,
    reserved_texts: Sequence[str] = (),
) -> list[Clip]:
    """The clips of a corpus: `num_train` of split "train", then `num_held_out` of split "held_out".

    No training clip says a held-out text or one of `reserved_texts` (those of real recordings). Half of the held-out clips are in the voice that
    training never has, when `voices` has it and another one.
    """
    grammar = OrderGrammar()
    training_voices = [voice for voice in voices if str(voice) != HELD_OUT_VOICE] or list(voices)
    held_out_voices = [voice for voice in voices if voice not in training_voices]

    def plan(split: str, index: int, forbidden: set[str]) -> Clip:
        generator = random.Random(f"{seed} {split} {index}")
        order = grammar.sample(generator)
        while order.text in forbidden:
            order = grammar.sample(generator)
        is_held_out = split == "held_out" and held_out_voices and index % 2 == 1
        voice = generator.choice(held_out_voices if is_held_out else training_voices)
        tract = round(generator.uniform(*voice.tract), 3)
        rate = round(generator.uniform(0.9, 1.2), 3)
        name = f"{split}_{index:05d}.flac"
        return Clip(name, split, order.text, order.slots, str(voice), rate, tract, generator.getrandbits(32))

    held_out = [plan("held_out", index, set()) for index in range(num_held_out)]
    forbidden = {clip.transcript for clip in held_out} | set(reserved_texts)
    return [plan("train", index, forbidden) for index in range(num_train)] + held_out


def make_clip(clip: Clip) -> np.ndarray:
    """The samples of `clip`: float32 `(n_samples,)` at 16 kHz within [-1, 1]."""
    voice = next(voice for voice in VOICES if str(voice) == clip.voice)
    generator = np.random.default_rng(clip.seed)
    samples, sampling_rate = speak(voice, clip.transcript, clip.rate / clip.tract, clip.seed)
    # Played at `tract` times its own rate: pitch and formants move together, as between people of different size.
    samples = soxr.resample(samples, sampling_rate * clip.tract, SAMPLING_RATE)
    return place(trim_silence(samples, margin_seconds=0.04), generator)


def place(speech: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`speech` (16 kHz) as some microphone would record it somewhere: pauses around it, room, tone colour, loudness, background noise."""
    before, after = generator.uniform(0.05, 0.5, size=2)
    samples = np.pad(speech, (int(before * SAMPLING_RATE), int(after * SAMPLING_RATE)))
    num_samples, num_fft = len(samples), 1 << (len(samples) + SAMPLING_RATE // 2).bit_length()
    spectrum = np.fft.rfft(samples, num_fft)
    frequencies = np.fft.rfftfreq(num_fft, 1 / SAMPLING_RATE)

    # Microphone and position: a smooth curve of a few dB over the octaves.
    corners = np.array([60, 150, 400, 1000, 2500, 5000, 8000])
    decibels = np.interp(np.log(frequencies + 1), np.log(corners), generator.normal(0, 3.5, size=len(corners)))
    spectrum *= 10 ** (decibels / 20)
    if generator.random() < 0.5:  # a room: a direct path and a tail of noise that dies away
        decay_seconds = generator.uniform(0.1, 0.45)
        time = np.arange(int(decay_seconds * SAMPLING_RATE)) / SAMPLING_RATE
        tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / decay_seconds)
        tail *= 10 ** (-generator.uniform(4, 16) / 20) / np.linalg.norm(tail)
        tail[0] += 1
        spectrum *= np.fft.rfft(tail, num_fft)
    samples = np.fft.irfft(spectrum, num_fft)[:num_samples]

    samples *= 10 ** (generator.uniform(-34, -20) / 20) / (samples.std() + 1e-9)
    if generator.random() < 0.7:  # steady background noise, from hiss to rumble
        noise = generator.standard_normal(num_fft // 2 + 1) + 1j * generator.standard_normal(num_fft // 2 + 1)
        noise *= np.maximum(frequencies, 50) ** -generator.uniform(0, 1)
        background = np.fft.irfft(noise, num_fft)[:num_samples]
        samples += background * samples.std() / background.std() * 10 ** (-generator.uniform(10, 45) / 20)
    return (samples / max(1.0, np.abs(samples).max() / 0.99)).astype(np.float32)


def build_corpus(
    folder: Path,
    num_train: int = 4000,
    num_held_out: int = 100,
    seed: int = 0,
    reserved_texts: Sequence[str] = (),
    workers: int = 2,
) -> None:
    """Makes what is missing of a corpus in `folder`: one FLAC file a clip, `train.jsonl` and `held_out.jsonl`.

    Raises `RuntimeError` when no voice is installed.
    """
    voices = available_voices()
    if not voices:
        raise RuntimeError(
            "No voice is installed. Run: python -c 'from demo.voices import install_engines; install_engines()'"
        )
    clips = plan_corpus(voices, num_train, num_held_out, seed, reserved_texts)
    folder.mkdir(parents=True, exist_ok=True)
    grammar = OrderGrammar()
    known = {row["audio"]: row for split in SPLITS for row in read_rows(folder / f"{split}.jsonl")}
    missing = [
        clip
        for clip in clips
        if not (folder / clip.audio).is_file() or not asdict(clip).items() <= known.get(clip.audio, {}).items()
    ]
    for clip in missing:  # before the new manifests speak of it
        (folder / clip.audio).unlink(missing_ok=True)
    for split in SPLITS:
        lines = [json.dumps(as_row(clip, grammar)) + "\n" for clip in clips if clip.split == split]
        _write_whole(folder / f"{split}.jsonl", "".join(lines).encode())
    for _ in _progress(_make_files(folder, missing, workers), len(missing)):
        pass


def as_row(clip: Clip, grammar: OrderGrammar) -> dict[str, Any]:
    """A line of `train.jsonl` or `held_out.jsonl`: a training row (the recording is the question), and how the clip was made."""
    row = {"audio": clip.audio, "transcript": clip.transcript, "answer": grammar.answer(clip.slots)}
    return row | {"json_answer": grammar.json_answer(clip.slots)} | asdict(clip)


def _make_files(folder: Path, clips: list[Clip], workers: int) -> Iterator[None]:
    if not clips:
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make_file, [folder] * len(clips), clips, chunksize=8)


def _make_file(folder: Path, clip: Clip) -> None:
    partial = folder / f".{clip.audio}.{os.getpid()}"
    soundfile.write(partial, make_clip(clip), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    os.replace(partial, folder / clip.audio)


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    os.replace(partial, path)


def _progress(steps: Iterator[None], total: int) -> Iterator[None]:
    if total == 0:
        return iter(())
    from rich.progress import track

    return track(steps, description=f"Speaking {total} orders", total=total)


def read_rows(manifest: Path) -> list[dict[str, Any]]:
    """The lines of a manifest as dicts; an empty list when there is no such file."""
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=4000, help="training clips")
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    build_corpus(arguments.folder, arguments.clips, arguments.held_out, arguments.seed)


if __name__ == "__main__":
    main()
