"""faster-whisper behind the address at which OpenAI's clients ask for transcripts; beside an LLM.

python -m benchmarks.faster_whisper_server --port 8001
"""

import argparse
from typing import Annotated

import uvicorn
from fastapi import FastAPI, File

from benchmarks.systems import Systems
from transformers_aura import load_audio


COMPUTE_TYPE = "float32"


def application(systems: Systems) -> FastAPI:
    """What is served: `/health`, and transcripts, one after another."""
    app = FastAPI()
    systems.faster_whisper(COMPUTE_TYPE)  # loaded before somebody asks

    @app.get("/health")
    def health() -> None:
        return None

    @app.post("/v1/audio/transcriptions")
    def transcription(file: Annotated[bytes, File()]) -> dict[str, str]:
        return {"text": systems.transcript_of_faster_whisper(load_audio(file), COMPUTE_TYPE)}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    arguments = parser.parse_args()
    uvicorn.run(application(Systems()), host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
