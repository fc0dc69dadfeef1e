"""Whose answers should teach the packaged student to answer questions: the base LLM's (`answer_kl`), or its own, judged by the base LLM (`on_policy`)?

    python -m aura_research.on_policy OUT [--seeds 0 1 2] [--minutes 5]

Both arms go on from `aura-smollm2-135m` for the same processor time, with the same spoken questions in the same order (voices of hibari and flite, which train;
needs `pip install hibari-tts==0.2.1 onnxruntime scipy` and Debian's `flite`). Then each answers other questions directly, greedily, in such voices; no stage of
the student's training had these questions. How often does it say what the base LLM says to the true text, and how often is it right? OUT keeps clips and
runs; a run that is there is not run again. The tables are printed, and lie in OUT/on_policy.md.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, set_seed

from aura_research.ablations.plan import write_json
from aura_research.corpus import Clip, plan_spoken, questions_of, write_shard
from aura_research.reserved import check_clip, normalise
from aura_research.texts.questions import Question, contains_answer, first_sentence
from transformers_aura import AuraForSpeechQA, AuraProcessor, AuraTrainer, AuraTrainingArguments, build_conversation
from transformers_aura.evaluation.scorers.interface import ratio
from transformers_aura.evaluation.scorers.squad import f1
from transformers_aura.evaluation.statistics import compare, interval_of


STUDENT = "aura-smollm2-135m"
ENGINES = ("hibari", "flite")
NUM_TRAINING_CLIPS = 400
"""Of each engine; no run gets through them all in minutes."""
NUM_OPEN_QUESTIONS = 26
"""Validation questions without one right answer, beside all that have one and that the base LLM knows."""
LONGEST_CLIP_SECONDS = 2.5
"""Of training: short steps."""
MAX_NEW_TOKENS = 24
ARMS: dict[str, dict[str, float]] = {
    "answer_kl": {"answer_kl_weight": 1.0},
    "on_policy": {"on_policy_weight": 1.0, "on_policy_max_new_tokens": 16},
}
SETTINGS: dict[str, Any] = {
    "supervision": "transcript",
    "lm_weight": 0.0,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 5,
    "max_steps": 100_000,
    "per_device_train_batch_size": 4,
    "pad_to_multiple_of": 16,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}
SAME, F1, RIGHT = "same", "f1", "right"
SCORES = {
    SAME: "says the same",
    F1: "word F1 with it",
    RIGHT: "right, of the questions that the base LLM gets right",
}


@dataclass(frozen=True)
class Asked:
    """A validation question as it is spoken: the row of its clip, and the question with its accepted answers."""

    row: dict[str, Any]
    question: Question


# --- clips ----------------------------------------------------------------------------------------------------------------------------


def training_rows(folder: Path) -> list[dict[str, Any]]:
    """Spoken questions with the base LLM's answers, short ones, made on first use."""
    shards = {
        folder / f"train-{engine}.parquet": plan_spoken("questions", engine, range(NUM_TRAINING_CLIPS), seed=0)
        for engine in ENGINES
    }
    rows = [row for path, clips in shards.items() for row in read_shard(path, clips)]
    return [
        {name: row[name] for name in ("audio", "transcript", "answer")}
        for row in rows
        if row["seconds"] <= LONGEST_CLIP_SECONDS
    ]


def validation_questions(folder: Path) -> list[Asked]:
    """Each question once, the two engines' voices in turns."""
    items = questions_of(validation=True)
    known = [item for item in items if item.known]
    chosen = {
        item.question: item
        for item in [*known, *(item for item in items if item.known is None)][: len(known) + NUM_OPEN_QUESTIONS]
    }
    asked = []
    for number, engine in enumerate(ENGINES):
        wanted = list(chosen)[number :: len(ENGINES)]
        plans = {clip.transcript: clip for clip in plan_spoken("questions", engine, range(20 * len(items)), 0, True)}
        clips = [plans[question] for question in wanted if question in plans]
        rows = read_shard(folder / f"validation-{engine}.parquet", clips)
        asked += [Asked(row, chosen[row["transcript"]]) for row in rows]
    return asked


def read_shard(path: Path, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """The rows of these clips; they are made where the file is not there."""
    from datasets import Audio, Dataset

    if not path.is_file():
        for clip in clips:
            check_clip(clip)
        write_shard(path, clips)
    return list(Dataset.from_parquet(str(path)).cast_column("audio", Audio(decode=False)))


# --- training -------------------------------------------------------------------------------------------------------------------------


class ProcessorTime(TrainerCallback):
    """Ends a training after so many minutes of this process's own processor time, whatever else the machine does."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = time.process_time() - self.start >= 60 * self.minutes


def load_student() -> tuple[AuraForSpeechQA, AuraProcessor]:
    """The packaged student, in float32."""
    return AuraForSpeechQA.from_pretrained(STUDENT, dtype=torch.float32), AuraProcessor.from_pretrained(STUDENT)


def train(
    arm: str, seed: int, minutes: float, learning_rate: float, rows: list[dict[str, Any]], folder: Path
) -> tuple[Any, dict[str, Any]]:
    """The student after a run, and what the run took."""
    set_seed(seed)
    student, processor = load_student()
    rows = random.Random(seed).sample(rows, len(rows))
    trainer = AuraTrainer(
        student,
        args=AuraTrainingArguments(
            str(folder),
            seed=seed,
            learning_rate=learning_rate,
            train_sampling_strategy="sequential",
            **SETTINGS,
            **ARMS[arm],
        ),
        train_dataset=rows,
        processing_class=processor,
        callbacks=[ProcessorTime(minutes)],
    )
    wall, processor_time = time.perf_counter(), time.process_time()
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    steps = trainer.state.global_step
    taken = {
        "steps": steps,
        "questions": steps * trainer.args.train_batch_size,
        "wall_minutes": (time.perf_counter() - wall) / 60,
        "processor_minutes": (time.process_time() - processor_time) / 60,
        "first_loss": logs[0]["loss"],
        "last_loss": logs[-1]["loss"],
    }
    if arm == "on_policy":
        seconds = [entry["on_policy/generation_seconds"] for entry in logs]
        tokens = [entry["on_policy/answer_tokens"] for entry in logs]
        taken |= {
            "generation_share": float(np.mean(seconds)) * steps / (60 * taken["wall_minutes"]),
            "answer_tokens": float(np.mean(tokens)) * taken["questions"],
        }
    else:
        # one pass of each over the given answers and the token that ends them
        answers = [row["answer"] for row in (rows * (1 + taken["questions"] // len(rows)))[: taken["questions"]]]
        taken["answer_tokens"] = sum(len(processor.tokenizer(answer)["input_ids"]) + 1 for answer in answers)
    return student, taken


# --- answers --------------------------------------------------------------------------------------------------------------------------


def answers(student: AuraForSpeechQA, processor: AuraProcessor, asked: Sequence[Asked], by_ear: bool) -> list[str]:
    """First sentences of the greedy answers to the recordings, or, of the base LLM, to the true texts."""
    student.eval()
    order = sorted(range(len(asked)), key=lambda index: asked[index].row["seconds"])
    texts = [""] * len(asked)
    for start in range(0, len(order), 8):
        numbers = order[start : start + 8]
        chats = [
            build_conversation(audio=asked[n].row["audio"])
            if by_ear
            else build_conversation(question=asked[n].row["transcript"])
            for n in numbers
        ]
        inputs = processor.apply_chat_template(
            chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        with torch.no_grad():
            tokens = student.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        said = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for number, text in zip(numbers, said, strict=True):
            texts[number] = first_sentence(text)
    return texts


def marks(said: Sequence[str], reference: Sequence[str], asked: Sequence[Asked]) -> dict[str, list[float | None]]:
    """What each answer scores; `None` where the base LLM itself gives no right one."""
    right: list[float | None] = []
    for answer, of_base, item in zip(said, reference, asked, strict=True):
        counts = bool(item.question.known) and contains_answer(of_base, item.question.accepted)
        right.append(float(contains_answer(answer, item.question.accepted)) if counts else None)
    pairs = list(zip(said, reference, strict=True))
    return {
        SAME: [float(normalise(answer) == normalise(of_base)) for answer, of_base in pairs],
        F1: [f1(answer, of_base) for answer, of_base in pairs],
        RIGHT: right,
    }


# --- report ---------------------------------------------------------------------------------------------------------------------------


def statistics(runs: Sequence[dict[str, Any]], score: str) -> np.ndarray:
    """`(trainings, questions, 2)`: what each question scores, and 1."""
    values = np.array([run["marks"][score] for run in runs], dtype=float)
    values = values[:, ~np.isnan(values).any(axis=0)]
    return np.stack([values, np.ones_like(values)], axis=-1)


def report(runs: Sequence[dict[str, Any]]) -> str:
    """The tables of all runs that are there."""
    arms = {arm: [run for run in runs if run["arm"] == arm] for arm in ("start", *ARMS)}
    lines = ["| | " + " | ".join(SCORES.values()) + " |", "|---|" + "---|" * len(SCORES)]
    for arm, of_arm in arms.items():
        if of_arm:
            cells = [_with_interval(statistics(of_arm, score)) for score in SCORES]
            lines.append(
                f"| {arm} ({len(of_arm)} {'runs' if len(of_arm) > 1 else 'run'}) | " + " | ".join(cells) + " |"
            )
    pairs = [("answer_kl", "start"), ("on_policy", "start"), ("on_policy", "answer_kl")]
    for first, second in pairs:
        if arms[first] and arms[second]:
            cells = [_difference(statistics(arms[first], score), statistics(arms[second], score)) for score in SCORES]
            lines.append(f"| {first} - {second} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| run | seed | steps | questions heard | answer tokens learnt from | processor minutes | wall minutes | of them generating | loss, first to last |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in (run for arm in ARMS for run in arms[arm]):
        taken = run["taken"]
        share = f"{100 * taken['generation_share']:.0f} %" if "generation_share" in taken else ""
        lines.append(
            f"| {run['arm']} | {run['seed']} | {taken['steps']} | {taken['questions']} | {taken['answer_tokens']:.0f} | {taken['processor_minutes']:.1f} | "
            f"{taken['wall_minutes']:.1f} | {share} | {taken['first_loss']:.3f} to {taken['last_loss']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def _with_interval(values: np.ndarray) -> str:
    interval = interval_of(values, ratio, range(values.shape[1]))
    share = float(ratio(values.sum(axis=(0, 1))))
    return f"{100 * share:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f}), n = {values.shape[1]}"


def _difference(first: np.ndarray, second: np.ndarray) -> str:
    found = compare(first, second, ratio, range(first.shape[1]))
    return f"{100 * found.difference:+.1f} ({100 * found.interval.low:+.1f} to {100 * found.interval.high:+.1f}), p = {found.p_value or 1:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time of each run")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--questions", type=int, help="so many validation questions, to try it; default: all")
    arguments = parser.parse_args()
    asked = validation_questions(arguments.out / "clips")[: arguments.questions]
    rows = training_rows(arguments.out / "clips")
    print(f"{len(rows)} clips to learn from, {len(asked)} questions to answer.", flush=True)
    student, processor = load_student()
    reference = answers(student, processor, asked, by_ear=False)
    # the arms of each seed in another order, so that what else the machine does hits both alike
    plan = [("start", 0)] + [
        (arm, seed) for n, seed in enumerate(arguments.seeds) for arm in list(ARMS)[:: 1 - 2 * (n % 2)]
    ]
    runs = []
    for arm, seed in plan:
        path = arguments.out / "runs" / f"{arm}-{seed}.json"
        if not path.is_file():
            taken: dict[str, Any] = {}
            if arm != "start":
                student, taken = train(
                    arm, seed, arguments.minutes, arguments.learning_rate, rows, arguments.out / "training"
                )
            said = answers(student, processor, asked, by_ear=True)
            run = {"arm": arm, "seed": seed, "taken": taken, "answers": said, "marks": marks(said, reference, asked)}
            write_json(path, run)
        runs.append(json.loads(path.read_text(encoding="utf-8")))
        (arguments.out / "on_policy.md").write_text(report(runs), encoding="utf-8")
        print(f"{arm}, seed {seed}: {runs[-1]['taken']}", flush=True)
    print(report(runs))


if __name__ == "__main__":
    main()
