"""Orders at several levels, and clips in which nobody speaks.

    python -m benchmarks.levels --student aura-smollm2-135m --orders ../shared/data/barista

prints how many orders of real people are right at each level, and in how many of them, and of the clips without speech, the emissions hold speech.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from benchmarks.without_speech import SAMPLING_RATE, clips_without_speech
from transformers_aura import load_audio
from transformers_aura.decoding.speech_detection import contains_speech
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.slots import SlotAcceptance
from transformers_aura.evaluation.statistics import wilson_interval
from transformers_aura.evaluation.systems.interface import Request
from transformers_aura.evaluation.systems.student import AuraSystem


ORDER_QUESTION = "What was ordered? Answer in JSON."
VALIDATION_ORDERS = Path(__file__).with_name("validation_orders.txt")
"""Recordings that no training had."""
MEASURED_FROM_SECONDS = 40
"""Training has what comes before this second of the kitchen."""


@dataclass(frozen=True)
class Order:
    """A recorded order: its file's name, its samples, float32 `(n_samples,)` at 16 kHz, and its slots as JSON."""

    name: str
    waveform: np.ndarray
    slots: str


def read_orders(folder: Path) -> list[Order]:
    """The validation recordings of a folder with `manifest.jsonl`; an empty list, said aloud, when there is none."""
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        print(f"No orders: {manifest} is absent. Name the folder of the recordings with `--orders`.", flush=True)
        return []
    names = set(VALIDATION_ORDERS.read_text().split())
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [
        Order(row["audio"], load_audio(folder / row["audio"]), json.dumps(row["slots"]))
        for row in rows
        if row["audio"] in names
    ]


def read_kitchen(folder: Path) -> np.ndarray | None:
    """The part of `kitchen.flac` that no training had, at 16 kHz; `None`, said aloud, when the file is absent."""
    file = folder / "kitchen.flac"
    if not file.is_file():
        print(f"No noise of a kitchen: {file} is absent.", flush=True)
        return None
    return load_audio(file)[MEASURED_FROM_SECONDS * SAMPLING_RATE :]


def at_level(waveform: np.ndarray, gain_db: float, bits: int | None = None) -> np.ndarray:
    """A recording, louder by `gain_db`; rounded as a recorder of so many bits rounds."""
    louder = Condition("gain", gain_db).apply(waveform, "")
    if bits is None:
        return louder
    steps = 2 ** (bits - 1)
    return (np.round(louder * steps).clip(-steps, steps - 1) / steps).astype(np.float32)


def orders_right(system: AuraSystem, orders: Sequence[Order], batch_size: int = 10) -> list[bool]:
    """Whether every labelled slot of each order is right."""
    by_length = sorted(range(len(orders)), key=lambda index: len(orders[index].waveform))
    right = [False] * len(orders)
    for start in tqdm(range(0, len(orders), batch_size), desc="orders", leave=False):
        indices = by_length[start : start + batch_size]
        requests = [Request(orders[index].waveform, "slots", ORDER_QUESTION) for index in indices]
        for index, answer in zip(indices, system.answer(requests), strict=True):
            reference = Reference(accepted=(orders[index].slots,))
            right[index] = SlotAcceptance().statistics(answer.text, reference)[0] > 0
    return right


@torch.inference_mode()
def speech_found(system: AuraSystem, waveforms: Mapping[str, np.ndarray]) -> dict[str, bool]:
    """Whether the emissions of the character CTC head hold speech, clip by clip."""
    model = system.student.model
    extractor = system.processor.feature_extractor
    found = {}
    for name, waveform in waveforms.items():
        features = extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt").to(system.student.dtype)
        embeddings = model.get_audio_features(**features).pooler_output
        found[name] = contains_speech(model.character_ctc_head.log_probabilities(embeddings).cpu().numpy())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="aura-smollm2-135m", help="packaged student, folder or Hub id")
    parser.add_argument("--orders", type=Path, default=Path("../shared/data/barista"), help="folder of the recordings")
    parser.add_argument("--gains-db", type=float, nargs="*", default=[0.0, -20.0, -30.0, -40.0])
    parser.add_argument("--snrs-db", type=float, nargs="*", default=[], help="orders in the noise of a kitchen")
    parser.add_argument("--bits", type=int, help="round the quiet recordings as a recorder of so many bits does")
    parser.add_argument("--max-gain-db", type=float, help="of the level control; 0 = off; default: the student's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-answers", action="store_true", help="only look for speech, which takes a minute")
    settings = parser.parse_args()

    system = AuraSystem(settings.student, dtype="float32")
    if settings.max_gain_db is not None:
        system.processor.feature_extractor.max_gain_db = settings.max_gain_db
    orders, kitchen = read_orders(settings.orders), read_kitchen(settings.orders)

    conditions = {
        f"orders at {gain_db:g} dB": [at_level(order.waveform, gain_db, settings.bits) for order in orders]
        for gain_db in settings.gains_db
    }
    for snr_db in settings.snrs_db if kitchen is not None else []:
        noise = Condition("noise", snr_db, kitchen, settings.seed)
        conditions[f"orders at {snr_db:g} dB SNR"] = [noise.apply(order.waveform, order.name) for order in orders]

    for name, waveforms in conditions.items() if orders else []:
        heard = speech_found(system, {order.name: clip for order, clip in zip(orders, waveforms, strict=True)})
        print(f"{name}: speech in {_share(list(heard.values()))}", flush=True)
        if not settings.without_answers:
            clips = [Order(order.name, clip, order.slots) for order, clip in zip(orders, waveforms, strict=True)]
            print(f"{name}: right {_share(orders_right(system, clips))}", flush=True)

    silent = speech_found(system, clips_without_speech(settings.seed, kitchen))
    print(f"clips without speech: speech in {_share(list(silent.values()))}")
    for name in (name for name, heard in silent.items() if heard):
        print(f"    {name}")


def _share(values: Sequence[bool]) -> str:
    interval = wilson_interval(sum(values), len(values))
    return f"{sum(values)} of {len(values)} (95 %: {interval.low:.1%} to {interval.high:.1%})"


if __name__ == "__main__":
    main()
