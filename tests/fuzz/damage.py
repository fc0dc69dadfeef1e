"""What can happen to a file: to its bytes, or to a value in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


HEADER_BYTES = 128
TEXT_DAMAGES = ("cut", "hole", "twice", "blank", "bit", "insert")


@dataclass(frozen=True)
class Damage:
    """One change of a file: its kind, where, in parts of the file's length, and with what."""

    kind: str
    where: float
    length: float
    value: bytes

    def do(self, data: bytes) -> bytes:
        if not data:
            return data
        at = int(self.where * len(data))
        upto = at + max(1, int(self.length * len(data)))
        match self.kind:
            case "cut":
                return data[: max(at, 1)]
            case "hole":
                return data[:at] + data[upto:]
            case "twice":
                return data[:upto] + data[at:]
            case "blank":
                return data[:at] + bytes(len(data[at:upto])) + data[upto:]
            case "bit":
                at = min(at, len(data) - 1)
                return data[:at] + bytes([data[at] ^ (1 << self.value[0] % 8)]) + data[at + 1 :]
            case "insert":
                return data[:at] + self.value + data[at:]
            case "header":
                at = int(self.where * min(HEADER_BYTES, len(data)))
                return data[:at] + self.value[:4] + data[at + 4 :]
        return data


def damages(
    kinds: Sequence[str], lengths: Sequence[float], values: st.SearchStrategy[bytes] | None = None
) -> st.SearchStrategy[Damage]:
    """Changes of these kinds, over these parts of a file's length."""
    values = st.binary(min_size=1, max_size=4) if values is None else values
    return st.builds(
        Damage, st.sampled_from(kinds), st.floats(0, 1, exclude_max=True), st.sampled_from(lengths), values
    )


def paths_of(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Keys and indices that lead to each value of nested dicts and lists."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield (*before, key)
        yield from paths_of(value, (*before, key))


def holder_of(content: Any, path: tuple[Any, ...]) -> Any:
    """The dict or list that holds the value at the end of a path."""
    for key in path[:-1]:
        content = content[key]
    return content
