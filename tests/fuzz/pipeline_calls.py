"""Calls of the pipeline on a tiny student."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.chats import CLIP, ODD, audios, messages, texts
from tests.support.tiny import tiny_processor
from tests.support.tiny_models import tiny_transcriber
from transformers_aura.pipelines.audio_question_answering import AudioQuestionAnsweringPipeline


NUMBERS = (0, -1, 1, 2, 3, True, None, 1.5, float("nan"), float("inf"), 10**12, "2", b"2", [2])


@functools.cache
def pipe() -> AudioQuestionAnsweringPipeline:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return AudioQuestionAnsweringPipeline(model=tiny_transcriber(folder / "llm"), processor=tiny_processor())


def strategy() -> st.SearchStrategy[tuple[Any, dict[str, Any]]]:
    request = st.fixed_dictionaries(
        {}, optional={"audio": audios(), "question": texts() | st.sampled_from(ODD), "context": texts() | st.sampled_from(ODD),
                      "history": st.lists(messages(), max_size=2) | st.sampled_from(ODD), "extra": st.just(1)}
    )  # fmt: skip
    one = st.just(CLIP) | audios() | request | request | st.lists(messages(), max_size=3) | st.sampled_from(ODD)
    settings = st.fixed_dictionaries(
        {},
        optional={
            "max_new_tokens": st.sampled_from(NUMBERS),
            "sampling_rate": st.sampled_from((16_000, *NUMBERS)),
            "truncate_to_seconds": st.sampled_from((0.1, *NUMBERS)),
            "answer_from": st.sampled_from(("audio", "transcript", "audio", "ears", 1, None)),
            "batch_size": st.sampled_from((1, 2, 3, 0, -1, 1.5, "2", None)),
            "num_beams": st.sampled_from((1, 2, 0, -1, "2")),
            "do_sample": st.sampled_from((True, False, "yes")),
            "temperature": st.sampled_from((1.0, 0.0, -1.0, float("nan"), float("inf"))),
            "question": texts() | st.sampled_from(ODD),
            "max_tokens": st.just(3),
        },
    )
    few = settings.map(lambda chosen: dict(list(chosen.items())[:3]))
    return st.tuples(one | st.lists(one, max_size=3), few)


def ask(call: tuple[Any, dict[str, Any]]) -> None:
    inputs, settings = call
    settings = {"max_new_tokens": 3, **settings}
    answers = pipe()(inputs, **settings)
    if not isinstance(answers, list):
        answers = list(answers)
    flat = [answer for entry in answers for answer in (entry if isinstance(entry, list) else [entry])]
    if not flat and inputs not in ([], ()):
        raise Silent("no answer")
    for answer in flat:
        if not isinstance(answer, dict) or not isinstance(answer.get("answer"), str):
            raise Silent(f"the answer {answer!r}")
    for name, value in settings.items():
        if name == "max_new_tokens" and not (value is None or (type(value) is int and value > 0)):
            raise Silent(f"{name}={value!r} was taken")
        if name == "batch_size" and not (value is None or (type(value) is int and value > 0)) and len(flat) > 1:
            raise Silent(f"{name}={value!r} was taken")


def names(call: tuple[Any, dict[str, Any]]) -> tuple[str, ...]:
    _, settings = call
    return (
        *settings,
        "audio",
        "sampling rate",
        "question",
        "context",
        "history",
        "message",
        "content",
        "chat",
        "input",
        "keys",
        "part",
        "role",
        "text",
    )


AREA = Area("calls of the pipeline on a tiny student", strategy, ask, names, share=0.06)
