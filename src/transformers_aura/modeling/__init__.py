"""The student: its configuration, patch embedding, adapter, and how it is composed with its base LLM."""
