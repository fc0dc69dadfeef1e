"""The server of transformers with what it lacks for audio: OpenAI's HTTP interface for one student."""
