"""docs/results.md: the report of a measurement, its pictures, and the commands of what this hardware cannot run.

python -m aura_research.measure.publish outputs/measure docs/results.md
"""

import argparse
import re
import shutil
from pathlib import Path


HEADER = """\
<!-- Made by `make results`; changes belong into what makes it. -->
# Results

What could be run on two CPU cores, every system on the same clips and the same LLM, SmolLM2-135M-Instruct:

| system | what it is |
|---|---|
| `aura` | the packaged student; it writes down what is said, then the LLM answers; orders become JSON directly |
| `gold` | the LLM on the gold transcript: the ceiling |
| `cascade` | Whisper tiny.en, then the LLM |
| `bridge` | Whisper tiny.en's encoder, frozen, an adapter, the frozen LLM; taught to write answers and transcripts (BLSP's kind) |
| `diva` | the same, taught at its input what the LLM makes of the text (DiVA's kind) |
| `parser` | Whisper tiny.en, then a strict grammar of orders, where a forgiving one would find more |

`make baselines` trains `bridge` and `diva`; where that was not run they are left out here, and [baselines.md](../research/docs/baselines.md) has their last figures. The LLM of `gold`, `cascade` and `diva` was never
taught the orders' JSON object. What each set is, stands below; how figures, intervals and tests are made, in [evaluation.md](evaluation.md). `make results` makes this page again. What the number of training clips is worth to a student: [ablations](../research/docs/ablations.md#data-size).
"""

NOT_RUN = """\
## Not run

The table of the paper needs a GPU, a Hub and a student of Qwen2.5-7B-Instruct. With them:

```
aura distill --config qwen2.5-7b-paper
aura evaluate outputs/aura-qwen2.5-7b -b sd-qa -b heysquad -b heysquad-context -s gold -s cascade --whisper openai/whisper-large-v3 \\
    -s qwen2.5-omni=Qwen/Qwen2.5-Omni-7B -s qwen2-audio=Qwen/Qwen2-Audio-7B-Instruct -c clean -c shuffled --dtype bfloat16 --out outputs/paper
```

and, for the bridge (BLSP) and input-side (DiVA) baselines on the same LLM, the two commands of [evaluation.md](evaluation.md#systems) with `--config qwen2.5-7b-paper`, their folders among the systems. Nothing of this has been run.
"""


def publish(folder: Path, page: Path) -> None:
    """Writes `page`, and the pictures of the report into a folder beside it, of the same name, in the place of earlier ones.

    Args:
        folder: `--out` of a measurement.
        page: a Markdown file.
    """
    report = (folder / "results.md").read_text(encoding="utf-8")
    body = report.removeprefix("# Results\n\n")
    body = re.sub(r"\[([^\]]+)\]\((?:[\w-]+/)*examples/[^)]+\)", r"\1", body)  # recordings stay where they were made
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", body)
    target = page.with_suffix("")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for picture in pictures:
        shutil.copy(folder / picture, target / Path(picture).name)
        body = body.replace(f"]({picture})", f"]({target.name}/{Path(picture).name})")
    page.write_text(f"{HEADER}\n{body}\n{NOT_RUN}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="--out of python -m aura_research.measure")
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    publish(arguments.folder, arguments.page)
    print(arguments.page)


if __name__ == "__main__":
    main()
