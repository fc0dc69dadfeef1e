"""docs/results.md: the report of a measurement, its pictures, and the commands of what this hardware cannot run.

python -m aura_research.measure.publish outputs/measure docs/results.md
"""

import argparse
import re
import shutil
from pathlib import Path


HEADER = """\
<!-- Written by `make results`: change the text in research/aura_research/measure/publish.py, not here. -->
# Results

How the packaged student compares with other systems, on the same clips and with the same LLM, SmolLM2-135M-Instruct. This is what could be run on two CPU cores.

| system | what it is |
|---|---|
| `aura` | the packaged student: it transcribes, then the LLM answers; it answers orders directly, as JSON |
| `gold` | the LLM on the reference ("gold") transcript: the ceiling |
| `cascade` | Whisper tiny.en, then the LLM |
| `bridge` | Whisper tiny.en's encoder, frozen, an adapter, the frozen LLM; trained to write answers and transcripts (as BLSP) |
| `diva` | the same, distilled at the LLM's input from the LLM's own answers to the text (as DiVA) |
| `parser` | Whisper tiny.en, then a strict grammar of orders; a more tolerant one would find more |

`make baselines` trains `bridge` and `diva`. If that was not run, they are missing here; [baselines](../research/docs/baselines.md) has their last figures. The LLM of `gold`, `cascade` and `diva` was not
trained to write orders as JSON objects. [Evaluation](evaluation.md) explains figures, intervals and tests; the datasets are described below. `make results` reproduces this page. The effect of the number of training clips is in the [ablations](../research/docs/ablations.md#data-size). Figures without † in the
[student's model card](../hub_cards/aura-smollm2-135m/README.md#results) were measured later, in float32, and may differ.
"""

NOT_RUN = """\
## Not run

The paper's table needs a GPU, access to the Hub and a student of Qwen2.5-7B-Instruct. The commands are:

```
aura distill --config qwen2.5-7b-paper
aura evaluate outputs/aura-qwen2.5-7b -b sd-qa -b heysquad -b heysquad-context -s gold -s cascade --whisper openai/whisper-large-v3 \\
    -s qwen2.5-omni=Qwen/Qwen2.5-Omni-7B -s qwen2-audio=Qwen/Qwen2-Audio-7B-Instruct -c clean -c shuffled --dtype bfloat16 --out outputs/paper
```

For the bridge (BLSP) and input-side (DiVA) baselines on the same LLM, use the [commands for bridges](evaluation.md#training-a-bridge) with `--config qwen2.5-7b-paper`, and add their folders to the systems. None of this has been run.
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
