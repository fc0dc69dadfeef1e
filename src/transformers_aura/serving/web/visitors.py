"""Who is on the page: what each open page has of its own, for so many pages at once."""

import secrets
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar


T = TypeVar("T")


class PageFullError(RuntimeError):
    """As many visitors are on the page as may be. The message says so to the next one."""


class UnknownVisitorError(RuntimeError):
    """A visitor who left, or had to make room for another. The message says so."""


class Visitors(Generic[T]):
    """
    What each visitor has. Where there is no room for another, whoever did nothing for `idle_seconds` has to make room.

    Args:
        new: makes what a visitor has.
        max_visitors: at once.
        idle_seconds: a visitor who did nothing for so long counts as gone if there is no room for another one.
        clock: the time in seconds.
    """

    def __init__(
        self,
        new: Callable[[], T],
        max_visitors: int,
        idle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._new = new
        self._max_visitors = max_visitors
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._present: dict[str, tuple[T, float]] = {}  # whoever did something last is last

    def __len__(self) -> int:
        return len(self._present)

    def enter(self) -> str:
        """
        A new visitor's secret name.

        Raises:
            PageFullError: there is no room.
        """
        with self._lock:
            now = self._clock()
            self._make_room(now)
            visitor = secrets.token_urlsafe(16)
            self._present[visitor] = self._new(), now
            return visitor

    def of(self, visitor: str) -> T:
        """
        What a visitor has.

        Raises:
            UnknownVisitorError: nobody of this name is there.
        """
        with self._lock:
            if visitor not in self._present:
                raise UnknownVisitorError("This page was not used for long, and its chat is gone. Reload the page.")
            belongings, _ = self._present.pop(visitor)
            self._present[visitor] = belongings, self._clock()
            return belongings

    def leave(self, visitor: str) -> None:
        """Lets go of what a visitor had, who need not be there."""
        with self._lock:
            self._present.pop(visitor, None)

    def _make_room(self, now: float) -> None:
        if len(self._present) < self._max_visitors:
            return
        longest_idle, (_, last_seen) = next(iter(self._present.items()))
        if now - last_seen < self._idle_seconds:
            raise PageFullError(
                f"{self._max_visitors} people use this page now, as many as it takes. Reload it in a few minutes."
            )
        del self._present[longest_idle]
