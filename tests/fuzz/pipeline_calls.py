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
from tests.fuzz.chats import CLIP, ODD, audios, messages, mostly, texts
from tests.support.tiny import tiny_processor
from tests.support.tiny_models import tiny_transcriber
from transformers_aura.pipelines.audio_question_answering import AudioQuestionAnsweringPipeline


NUMBERS = (0, -1, 1, 2, 3, True, None, 1.5, float("nan"), float("inf"), 10**12, "2", b"2", [2])


SETTINGS: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    "max_new_tokens": (st.integers(1, 4), st.sampled_from(NUMBERS)),
    "sampling_rate": (st.sampled_from((16_000, None)), st.sampled_from(NUMBERS)),
    "truncate_to_seconds": (st.sampled_from((0.1, 1, None)), st.sampled_from(NUMBERS)),
    "answer_from": (st.sampled_from(("audio", "transcript", None)), st.sampled_from(("ears", 1, ""))),
    "batch_size": (st.sampled_from((1, 2, 3, None)), st.sampled_from(NUMBERS)),
    "num_beams": (st.sampled_from((1, 2)), st.sampled_from(NUMBERS)),
    "do_sample": (st.booleans(), st.sampled_from(("yes", 1, None))),
    "temperature": (st.sampled_from((1.0, 0.5)), st.sampled_from(NUMBERS)),
    "question": (texts(), st.sampled_from(ODD)),
    "skip_special_tokens": (st.booleans(), st.sampled_from(("no", 1))),
    "max_tokens": (st.just(3), st.none()),
}
"""Arguments of a call: values that can be, and values that cannot."""


@functools.cache
def pipe() -> AudioQuestionAnsweringPipeline:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return AudioQuestionAnsweringPipeline(model=tiny_transcriber(folder / "llm"), processor=tiny_processor())


def strategy() -> st.SearchStrategy[tuple[Any, dict[str, Any]]]:
    any_text = mostly(texts(), st.sampled_from(ODD))
    request = st.fixed_dictionaries(
        {"audio": audios()},
        optional={"question": any_text, "context": any_text, "history": st.lists(messages(), max_size=2)},
    )
    written = st.fixed_dictionaries({"question": st.just("Who?")}, optional={"context": any_text})
    odd = st.fixed_dictionaries({}, optional={"audio": audios(), "history": st.sampled_from(ODD), "extra": st.just(1)})
    chat = st.lists(messages(), min_size=1, max_size=3)
    one = mostly(st.just(CLIP) | request | written | chat, odd | st.sampled_from(ODD))
    few = st.lists(st.sampled_from(sorted(SETTINGS)), max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: mostly(*SETTINGS[name], times=3) for name in names})
    )
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
