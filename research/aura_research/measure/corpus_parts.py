"""What a student understands and what it knows by heart: word errors on clips that it was trained on, beside those on the corpus' validation clips.

    python -m aura_research.measure.corpus_parts hub_cards/aura-smollm2-135m outputs/corpus --limit 40

Both are clean and spoken by the same kinds of voices, as many clips of each engine (of its first shard). A student that only writes what was said makes as
many errors on the one as on the other; the more texts it has learned by heart, the further they lie apart. For choosing how to train and to decode: no test voice and
no test text is in a corpus. Beside the student as it is, `--tokens-per-block 8 clip` measures the same weights with other blocks of audio, and
`--decoding subword_weight=0.35 chunk_seconds=15` with other settings of the search, one at a time (see `DecodingConfig`). `--joined-seconds 30` puts clips of one engine
one behind the other, half a second of silence between, until a recording is that long.
"""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import soundfile
import transformers

from aura_research.corpus import NUM_CLIPS
from tools.real_models import real_model_folder
from transformers_aura.decoding.config import DecodingConfig
from transformers_aura.evaluation.benchmarks import Benchmark, LoadedBenchmark, read_own
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.evaluation import Evaluation
from transformers_aura.evaluation.items import Item
from transformers_aura.evaluation.systems import AuraSystem
from transformers_aura.processing.audio_loading import load_audio


PARTS = [*(part for part in NUM_CLIPS if part != "orders"), "acted"]
SPLITS = ("train", "validation")
SAMPLING_RATE = 16000
SILENCE_SECONDS = 0.5
"""Between two clips of one recording."""


def corpus_part(
    corpus: Path, part: str, split: str, limit: int, clips: Path, joined_seconds: float | None = None
) -> LoadedBenchmark | None:
    """Transcripts of a part, `limit` shared out evenly among the engines and rounded up; recordings are written below `clips`.

    `None`, said aloud, without the part.

    Args:
        limit: clips.
        joined_seconds: of the recordings that clips are joined to; `None` = they stay as they are.
    """
    engines: dict[str, list[Path]] = {}
    for shard in sorted((corpus / part).glob(f"{split}-*.parquet")):
        engines.setdefault(shard.stem.split("-")[1], []).append(shard)
    items = []
    for engine, shards in engines.items():
        rows = parquet.read_table(shards[0], columns=["audio", "transcript", "seconds"]).to_pylist()
        rows = [row for row in rows if row["transcript"]]
        wanted = -(-limit // len(engines))
        for row in rows[:: max(1, len(rows) // wanted)][:wanted]:
            path = clips / part / row["audio"]["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["audio"]["bytes"])
            items.append(
                Item(
                    name=path.stem,
                    task="transcript",
                    audio=str(path),
                    accepted=(row["transcript"],),
                    text=row["transcript"],
                    groups={"engine": engine},
                    seconds=row["seconds"],
                )
            )
    if joined_seconds is not None:
        items = joined(items, joined_seconds)
    if not items:
        print(f"No {split} clips of {part}: {corpus / part} has none.", flush=True)
        return None
    benchmark = Benchmark(f"{part}-{split}", ("wer",), f"Clips of the corpus' part `{part}`, {split}.", read_own)
    return LoadedBenchmark(benchmark, items, {"corpus": corpus.name})


def joined(items: list[Item], seconds: float) -> list[Item]:
    """Clips of one engine, one behind the other, until a recording has at least so many seconds; what is left over is left out."""
    found: list[Item] = []
    for _, of_engine in groupby(items, key=lambda item: item.groups["engine"]):
        together: list[Item] = []
        for item in of_engine:
            together.append(item)
            if sum(part.seconds + SILENCE_SECONDS for part in together) >= seconds:
                found.append(_as_one(together))
                together = []
    return found


def _as_one(items: list[Item]) -> Item:
    silence = np.zeros(round(SILENCE_SECONDS * SAMPLING_RATE), np.float32)
    samples = np.concatenate([part for item in items for part in (load_audio(item.audio), silence)])
    first = Path(items[0].audio)
    path = first.with_name(f"{first.stem}-and-{len(items) - 1}-more.flac")
    soundfile.write(path, samples, SAMPLING_RATE)
    text = " ".join(item.text for item in items)
    return replace(
        items[0],
        name=path.stem,
        audio=str(path),
        accepted=(text,),
        text=text,
        seconds=len(samples) / SAMPLING_RATE,
    )


def with_other_settings(student: Path, name: str, settings: dict[str, Any], out: Path) -> Path:
    """A copy of a student below `out`, called by its name and `name`, with the same weights and other settings in its `config.json`."""
    folder = out / "students" / f"{student.name}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(student, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    audio_config = config["audio_config"] | settings.get("audio_config", {})
    path.write_text(json.dumps(config | settings | {"audio_config": audio_config}, indent=2) + "\n", encoding="utf-8")
    return folder


def other_settings(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the command line wants to measure beside the student as it is, by a name for it."""
    blocks = {
        str(tokens): {"audio_config": {"tokens_per_block": None if tokens == "clip" else tokens}}
        for tokens in arguments.tokens_per_block
    }
    decoding = {
        f"{name}-{value:g}": {"decoding_config": _own_decoding(arguments.student) | {name: value}}
        for name, value in arguments.decoding
    }
    return blocks | decoding


def _own_decoding(student: Path) -> dict[str, Any]:
    """Settings of the search that the student's own config changes."""
    return json.loads((student / "config.json").read_text(encoding="utf-8")).get("decoding_config") or {}


def _tokens_per_block(text: str) -> int | str:
    if text != "clip" and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"a number of audio tokens above 0, or clip; got {text!r}")
    return text if text == "clip" else int(text)


def _decoding_setting(text: str) -> tuple[str, int | float]:
    name, _, written = text.partition("=")
    try:
        value = int(written) if written.isdecimal() else float(written)
        DecodingConfig.from_dict({name: value})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"NAME=NUMBER of a setting of the search; got {text!r}: {error}") from error
    return name, value


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m aura_research.measure.corpus_parts", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("student", type=Path, help="the student's folder")
    parser.add_argument("corpus", type=Path, help="the corpus' folder")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--limit", type=int, default=40, help="clips of each part and split")
    parser.add_argument(
        "--tokens-per-block",
        nargs="+",
        type=_tokens_per_block,
        default=[],
        metavar="N|clip",
        help="measure the student with these blocks of audio too",
    )
    parser.add_argument(
        "--decoding",
        nargs="+",
        type=_decoding_setting,
        default=[],
        metavar="NAME=NUMBER",
        help="measure the student with each of these settings of the search too",
    )
    parser.add_argument(
        "--joined-seconds", type=float, metavar="S", help="join clips to recordings of so many seconds"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/corpus-parts"))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--batch-size", type=int, default=16)
    parsed = parser.parse_args(arguments)
    try:
        parsed.base_model = real_model_folder("smollm2-135m-instruct")
    except FileNotFoundError as error:
        parser.error(str(error))
    return parsed


def main() -> int:
    arguments = parse_arguments()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    loaded = [
        corpus_part(arguments.corpus, part, split, arguments.limit, arguments.out / "clips", arguments.joined_seconds)
        for part in arguments.parts
        for split in arguments.splits
    ]
    if not any(loaded):
        print(
            f"error: {arguments.corpus} has no clips (python -m aura_research.corpus {arguments.corpus}).",
            file=sys.stderr,
        )
        return 1
    folders = {"aura": arguments.student} | {
        f"aura-{name}": with_other_settings(arguments.student, name, settings, arguments.out)
        for name, settings in other_settings(arguments).items()
    }
    systems = [
        AuraSystem(str(folder), name, str(arguments.base_model), dtype=arguments.dtype)
        for name, folder in folders.items()
    ]
    benchmarks = [one for one in loaded if one is not None]
    Evaluation(systems, benchmarks, [Condition()], arguments.out, batch_size=arguments.batch_size).run()
    print((arguments.out / "results.md").read_text().partition("## Wrong answers")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
