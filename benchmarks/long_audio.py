"""Long recordings: whether their transcripts get worse, and how long a recording may be to be answered directly.

Word errors are those of one long recording, made of questions and orders with pauses between, beside those of the same recordings one by one. Orders of real people are
answered directly, as JSON, with silence around them or behind other speech. "Silence dropped" is a trial: audio tokens in long pauses do not go to the LLM. How time and
memory grow with the length is in `memory`.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.levels import ORDER_QUESTION, Order, read_orders
from benchmarks.recordings import (
    ORDERS,
    QUESTIONS,
    Recording,
    long_recording,
    pause,
    questions_and_orders,
    read_recordings,
    speech,
)
from benchmarks.results import Result, Table
from benchmarks.systems import Systems
from benchmarks.without_speech import SAMPLING_RATE
from transformers_aura import build_conversation
from transformers_aura.decoding.segmentation import is_pause
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.slots import SlotAcceptance
from transformers_aura.evaluation.scorers.words import WordErrorRate
from transformers_aura.evaluation.statistics import wilson_interval
from transformers_aura.modeling.ctc_heads import STEPS_PER_TOKEN


TOGETHER = "in one recording"
ONE_BY_ONE = "one by one"
ALONE = "the order alone"
SILENCE_BEFORE = "silence before it"
SILENCE_BEHIND = "silence behind it"
SPEECH_BEFORE = "other speech before it"
DROPPED = ", dropped"
KEPT_TOKENS = 4
"""Audio tokens of a pause that stay on either side of speech, where silence is dropped."""
BATCH_SIZE = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="*", default=[60.0, 600.0], help="seconds of audio")
    parser.add_argument("--around", type=float, nargs="*", default=[5.0, 20.0], help="seconds around an order")
    parser.add_argument("--orders", type=int, default=27, help="so many orders are asked")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype, device=arguments.device)
    orders = read_orders(ORDERS)[: arguments.orders]
    tables = [word_errors(systems, arguments.lengths)] if arguments.lengths else []
    notes: list[str] = []
    if arguments.around and orders:
        table, notes = orders_right(systems, orders, arguments.around)
        tables.append(table)
    return Result("long_audio", tables=tables, notes=notes)


def word_errors(systems: Systems, lengths: Sequence[float]) -> Table:
    """For each word that is said in a recording of each length."""
    recordings = questions_and_orders()
    alone = [_errors(systems, recording) for recording in recordings]
    seconds_of_all = sum(recording.seconds for recording in recordings)
    table = Table("Word errors of the transcript", "word errors for each word", "seconds of audio", ONE_BY_ONE)
    for seconds in lengths:
        again = 1 + int(seconds / seconds_of_all)
        whole = long_recording(recordings * again, seconds)
        wrong, words = np.sum((alone * again)[: int(whole.name.split()[0])], axis=0)
        wrong_together, words_together = _errors(systems, whole)
        table.add(seconds, {TOGETHER: [wrong_together / words_together], ONE_BY_ONE: [wrong / words]})
    return table


def _errors(systems: Systems, recording: Recording) -> tuple[float, float]:
    """Word errors of its transcript, and its words."""
    text = systems.transcript(recording.waveform).text
    return WordErrorRate().statistics(text, Reference((recording.text or "",)))


def orders_right(systems: Systems, orders: Sequence[Order], around: Sequence[float]) -> tuple[Table, list[str]]:
    """Shares of orders that are right directly, by what is around them and how long that is; and the counts, with their intervals."""
    questions = read_recordings(QUESTIONS)
    alone = _right(systems, orders, [order.waveform for order in orders])
    table = Table("Orders that are right, directly", "of the orders", "seconds around the order", ALONE)
    notes = [f"Right, {ALONE}: {_counted(alone)}."]
    for seconds in around:
        found = {ALONE: alone}
        for name, clips in {
            SILENCE_BEFORE: [np.concatenate([pause(seconds, 0), order.waveform]) for order in orders],
            SILENCE_BEHIND: [np.concatenate([order.waveform, pause(seconds, 0)]) for order in orders],
            SPEECH_BEFORE: [np.concatenate([speech(seconds, questions), order.waveform]) for order in orders],
        }.items():
            found[name] = _right(systems, orders, clips)
            if name != SPEECH_BEFORE:
                found[name + DROPPED] = _right(systems, orders, clips, drop_silence)
        table.add(seconds, {name: [float(np.mean(right))] for name, right in found.items()})
        notes += [
            f"Right, {seconds:g} s of {name}: {_counted(right)}." for name, right in found.items() if name != ALONE
        ]
    return table, notes


def _counted(right: Sequence[bool]) -> str:
    interval = wilson_interval(sum(right), len(right))
    return f"{sum(right)} of {len(right)} (95 %: {interval.low:.0%} to {interval.high:.0%})"


@torch.inference_mode()
def drop_silence(model: Any, embeddings: torch.Tensor) -> torch.Tensor:
    """Audio embeddings of a clip, `(audio tokens, hidden)`, without those in the midst of pauses, in which the character CTC head finds nothing."""
    emissions = model.model.character_ctc_head.log_probabilities(embeddings).cpu().numpy()
    spoken = ~is_pause(emissions).reshape(-1, STEPS_PER_TOKEN).all(axis=1)
    near = np.convolve(spoken, np.ones(2 * KEPT_TOKENS + 1), mode="same") > 0
    return embeddings[torch.from_numpy(near)] if near.any() else embeddings


@torch.inference_mode()
def _right(
    systems: Systems,
    orders: Sequence[Order],
    clips: Sequence[np.ndarray],
    shorten: Callable[[Any, torch.Tensor], torch.Tensor] = lambda model, embeddings: embeddings,
) -> list[bool]:
    """Whether every labelled slot of each order is right, its audio embeddings made shorter before the LLM gets them."""
    model, tokenizer = systems.model, systems.processor.tokenizer
    right: list[bool] = []
    for start in range(0, len(orders), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        rows, embeddings = [], []
        for clip in clips[batch]:
            inputs = systems.processor.apply_chat_template(
                build_conversation({"array": clip, "sampling_rate": SAMPLING_RATE}, ORDER_QUESTION),
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                add_generation_prompt=True,
            ).to(systems.device, dtype=model.dtype)
            features = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
            ids, whole = inputs["input_ids"][0], features.pooler_output
            embeddings.append(shorten(model, whole))
            audio = (ids == model.config.audio_token_id).nonzero()[0, 0] + len(embeddings[-1])
            rows.append(torch.cat([ids[:audio], ids[audio + len(whole) - len(embeddings[-1]) :]]))
        answers = model.generate(
            input_ids=_left_padded(rows, tokenizer.pad_token_id),
            attention_mask=_left_padded([torch.ones_like(row) for row in rows], 0),
            audio_embeds=torch.nn.utils.rnn.pad_sequence(embeddings, batch_first=True),
            audio_embeds_mask=torch.nn.utils.rnn.pad_sequence(
                [torch.ones(len(clip), dtype=torch.bool, device=clip.device) for clip in embeddings], batch_first=True
            ),
            max_new_tokens=64,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )[:, max(map(len, rows)) :]
        texts = systems.processor.batch_decode(answers, skip_special_tokens=True)
        references = [Reference(accepted=(order.slots,)) for order in orders[batch]]
        right += [SlotAcceptance().statistics(*pair)[0] > 0 for pair in zip(texts, references, strict=True)]
    return right


def _left_padded(rows: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side="left")
