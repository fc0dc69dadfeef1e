"""Speech of actors: what is said in three adventure games of the nineties that Debian distributes in its main section.

    python -m aura_research.acted_speech      # fetches them, cuts out the clips and keeps Whisper's transcripts; 11,000 clips in minutes

| game | copyright | clips |
|---|---|---|
| Flight of the Amazon Queen | John Passfield and Steven Stamatiadis | MP3 of 11 kHz, one file |
| Beneath a Steel Sky | Revolution Software Ltd | packed bytes of 11 kHz, one file |
| Drascula: The Vampire Strikes Back (English) | Alcachofa Soft S.L. | bytes of 11 kHz, a file a clip |

All may be used, changed and given away as they are in Debian. Nobody publishes who speaks, nor what is said in a form that is easy to read:
transcripts are those of the teacher, Whisper, where it is sure of itself.
"""

import argparse
import io
import json
import re
import struct
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import soundfile

from aura_research.recordings import SAMPLING_RATE, Recording, read_speech
from aura_research.rnc import MAGIC, unpack
from tools.packages import appears_when_whole, cache_folder
from tools.real_models import make_real_model


INSTALLED = Path("/usr/share/scummvm")
BYTES_PER_SECOND = 11025
TRANSCRIPTS_FILE_NAME = "transcripts.json"

SHORTEST_SECONDS, LONGEST_SECONDS = 0.8, 10.0
LEAST_LOG_PROBABILITY = -0.8
"""Mean over the tokens of a transcript, greedily; below, it is often wrong."""

CHARACTERS_PER_SECOND = (4, 28)
_CLIPS_AT_ONCE = 32
_PAD_SECONDS = 5


def acted_folder() -> Path:
    """Where the clips are kept."""
    return cache_folder() / "acted"


def acted_recordings() -> list[Recording]:
    """The clips that have a transcript; an empty list, said aloud, where they have not been made."""
    transcripts = acted_folder() / TRANSCRIPTS_FILE_NAME
    if not transcripts.is_file():
        print(
            f"No acted speech: {transcripts} is absent (python -m aura_research.acted_speech makes it), so it is left out.",
            flush=True,
        )
        return []
    return [Recording(acted_folder() / name, text, None) for name, text in json.loads(transcripts.read_text()).items()]


def game_data(game: str) -> Path:
    """The folder of a game's data: of the installed Debian package, or of one that is fetched into the cache.

    Raises:
        RuntimeError: it is not installed and cannot be fetched.
    """
    if (INSTALLED / game).is_dir():
        return INSTALLED / game
    kept = cache_folder() / "games" / game
    if not kept.is_dir():
        print(f"{game}: downloading the Debian package", flush=True)
        with tempfile.TemporaryDirectory() as folder, appears_when_whole(kept) as whole:
            try:
                subprocess.run(["apt-get", "download", "-q", game], cwd=folder, check=True, capture_output=True)
                (package,) = Path(folder).glob("*.deb")
                subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError, ValueError) as error:
                raise RuntimeError(
                    f"{game} could not be fetched ({error}). On Debian: apt-get update && apt-get install {game}"
                ) from error
            (Path(folder) / "usr" / "share" / "scummvm" / game).rename(whole)
    return kept


def queen_clips(data: Path) -> Iterator[tuple[str, bytes]]:
    """Name and MP3 bytes of every spoken clip in `queen.1c`.

    The file begins with `QTBL`, a version and, from byte 13, the number of its entries (big endian): a name of 12 bytes, a byte, offset and
    size. Speech has names that end in `.SB`.
    """
    content = (data / "queen.1c").read_bytes()
    if content[:4] != b"QTBL":
        raise ValueError(
            f"{data / 'queen.1c'} is not the data file of Flight of the Amazon Queen: it does not begin with QTBL."
        )
    (count,) = struct.unpack_from(">H", content, 13)
    for index in range(count):
        name, _, offset, size = struct.unpack_from(">12sBII", content, 15 + 21 * index)
        name = name.rstrip(b"\0").decode("ascii")
        if name.endswith(".SB"):
            yield name.removesuffix(".SB"), content[offset : offset + size]


def sky_clips(data: Path) -> Iterator[tuple[str, bytes]]:
    """Name and WAV bytes of every spoken clip in `sky.dsk`.

    `sky.dnr` lists the files: their number (little endian), then 8 bytes a file: its own number, 24 bits of offset (the highest one says that
    it counts 16 bytes), 24 bits of size (flags in the highest two). Speech has numbers from 50,000 to 59,999: 22 bytes of
    header, then samples, most of them packed.
    """
    table = (data / "sky.dnr").read_bytes()
    with (data / "sky.dsk").open("rb") as file:
        for start in range(4, 4 + 8 * struct.unpack_from("<I", table)[0], 8):
            (number,) = struct.unpack_from("<H", table, start)
            offset, size = (int.from_bytes(table[at : at + 3], "little") for at in (start + 2, start + 5))
            if 50000 <= number < 60000:
                file.seek((offset & 0x7FFFFF) << 4 if offset >> 23 else offset)
                samples = file.read(size & 0x3FFFFF)[22:]
                yield str(number), _as_wav(unpack(samples) if samples.startswith(MAGIC) else samples)


def drascula_clips(data: Path) -> Iterator[tuple[str, bytes]]:
    """Name and WAV bytes of every spoken clip (`*.ALS`)."""
    for path in sorted((data / "en").glob("*.ALS")):
        yield path.stem, _as_wav(path.read_bytes())


def _as_wav(samples: bytes) -> bytes:
    """A WAV file of unsigned bytes."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(BYTES_PER_SECOND)
        file.writeframes(samples)
    return content.getvalue()


GAMES = {
    "flight-of-the-amazon-queen": ("queen", "mp3", queen_clips),
    "beneath-a-steel-sky": ("sky", "wav", sky_clips),
    "drascula": ("drascula", "wav", drascula_clips),
}
"""Debian package -> folder of its clips, what they are, who reads them."""


def extract_clips(folder: Path) -> None:
    """Writes the clips of the games that are not there yet into a folder each: `queen/NAME.mp3`, `sky/NAME.wav`, `drascula/NAME.wav`.

    A game that cannot be had is left out, said aloud.
    """
    for game, (name, suffix, read_clips) in GAMES.items():
        if not (folder / name).is_dir():
            try:
                data = game_data(game)
            except RuntimeError as error:
                print(f"{error}. Its actors are left out.", flush=True)
                continue
            with appears_when_whole(folder / name) as whole:
                whole.mkdir()
                for clip, content in read_clips(data):
                    (whole / f"{clip}.{suffix}").write_bytes(content)


def without_repetition(text: str) -> str:
    """A text that is the same words again and again, as Whisper writes them after short clips, as these words once."""
    words = text.split()
    for count in range(1, len(words) // 2 + 1):
        if words[:count] == words[count : 2 * count]:
            return " ".join(words[:count])
    return " ".join(words)


def is_plausible(text: str, seconds: float) -> bool:
    """Whether so long a clip may say this."""
    low, high = CHARACTERS_PER_SECOND
    return (
        len(text.split()) >= 2
        and low * seconds <= len(text) <= high * seconds
        and bool(re.fullmatch(r"[A-Za-z' ,.!?-]+", text))
    )


def transcribe_clips(folder: Path, whisper: Path, part: tuple[int, int] = (0, 1)) -> dict[str, str]:
    """Whisper's transcripts of the clips of `folder`, by folder and file name; clips of which it is not sure are left out.

    Args:
        part: (i, n) = only every n-th batch, from the i-th on.
    """
    import numpy as np
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor
    from transformers.modeling_outputs import BaseModelOutput

    from transformers_aura.distillation.teacher import AuraTeacher

    model = WhisperForConditionalGeneration.from_pretrained(
        whisper, dtype=torch.bfloat16, attn_implementation="eager"
    ).eval()
    processor = WhisperProcessor.from_pretrained(whisper)
    encoder = AuraTeacher(model.get_encoder(), processor.feature_extractor, pad_to_seconds=_PAD_SECONDS)
    clips = sorted(
        (soundfile.info(path).duration, path) for path in folder.glob("*/*") if path.suffix in (".mp3", ".wav")
    )
    clips = [(seconds, path) for seconds, path in clips if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS]
    transcripts = {}
    for start in range(part[0] * _CLIPS_AT_ONCE, len(clips), part[1] * _CLIPS_AT_ONCE):
        batch = clips[start : start + _CLIPS_AT_ONCE]
        whole = _PAD_SECONDS * SAMPLING_RATE * int(-(-batch[-1][0] // _PAD_SECONDS))
        waveforms = [read_speech(path)[:whole] for _, path in batch]
        states = encoder(
            [np.pad(samples, (0, whole - len(samples))) for samples in waveforms], [encoder.num_layers - 1]
        )
        with torch.no_grad():
            output = model.generate(
                encoder_outputs=BaseModelOutput(states.hidden_states[0].to(model.dtype)),
                max_new_tokens=10 + int(6 * batch[-1][0]),
                return_dict_in_generate=True,
                output_scores=True,
            )
        log_probabilities = torch.stack(output.scores, dim=1).float().log_softmax(-1).amax(-1)
        for (seconds, path), tokens, of_tokens in zip(batch, output.sequences, log_probabilities, strict=True):
            text = without_repetition(processor.decode(tokens, skip_special_tokens=True))
            length = len(processor.tokenizer(f" {text}", add_special_tokens=False)["input_ids"])
            if is_plausible(text, seconds) and of_tokens[:length].mean() >= LEAST_LOG_PROBABILITY:
                transcripts[f"{path.parent.name}/{path.name}"] = text
        print(f"{part[0]}: {start + len(batch)} of {len(clips)} clips, {len(transcripts)} transcripts", flush=True)
    return transcripts


def transcribe_all(folder: Path, whisper: Path, workers: int) -> None:
    """Writes Whisper's transcripts of the clips of `folder`, in `workers` processes of one thread, into a file there."""
    parts = [(number, workers) for number in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        found = pool.map(transcribe_clips, [folder] * workers, [whisper] * workers, parts)
        transcripts = {name: text for of_part in found for name, text in of_part.items()}
    with appears_when_whole(folder / TRANSCRIPTS_FILE_NAME) as path:
        path.write_text(json.dumps(dict(sorted(transcripts.items())), indent=0) + "\n")


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    extract_clips(acted_folder())
    if (acted_folder() / TRANSCRIPTS_FILE_NAME).is_file():
        print(f"Transcribed already (remove it to do so again): {acted_folder() / TRANSCRIPTS_FILE_NAME}")
    elif any(acted_folder().glob("*/*")):
        transcribe_all(acted_folder(), make_real_model("whisper-tiny.en"), arguments.workers)


if __name__ == "__main__":
    main()
