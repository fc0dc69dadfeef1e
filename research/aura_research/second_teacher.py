"""What a second teacher is worth where a student is asked who speaks, and how: with one, with one of random weights, and without.

    python -m aura_research.second_teacher outputs/second_teacher       # half an hour on one core; also needs Debian's flite and hibari-tts

No pretrained wav2vec2, HuBERT or WavLM comes as a package, so the second teacher is a tiny one of that class, trained here to tell voices, pace and size of the
speaker from recordings of two voices. The student is a random LLM of two layers under LoRA. So this shows whether the mechanism carries what an encoder knows into
what a student answers; it says nothing of how much a published encoder would add to a published LLM.

Of the training clips one in eight has an answer to a question about the voice; all have their transcript. Tested are sentences that no clip of the training
says, once in the voices of the training and once in two others.
"""

import argparse
import json
import os
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from tqdm import tqdm
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    set_seed,
)

from aura_research.ablations.statistics import t_interval
from aura_research.recordings import SAMPLING_RATE
from tools.voices import Voice, speak, trim_silence
from transformers_aura import (
    AuraForSpeechQA,
    AuraProcessor,
    AuraTrainer,
    AuraTrainingArguments,
    SecondTeacher,
    WaveformTeacher,
)


SENTENCES = Path(__file__).parent / "texts" / "sentences.txt"
TRAINING_VOICES = {"slt": "woman", "rms": "man"}
OTHER_VOICES = {"heart": "woman", "awb": "man"}
PACES = {"slow": 0.75, "fast": 1.4}
QUESTIONS = {"who": "Who speaks, a man or a woman?", "pace": "Is it said slowly or fast?"}
ANSWERS = {"who": ("man", "woman"), "pace": ("slow", "fast")}
NUM_TRAINING_CLIPS, NUM_TEST_CLIPS = 384, 96
ASKED_SHARE = 8
"""Of so many training clips one is asked about."""

ARMS = ("without", "random", "trained")
SEEDS = (0, 1, 2, 3, 4)
STEPS, TEACHER_STEPS = 120, 500

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] + ' ' + message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def clips(folder: Path, name: str, voices: dict[str, str], texts: list[str], seed: int) -> list[dict[str, Any]]:
    """Sentences in these voices, slow and fast, the recording bent a little; spoken once and kept in `folder`."""
    manifest = folder / f"{name}.json"
    if manifest.is_file():
        return json.loads(manifest.read_text())
    generator, rows = random.Random(seed), []
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(tqdm(texts, desc=name)):
        voice = list(voices)[number % 2]
        pace = list(PACES)[number // 2 % 2]
        tract = generator.uniform(0.95, 1.05)
        rate = PACES[pace] * generator.uniform(0.93, 1.07) / tract
        samples, sampling_rate = speak(
            Voice("hibari" if voice == "heart" else "flite", voice, (1, 1)), text, rate, number
        )
        samples = soxr.resample(samples, sampling_rate * tract, SAMPLING_RATE).astype(np.float32)
        path = folder / name / f"{number}.flac"
        soundfile.write(path, trim_silence(0.5 * samples / np.abs(samples).max()), SAMPLING_RATE)
        rows.append({"audio": str(path), "transcript": text, "who": voices[voice], "pace": pace, "tract": tract})
    manifest.write_text(json.dumps(rows))
    return rows


def short_sentences(count: int, seed: int) -> list[str]:
    """Different sentences of four to six words."""
    lines = [line for line in SENTENCES.read_text().splitlines() if 4 <= len(line.split()) <= 6]
    return random.Random(seed).sample(lines, count)


def new_encoder(seed: int) -> Wav2Vec2Model:
    """wav2vec2 with 40,000 parameters, 49.95 states a second."""
    set_seed(seed)
    config = Wav2Vec2Config(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        conv_dim=[32] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
    )
    return Wav2Vec2Model(config)


def train_encoder(folder: Path, rows: list[dict[str, Any]]) -> Wav2Vec2Model:
    """An encoder that tells who speaks, how fast, and how large the speaker is, of each of these clips as a whole; kept in `folder`."""
    if (folder / "config.json").is_file():
        return Wav2Vec2Model.from_pretrained(folder)
    encoder = new_encoder(0)
    head = nn.Linear(encoder.config.hidden_size, 3)
    waveforms = [soundfile.read(row["audio"], dtype="float32")[0] for row in rows]
    targets = torch.tensor([[row["who"] == "man", row["pace"] == "fast", 10 * (row["tract"] - 0.95)] for row in rows])
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, TEACHER_STEPS)
    generator = np.random.default_rng(0)
    encoder.train()
    for _ in (progress := tqdm(range(TEACHER_STEPS), desc="second teacher")):
        chosen = generator.choice(len(rows), 12, replace=False)
        length = min(24_000, *(len(waveforms[index]) for index in chosen))
        starts = [generator.integers(len(waveforms[index]) - length + 1) for index in chosen]
        batch = np.stack([waveforms[index][start:][:length] for index, start in zip(chosen, starts, strict=True)])
        batch = (batch - batch.mean(-1, keepdims=True)) / (batch.std(-1, keepdims=True) + 1e-4)
        states = encoder(torch.from_numpy(batch)).last_hidden_state.mean(1)
        loss = nn.functional.binary_cross_entropy_with_logits(head(states), targets[chosen].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")
    encoder.eval().save_pretrained(folder)
    return encoder


def save_base(folder: Path) -> Path:
    """A random LLM of two layers, with a tokenizer of 512 tokens made of the sentences."""
    if not (folder / "config.json").is_file():
        pairs = ByteLevelBPETokenizer()
        special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
        pairs.train_from_iterator(SENTENCES.read_text().splitlines(), 512, special_tokens=special, show_progress=False)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=pairs._tokenizer, pad_token=special[0], eos_token=special[2], chat_template=CHAT_TEMPLATE
        )
        set_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.1,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def questions(rows: list[dict[str, Any]], kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """A question of each of these kinds about each clip."""
    return [
        {"audio": row["audio"], "question": QUESTIONS[kind], "answer": row[kind]} for row in rows for kind in kinds
    ]


def run(
    out: Path,
    base: Path,
    encoders: dict[str, Wav2Vec2Model],
    training: list[dict[str, Any]],
    tests: dict[str, Any],
    arm: str,
    seed: int,
) -> dict[str, Any]:
    """Trains a student, and counts its right answers."""
    set_seed(seed)
    student = AuraForSpeechQA.from_language_model_pretrained(base, lora_rank=32, lora_num_layers=2, conv_width=64)
    asked = questions(random.Random(seed).sample(training, len(training) // ASKED_SHARE), ("who", "pace"))
    spoken = [{"audio": row["audio"], "transcript": row["transcript"]} for row in training]
    second = None
    if arm != "without":
        second = SecondTeacher(
            WaveformTeacher(encoders[arm], Wav2Vec2FeatureExtractor()), layers=[(-1, 0), (1, 1)], weight=2.0
        )
    trainer = AuraTrainer(
        student,
        args=AuraTrainingArguments(
            str(out / f"{arm}-{seed}"),
            cosine_weight=0,
            mse_weight=0,
            max_steps=STEPS,
            learning_rate=3e-3,
            warmup_steps=10,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=48,
            seed=seed,
            teacher_cache_dir=str(out / "states"),
            generation_max_new_tokens=4,
            save_strategy="no",
            logging_steps=max(STEPS // 3, 1),
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=[*spoken, *(4 * asked)],
        processing_class=AuraProcessor.from_language_model_pretrained(base),
        second_teacher=second,
    )
    trainer.train()
    cosines = [entry["second_cosine"] for entry in trainer.state.log_history if "second_cosine" in entry]
    result: dict[str, Any] = {"arm": arm, "seed": seed, "cosine": cosines[-1] if cosines else None}
    for name, rows in tests.items():
        for kind in QUESTIONS:
            found = trainer.predict(questions(rows, (kind,)))
            right = [text.strip() == answer for text, answer in zip(found.predictions, found.label_ids, strict=True)]
            result[f"{name} {kind}"] = sum(right) / len(right)
    return result


def table(done: list[dict[str, Any]]) -> str:
    """Shares of right answers by arm, means over seeds, and by how much one arm is better than another, with 95 % intervals over seeds."""
    figures = [f"{voices} {kind}" for voices in ("same voices", "other voices") for kind in QUESTIONS]
    seeds = [seed for seed in SEEDS if all(any(e["arm"] == arm and e["seed"] == seed for e in done) for arm in ARMS)]
    marks = {(entry["arm"], entry["seed"]): entry for entry in done}
    lines = ["| second teacher | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for arm in ARMS:
        cells = []
        for figure in figures:
            values = [marks[arm, seed][figure] for seed in seeds]
            cells.append(
                f"{100 * statistics.fmean(values):.0f} % ({', '.join(f'{100 * value:.0f}' for value in values)})"
            )
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    for arm, other in (("random", "without"), ("trained", "without"), ("trained", "random")):
        cells = []
        for figure in figures:
            gains = [100 * (marks[arm, seed][figure] - marks[other, seed][figure]) for seed in seeds]
            low, high = t_interval(gains) or (float("nan"), float("nan"))
            cells.append(f"{statistics.fmean(gains):+.0f} [{low:+.0f}, {high:+.0f}]")
        lines.append(f"| {arm} - {other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    texts = short_sentences(NUM_TRAINING_CLIPS + 2 * NUM_TEST_CLIPS, seed=0)
    training = clips(out, "training", TRAINING_VOICES, texts[:NUM_TRAINING_CLIPS], seed=1)
    kept = texts[NUM_TRAINING_CLIPS:]
    tests = {
        "same voices": clips(out, "same", TRAINING_VOICES, kept[:NUM_TEST_CLIPS], seed=2),
        "other voices": clips(out, "other", OTHER_VOICES, kept[NUM_TEST_CLIPS:], seed=3),
    }
    encoders = {"trained": train_encoder(out / "encoder", training), "random": new_encoder(1)}
    base = save_base(out / "base")
    results = out / "results.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
    for seed in SEEDS:
        for arm in ARMS:
            if any(entry["arm"] == arm and entry["seed"] == seed for entry in done):
                continue
            done.append(run(out, base, encoders, training, tests, arm, seed))
            print(json.dumps(done[-1]), flush=True)
            with results.open("a") as file:
                file.write(json.dumps(done[-1]) + os.linesep)
    print(table(done))


if __name__ == "__main__":
    main()
