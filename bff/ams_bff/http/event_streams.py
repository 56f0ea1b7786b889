"""The event streams that are open in this process: how many there may be, and their end when it stops.

They are counted here and nowhere else: with several processes a session may have as many in each.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ams_common.errors import ResourceExhaustedError, UnavailableError

from ams_bff.http.session_roles import SessionRoles

# A browser has six connections to a host over HTTP/1.1: streams in open windows must leave some free.
MOST_OF_ONE_SESSION = 4
# Each asks the services every few seconds for as long as a page is looked at.
MOST = 250
_RETRY_AFTER_S = "30"


class EventStreams:
    """`beat_s`: how long each pauses before it looks again."""

    def __init__(self, beat_s: float) -> None:
        self.beat_s = beat_s
        self.session_roles = SessionRoles(beat_s)
        self._by_session: Counter[str] = Counter()
        self._ends: set[asyncio.Event] = set()
        self._is_stopping = False

    @contextmanager
    def slot(self, session_secret: str) -> Iterator[asyncio.Event]:
        """Room for one more; the event that it gives is set when the stream has to end. Raises
        ResourceExhaustedError when the session has too many, UnavailableError when the process has."""
        if self._by_session[session_secret] >= MOST_OF_ONE_SESSION:
            raise ResourceExhaustedError(
                "too_many_streams",
                f"At most {MOST_OF_ONE_SESSION} live pages are served at a time. Close one of them.",
                retry_after_s=_RETRY_AFTER_S,
            )
        if self._is_stopping or len(self._ends) >= MOST:
            raise UnavailableError(
                "no_stream_free", "No more live pages can be served now.", retry_after_s=_RETRY_AFTER_S
            )
        end = asyncio.Event()
        self._by_session[session_secret] += 1
        self._ends.add(end)
        try:
            yield end
        finally:
            self._ends.discard(end)
            self._by_session[session_secret] -= 1
            self._by_session += Counter()  # drops the sessions that have none

    def stop(self) -> None:
        """End all of them, and admit no more."""
        self._is_stopping = True
        for end in self._ends:
            end.set()
