"""What a second teacher is worth where a student is asked who speaks, and how: with one, with one of random weights, and without.

    python -m aura_research.second_teacher outputs/second_teacher       # a quarter of an hour of one core; needs Debian's espeak-ng

No pretrained wav2vec2, HuBERT or WavLM comes as a package, so the second teacher is a tiny one of that class, trained here to tell five things of clips in two
voices: the voice, the pace, how the pitch ends, the loudness, and whether there is noise. The student is a random LLM of two layers under LoRA. So this shows
whether the mechanism carries what an encoder knows into what a student answers; it says nothing of how much a published encoder would add to a published LLM.

Of the training clips one in eight has answers to questions; all have their transcript. Tested are sentences that no clip of the training says, once in the
voices of the training and once in two others. Of two weights of the second teacher, that is taken whose students (of two further seeds) are right more often on
validation clips, which are neither.
"""

import argparse
import html
import io
import json
import os
import random
import statistics
import subprocess
from itertools import islice
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
from tools.voices import trim_silence
from transformers_aura import (
    AuraFeatureExtractor,
    AuraForSpeechQA,
    AuraProcessor,
    AuraTrainer,
    AuraTrainingArguments,
    SecondTeacher,
    WaveformTeacher,
)


SENTENCES = Path(__file__).parent / "texts" / "sentences.txt"
TRAINING_VOICES = ("en-us+f2", "en-us+m3")
OTHER_VOICES = ("en-gb-scotland+f5", "en-gb-scotland+m4")
"""espeak-ng's, a woman's and a man's."""

QUESTIONS = {
    "who": ("Who speaks, a man or a woman?", ("woman", "man")),
    "pace": ("Is it said slowly or fast?", ("slow", "fast")),
    "pitch": ("Does the voice end up or down?", ("down", "up")),
    "loudness": ("Is it loud or soft?", ("soft", "loud")),
    "noise": ("Is there noise, or is it clean?", ("clean", "noise")),
}
"""Each with its answers; a clip has one of them, bit by bit of its number, so that each combination is as frequent as any."""

WORDS_PER_MINUTE = (115, 195)
PEAK_DB = (-22.0, -8.0)
NOISE_DB = (-12.0, -3.0)
"""Below the speech."""

NUM_TRAINING_CLIPS, NUM_VALIDATION_CLIPS, NUM_TEST_CLIPS = 384, 64, 96
ASKED_SHARE = 8
"""Of so many training clips one is asked about."""

ARMS = ("without", "random", "trained")
SEEDS = (0, 1, 2, 3, 4)
WEIGHTS, WEIGHT_SEEDS = (2.0, 0.5), (5, 6)
STEPS, TEACHER_STEPS = 360, 800
ASKED_TIMES = 3
"""How often the rows with a question are in the training set."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] + ' ' + message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def clip(text: str, voice: str, bits: list[int], generator: np.random.Generator) -> np.ndarray:
    """A sentence as these answers have it, `(n_samples,)`.

    The pitch falls as in a statement or rises on the last syllable as in a question, by espeak-ng's own rules with twice its range; loudness is a gain on the
    recording, with the noise (between white and pink) in it. Pace, size of the speaker, gain and noise vary a little from clip to clip.
    """
    _, pace, pitch, loudness, noise = bits
    tract = generator.uniform(0.95, 1.05)
    words = f"<prosody range='200%'>{html.escape(text.rstrip('.?!'))}{'.?'[pitch]}</prosody>"
    speed = round(WORDS_PER_MINUTE[pace] * generator.uniform(0.93, 1.07) / tract)
    command = ["espeak-ng", "-m", "-v", voice, "-s", str(speed), "--stdout", words]
    wave = subprocess.run(command, check=True, capture_output=True).stdout
    samples, sampling_rate = soundfile.read(io.BytesIO(wave), dtype="float32")
    samples = trim_silence(soxr.resample(samples, sampling_rate * tract, SAMPLING_RATE))
    samples = samples / np.abs(samples).max()
    if noise:
        spectrum = np.fft.rfft(generator.standard_normal(len(samples)))
        sound = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** generator.uniform(0, 0.5), len(samples))
        samples += 10 ** (generator.uniform(*NOISE_DB) / 20) * samples.std() / sound.std() * sound
    return (10 ** ((PEAK_DB[loudness] + generator.uniform(-1.5, 1.5)) / 20) * samples).astype(np.float32)


def clips(folder: Path, name: str, voices: tuple[str, ...], texts: list[str], seed: int) -> list[dict[str, Any]]:
    """Sentences in these voices, with their answers; spoken once and kept in `folder`."""
    manifest = folder / f"{name}.json"
    if manifest.is_file():
        return json.loads(manifest.read_text())
    generator, rows = np.random.default_rng(seed), []
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(tqdm(texts, desc=name)):
        bits = [number >> place & 1 for place in range(len(QUESTIONS))]
        path = folder / name / f"{number}.flac"
        soundfile.write(path, clip(text, voices[bits[0]], bits, generator), SAMPLING_RATE)
        answers = {kind: QUESTIONS[kind][1][bit] for kind, bit in zip(QUESTIONS, bits, strict=True)}
        rows.append({"audio": str(path), "transcript": text, **answers})
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
        conv_bias=True,  # else its first norm takes the loudness away
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
    encoder = Wav2Vec2Model(config)
    with torch.no_grad():  # soft clips would hardly move it beside its biases
        encoder.feature_extractor.conv_layers[0].conv.weight *= 10
    return encoder


def waveform_and_answers(row: dict[str, Any]) -> tuple[np.ndarray, list[int]]:
    """The samples of a clip, and the number of its answer to each question."""
    answers = [QUESTIONS[kind][1].index(row[kind]) for kind in QUESTIONS]
    return soundfile.read(row["audio"], dtype="float32")[0], answers


def pooled(states: torch.Tensor) -> torch.Tensor:
    """What a linear classifier sees of states `(..., states, width)`: their mean, and that of the last 0.2 s, `(..., 2 * width)`."""
    return torch.cat([states.mean(-2), states[..., -10:, :].mean(-2)], dim=-1)


def train_encoder(folder: Path, rows: list[dict[str, Any]]) -> Wav2Vec2Model:
    """An encoder that tells the answers to all questions from the last 1.5 s of each of these clips; kept in `folder`."""
    if (folder / "config.json").is_file():
        return Wav2Vec2Model.from_pretrained(folder)
    encoder = new_encoder(0)
    head = nn.Linear(2 * encoder.config.hidden_size, len(QUESTIONS))
    waveforms, answers = zip(*map(waveform_and_answers, rows), strict=True)
    targets = torch.tensor(answers, dtype=torch.float32)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, TEACHER_STEPS)
    generator = np.random.default_rng(0)
    encoder.train()
    for _ in (progress := tqdm(range(TEACHER_STEPS), desc="second teacher")):
        chosen = generator.choice(len(rows), 12, replace=False)
        length = min(24_000, *(len(waveforms[index]) for index in chosen))
        batch = torch.from_numpy(np.stack([waveforms[index][-length:] for index in chosen]))
        logits = head(pooled(encoder(batch).last_hidden_state))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")
    encoder.eval().save_pretrained(folder)
    return encoder


def teacher_of(encoder: Wav2Vec2Model) -> WaveformTeacher:
    """The encoder as a teacher; its clips are not normalised, which would take the loudness away."""
    return WaveformTeacher(encoder, Wav2Vec2FeatureExtractor(do_normalize=False))


def probe(encoder: Wav2Vec2Model, training: list[dict[str, Any]], tests: dict[str, Any]) -> dict[str, float]:
    """Shares of right answers of a linear classifier (ridge) on the states that a student learns from: what they hold."""
    teacher = teacher_of(encoder)

    def features_and_answers(rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        waveforms, answers = zip(*map(waveform_and_answers, rows), strict=True)
        states = [torch.cat([pooled(layer[0]) for layer in teacher([wave]).hidden_states]) for wave in waveforms]
        return torch.stack(states).double(), torch.tensor(answers).double()

    features, answers = features_and_answers(training)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    features = (features - mean) / deviation
    weights = torch.linalg.solve(
        features.T @ features + 10 * torch.eye(features.shape[1]), features.T @ (answers - 0.5)
    )
    shares = {}
    for name, rows in tests.items():
        features, answers = features_and_answers(rows)
        right = ((features - mean) / deviation @ weights > 0) == (answers > 0.5)
        shares |= {
            f"{name} {kind}": share for kind, share in zip(QUESTIONS, right.double().mean(0).tolist(), strict=True)
        }
    return shares


def kept_loudness(rows: list[dict[str, Any]]) -> str:
    """What the student's features keep of a gain on the recording: the level of a clip's loudest frame, in decibels (mean of the loud clips without noise)."""
    extractor = AuraFeatureExtractor()
    scale = np.square(extractor.window).sum() * extractor.mel_filters.sum(axis=0).mean()
    waveforms = [waveform_and_answers(row)[0] for row in rows if row["loudness"] == "loud" and row["noise"] == "clean"]
    lines = ["| gain on the recording | loudest frame in the features |", "|---|---|"]
    for gain in (0, -7, -14, -21, -28, -35):
        levels = []
        for waveform in waveforms:
            features = extractor(10 ** (gain / 20) * waveform, sampling_rate=SAMPLING_RATE)["input_features"][0]
            levels.append(10 * np.log10((10 ** (4 * np.asarray(features) - 4)).mean(-1).max() / scale))
        lines.append(f"| {gain} dB | {np.mean(levels):.0f} dB |")
    return "\n".join(lines)


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


def questions(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """A question of this kind about each clip."""
    return [{"audio": row["audio"], "question": QUESTIONS[kind][0], "answer": row[kind]} for row in rows]


def run(
    out: Path,
    base: Path,
    encoders: dict[str, Wav2Vec2Model],
    training: list[dict[str, Any]],
    tests: dict[str, Any],
    arm: str,
    weight: float,
    seed: int,
) -> dict[str, Any]:
    """Trains a student, and counts its right answers on each test."""
    set_seed(seed)
    student = AuraForSpeechQA.from_language_model_pretrained(base, lora_rank=32, lora_num_layers=2, conv_width=64)
    chosen = random.Random(seed).sample(training, len(training) // ASKED_SHARE)
    asked = [row for kind in QUESTIONS for row in questions(chosen, kind)]
    spoken = [{"audio": row["audio"], "transcript": row["transcript"]} for row in training]
    second = None
    if arm != "without":
        second = SecondTeacher(teacher_of(encoders[arm]), layers=[(-1, 0), (1, 1)], weight=weight)
    trainer = AuraTrainer(
        student,
        args=AuraTrainingArguments(
            str(out / "runs"),
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
        train_dataset=[*spoken, *(ASKED_TIMES * asked)],
        processing_class=AuraProcessor.from_language_model_pretrained(base),
        second_teacher=second,
    )
    trainer.train()
    cosines = [entry["second_cosine"] for entry in trainer.state.log_history if "second_cosine" in entry]
    result: dict[str, Any] = {"arm": arm, "weight": weight, "seed": seed, "cosine": cosines[-1] if cosines else None}
    for name, rows in tests.items():
        for kind in QUESTIONS:
            found = trainer.predict(questions(rows, kind))
            right = [text.strip() == answer for text, answer in zip(found.predictions, found.label_ids, strict=True)]
            result[f"{name} {kind}"] = sum(right) / len(right)
    return result


def table(done: list[dict[str, Any]], probes: dict[str, dict[str, float]]) -> str:
    """Shares of right answers by arm, means and all seeds; by how much one arm is better than another, with 95 % intervals over seeds; and what the states hold."""
    seeds = [seed for seed in SEEDS if all(any(e["arm"] == arm and e["seed"] == seed for e in done) for arm in ARMS)]
    marks = {(entry["arm"], entry["seed"]): entry for entry in done}
    pairs = (("trained", "without"), ("random", "without"), ("trained", "random"))
    names = [*ARMS, *(f"{arm} - {other}" for arm, other in pairs), *(f"states, {name}" for name in probes)]
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for figure in [f"{voices} voices: {kind}" for voices in ("same", "other") for kind in QUESTIONS]:
        key = figure.replace(":", "")
        values = {arm: [100 * marks[arm, seed][key] for seed in seeds] for arm in ARMS}
        cells = [
            f"{statistics.fmean(shares):.0f} ({', '.join(f'{share:.0f}' for share in shares)})"
            for shares in values.values()
        ]
        for arm, other in pairs:
            gains = [one - two for one, two in zip(values[arm], values[other], strict=True)]
            low, high = t_interval(gains) or (float("nan"), float("nan"))
            cells.append(f"{statistics.fmean(gains):+.0f} [{low:+.0f}, {high:+.0f}]")
        cells += [f"{100 * shares[key]:.0f}" for shares in probes.values()]
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    texts = iter(short_sentences(NUM_TRAINING_CLIPS + NUM_VALIDATION_CLIPS + 2 * NUM_TEST_CLIPS, seed=0))
    training = clips(out, "training", TRAINING_VOICES, list(islice(texts, NUM_TRAINING_CLIPS)), seed=1)
    validation = clips(out, "validation", TRAINING_VOICES, list(islice(texts, NUM_VALIDATION_CLIPS)), seed=2)
    tests = {
        "same voices": clips(out, "same", TRAINING_VOICES, list(islice(texts, NUM_TEST_CLIPS)), seed=3),
        "other voices": clips(out, "other", OTHER_VOICES, list(islice(texts, NUM_TEST_CLIPS)), seed=4),
    }
    print(kept_loudness(validation))
    encoders = {"trained": train_encoder(out / "encoder", training), "random": new_encoder(1)}
    probes = {name: probe(encoder, training, tests) for name, encoder in encoders.items()}
    print(json.dumps(probes), flush=True)
    base = save_base(out / "base")
    results = out / "results.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []

    def result_of(arm: str, weight: float, seed: int, on: dict[str, Any]) -> dict[str, Any]:
        """Of a run, which is made where it is not there."""
        for entry in done:
            if (entry["arm"], entry["weight"], entry["seed"]) == (arm, weight, seed):
                return entry
        done.append(run(out, base, encoders, training, on, arm, weight, seed))
        print(json.dumps(done[-1]), flush=True)
        with results.open("a") as file:
            file.write(json.dumps(done[-1]) + os.linesep)
        return done[-1]

    right = {}
    for weight in WEIGHTS:
        found = [result_of("trained", weight, seed, {"validation": validation}) for seed in WEIGHT_SEEDS]
        right[weight] = {kind: statistics.fmean(e[f"validation {kind}"] for e in found) for kind in QUESTIONS}
    chosen = max(WEIGHTS, key=lambda weight: sum(right[weight].values()))
    print(f"weights, on validation clips: {json.dumps(right)}; chosen: {chosen}", flush=True)
    for seed in SEEDS:
        for arm in ARMS:
            result_of(arm, chosen, seed, tests)
    print(table(done, probes))


if __name__ == "__main__":
    main()
