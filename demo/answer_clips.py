"""Loads a student as anyone would, by `AutoModel.from_pretrained`, and answers recordings through the pipeline.

    python demo/answer_clips.py STUDENT CLIPS.json ANSWERS.json

A process of its own, so that nothing of the training can leak into the answers. CLIPS.json is a list of paths; ANSWERS.json becomes
`{"answers": [...], "load_seconds": ..., "class": ...}`.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    student, clips, out = sys.argv[1:]
    import transformers
    from transformers import AutoModel, AutoProcessor, pipeline

    import transformers_aura  # noqa: F401  (makes transformers know AuRA)

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    start = time.perf_counter()
    model = AutoModel.from_pretrained(student)
    processor = AutoProcessor.from_pretrained(student)
    load_seconds = time.perf_counter() - start
    answerer = pipeline("audio-question-answering", model=model, processor=processor)
    paths = json.loads(Path(clips).read_text())
    results = answerer(paths, batch_size=16, max_new_tokens=24, do_sample=False)
    content = {
        "answers": [result[0]["answer"] for result in results],
        "load_seconds": load_seconds,
        "class": type(model).__name__,
    }
    Path(out).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
