"""AuRA for transformers: an LLM that hears, as a log-mel patch embedding and LoRA, taught by a frozen Whisper encoder."""

__version__ = "0.1.0"
