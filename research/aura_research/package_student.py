"""Makes the folder of a student that ships with the package, exactly as it would be pushed to the Hub.

    python -m aura_research.package_student outputs/student hub_cards/aura-smollm2-135m --license apache-2.0 [--results-text results.md]

Adapter and patch embedding are stored in bfloat16; beside them lie the counts of the corpus' texts (`text_statistics.safetensors`) that its transcripts are
searched with. `--text-statistics FOLDER` writes them alone, into a student's folder. A student that was trained on a folder of `tools/real_models.py` names, as its base, the
file on the Hub that has the same weights; no path of this machine is left in what is written. The card is filled from the training's own
summary (its evaluations included); --results-text adds a section of Markdown below the table of results.
"""

import argparse
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from aura_research.texts.common_words import COMMON_WORDS
from aura_research.texts.named_questions import NAMED_QUESTIONS
from aura_research.texts.names import NAMES
from aura_research.texts.questions import QUESTIONS
from aura_research.texts.sentences import EVERYDAY, LAW, SENTENCES
from tools.real_models import MANIFEST
from transformers_aura.hub import HubError, TrainingSummary, save_model_card
from transformers_aura.hub.export import new_folder
from transformers_aura.hub.model_card import model_reference
from transformers_aura.hub.push import PUSHED_FILES
from transformers_aura.hub.repo_folder import RepoFolder, human_bytes, is_hub_id
from transformers_aura.hub.text_statistics import add_text_statistics


COUNTED_TEXTS = (COMMON_WORDS, EVERYDAY, LAW, NAMED_QUESTIONS, NAMES, SENTENCES)
"""Files of the corpus' texts, one a line, that are counted; the questions of `questions.jsonl` are counted behind them."""


def counted_texts() -> list[str]:
    """The corpus' texts, of which words and token trigrams are counted. Orders are not among them: they are no transcripts."""
    lines = [line for file in COUNTED_TEXTS for line in file.read_text(encoding="utf-8").splitlines()]
    rows = QUESTIONS.read_text(encoding="utf-8").splitlines()
    return lines + [json.loads(row)["question"] for row in rows]


def package_student(
    student: Path,
    out: Path,
    *,
    base: dict[str, str | None] | None = None,
    license: str | None = None,
    results_text: str | None = None,
) -> None:
    """
    Write `student` as a packaged student into the new folder `out`, whose name becomes the student's.

    Args:
        student (`Path`): compact student, as `aura distill` wrote it.
        out (`Path`): folder to make.
        base (`dict`, *optional*): `base_model`, `base_revision` and `base_gguf_file` to name in the config. Without it, what the manifest of
            a converted base says it is a copy of.
        license (`str`, *optional*): the Hub's name of a licence; without it, the base model's own where it can be read.
        results_text (`str`, *optional*): Markdown for the card, below the table of results.

    Raises:
        HubError: `student` is no compact student, its base has no hub id, or `out` is in use.
    """
    import torch
    from safetensors.torch import load_file, save_file

    config = RepoFolder.read(student).config
    if config.base_model is None:
        raise HubError(f"{student} is a merged checkpoint; package the compact student.")
    named = {name: getattr(config, name) for name in ("base_model", "base_revision", "base_gguf_file")}
    base = base or _manifest(config.base_model).get("copy_of") or named
    if not is_hub_id(str(base["base_model"])):
        raise HubError(
            f"The base model {base['base_model']} is a place on this machine. Name its repo with --base-model."
        )
    with new_folder(out) as folder:
        for path in sorted(student.iterdir()):
            if path.name != "README.md" and any(path.match(pattern) for pattern in PUSHED_FILES):
                shutil.copy2(path, folder / path.name)
        weights = load_file(student / "model.safetensors")
        weights = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        content = json.loads((folder / "config.json").read_text(encoding="utf-8")) | base
        content["text_config"]["_name_or_path"] = base["base_model"]
        (folder / "config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if config.character_ctc_alphabet is not None:
            add_text_statistics(folder, counted_texts())
        summary = _without_local_paths(TrainingSummary.load(student))
        summary = replace(summary, results_text=results_text)
        save_model_card(folder, summary, repo_id=out.name, license=license, packaged=True)


def _manifest(folder: str) -> dict:
    """What `tools/real_models.py` wrote into a folder of its own; empty for anything else."""
    path = Path(folder) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _without_local_paths(summary: TrainingSummary) -> TrainingSummary:
    """`summary` with hub ids in the place of converted models' folders, and names in the place of other absolute paths of its recipe."""
    if summary.recipe is None:
        return summary
    teacher = summary.teacher

    def short(match: re.Match[str]) -> str:
        nonlocal teacher
        path = match[0]
        manifest = _manifest(path)
        hub_id = (manifest.get("copy_of") or {}).get("base_model") or manifest.get("hub_id")
        if hub_id is not None and teacher is not None:
            teacher = teacher.replace(model_reference(path), model_reference(hub_id))
        return hub_id or Path(path).name

    recipe = re.sub(r"(?<![\w.~/:])/[\w.+-]+(?:/[\w.+-]+)+", short, summary.recipe)
    return replace(summary, recipe=recipe, teacher=teacher)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", type=Path, nargs="?", help="what `aura distill` wrote")
    parser.add_argument(
        "out", type=Path, nargs="?", help="folder to make, with the student's name: hub_cards/aura-smollm2-135m"
    )
    parser.add_argument(
        "--base-model", help="hub id to name as the base; default: what the student's base is a copy of"
    )
    parser.add_argument("--base-revision")
    parser.add_argument("--base-gguf-file")
    parser.add_argument("--license", help="the Hub's name of a licence: apache-2.0")
    parser.add_argument("--results-text", type=Path, help="file of Markdown for the card's results")
    parser.add_argument(
        "--text-statistics", type=Path, metavar="FOLDER", help="only count the corpus' texts again, for this student"
    )
    arguments = parser.parse_args()
    if (arguments.text_statistics is None) == (arguments.out is None):
        parser.error("give the student and the folder to make, or --text-statistics FOLDER")
    names = ("base_model", "base_revision", "base_gguf_file")
    try:
        if arguments.text_statistics is not None:
            written = add_text_statistics(arguments.text_statistics, counted_texts())
            print(f"{written}: {human_bytes(written.stat().st_size)}")
            return 0
        package_student(
            arguments.student,
            arguments.out,
            base={name: getattr(arguments, name) for name in names} if arguments.base_model else None,
            license=arguments.license,
            results_text=arguments.results_text and arguments.results_text.read_text(encoding="utf-8"),
        )
    except HubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in sorted(arguments.out.iterdir()):
        print(f"{path}: {human_bytes(path.stat().st_size)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
