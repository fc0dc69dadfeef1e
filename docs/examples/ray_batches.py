"""A folder of recordings answered by a student on all machines of a Ray cluster, or on this one.

    pip install transformers-aura 'ray[data]'
    python docs/examples/ray_batches.py STUDENT recordings answers --question "What was ordered?"

The student answers directly, run by vLLM where that is installed, else by transformers.
"""

import argparse
import base64
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import ray


MAX_NEW_TOKENS = 128
SUFFIXES = ["wav", "flac", "mp3", "ogg", "opus", "m4a"]

Answer = Callable[[Sequence[bytes]], list[str]]


def transformers_answers(model: str, question: str | None) -> Answer:
    """Recordings (the bytes of audio files) to answers, by the pipeline."""
    from transformers import pipeline

    import transformers_aura  # noqa: F401  (tells transformers about AuRA)

    answerer = pipeline("audio-question-answering", model=model)

    def answer(recordings: Sequence[bytes]) -> list[str]:
        requests = [{"audio": recording, "question": question} for recording in recordings]
        results = answerer(requests, batch_size=len(requests), answer_from="audio", max_new_tokens=MAX_NEW_TOKENS)
        return [result[0]["answer"] for result in results]

    return answer


def vllm_answers(model: str, question: str | None) -> Answer:
    """The same by vLLM."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm import LLM, SamplingParams

    llm = LLM(model=model, limit_mm_per_prompt={"audio": 1})

    def answer(recordings: Sequence[bytes]) -> list[str]:
        chats: list[Any] = []
        for recording in recordings:
            data = base64.b64encode(recording).decode()
            parts = [{"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}]
            if question:
                parts.append({"type": "text", "text": question})
            chats.append([{"role": "user", "content": parts}])
        outputs = llm.chat(chats, SamplingParams(temperature=0, max_tokens=MAX_NEW_TOKENS), use_tqdm=False)
        return [output.outputs[0].text.strip() for output in outputs]

    return answer


class Student:
    """A worker of the cluster: loads the student once, then answers batch after batch."""

    def __init__(self, model: str, question: str | None) -> None:
        has_vllm = importlib.util.find_spec("vllm") is not None
        self._answer = (vllm_answers if has_vllm else transformers_answers)(model, question)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers, errors = zip(*self._answers(list(batch["bytes"])), strict=True)
        return {"path": batch["path"], "answer": list(answers), "error": list(errors)}

    def _answers(self, recordings: Sequence[bytes]) -> list[tuple[str, str]]:
        """`(answer, error)` of each; a batch that fails is halved, so that a broken recording costs no other."""
        try:
            return [(answer, "") for answer in self._answer(recordings)]
        except (ValueError, RuntimeError) as error:
            if len(recordings) == 1:
                return [("", str(error))]
        middle = len(recordings) // 2
        return self._answers(recordings[:middle]) + self._answers(recordings[middle:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hub id or folder of a student")
    parser.add_argument("recordings", help="folder, or s3:// or gs:// address of one")
    parser.add_argument("out", help="folder for Parquet files with the columns path, answer, error")
    parser.add_argument("--question", help="about each recording; without it, the recording is the question")
    parser.add_argument("--workers", type=int, default=1, help="students at work at the same time")
    parser.add_argument("--gpus", type=float, default=0, help="of each worker")
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init()
    # One core reads and writes. Where workers hold all of them, Ray Data waits for ever.
    cores = ray.cluster_resources()["CPU"] - 1
    recordings = ray.data.read_binary_files(arguments.recordings, include_paths=True, file_extensions=SUFFIXES)
    answers = recordings.map_batches(
        Student,
        fn_constructor_args=(arguments.model, arguments.question),
        batch_size=arguments.batch_size,
        compute=ray.data.ActorPoolStrategy(size=arguments.workers),
        num_cpus=min(1.0, cores / arguments.workers),
        num_gpus=arguments.gpus,
    )
    answers.write_parquet(arguments.out)


if __name__ == "__main__":
    main()
