"""What the page allows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """
    What one visitor may take, and how many there may be.

    Attributes:
        max_seconds: of a recording.
        max_new_tokens: of an answer.
        max_file_bytes: of an uploaded file.
        max_visitors: at once.
        idle_seconds: a visitor who did nothing for so long makes room for another if there is none.
        max_answers: that are computed at once; others wait.
        max_waiting: requests that may wait.
    """

    max_seconds: float = 60.0
    max_new_tokens: int = 256
    max_file_bytes: int = 20 * 1024**2
    max_visitors: int = 16
    idle_seconds: float = 600.0
    max_answers: int = 2
    max_waiting: int = 32
