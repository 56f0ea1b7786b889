"""Access tokens that have ended before their time, in memory: what every verifier of tokens consults."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from ams.identity.v1.token_ends_pb2 import TokenEnd

from ams_common.context import Caller
from ams_common.errors import UnauthenticatedError

# Longer than any access token lasts (tokens.ACCESS_TOKEN_TTL), with something for clocks that differ.
REMEMBERED_S = 660.0


class EndedTokens:
    """What has ended lately, and the streams that such tokens have opened."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        # In the order in which they came, with when they may be dropped.
        self._credentials: dict[str, float] = {}
        self._generations: dict[UUID, tuple[int, float]] = {}
        self._open: dict[asyncio.Timeout, Caller] = {}

    def apply(self, end: TokenEnd) -> None:
        """Takes in that tokens have ended, also again. Raises ValueError for an id that is none."""
        drop_at_s = self._clock_s() + REMEMBERED_S
        if end.WhichOneof("tokens") == "credential":
            self._credentials.pop(end.credential, None)
            self._credentials[end.credential] = drop_at_s
        elif end.WhichOneof("tokens") == "older_tokens":
            user_id = UUID(end.older_tokens.user_id)
            known, _ = self._generations.pop(user_id, (0, 0.0))
            self._generations[user_id] = max(known, end.older_tokens.generation), drop_at_s
        self._drop_old()
        now_s = asyncio.get_running_loop().time()
        for until, caller in list(self._open.items()):
            if self.error_of(caller) is not None:
                until.reschedule(now_s)
                del self._open[until]

    def error_of(self, caller: Caller) -> UnauthenticatedError | None:
        """Why the caller's token isn't good any more, or None: session_ended, token_revoked, or token_ended
        where a new one can be had."""
        if caller.credential in self._credentials:
            if caller.credential.startswith("session:"):
                return UnauthenticatedError("session_ended", "This session has ended. Sign in again.")
            return UnauthenticatedError("token_revoked", "This personal access token was revoked.")
        least, _ = self._generations.get(caller.user_id, (0, 0.0)) if caller.user_id else (0, 0.0)
        if caller.generation < least:
            return UnauthenticatedError(
                "token_ended", "What this access token says has changed. Go on with a new one."
            )
        return None

    @contextmanager
    def cutting(self, until: asyncio.Timeout, caller: Caller) -> Iterator[None]:
        """Ends `until`, which must have been entered, when the caller's token ends."""
        self._open[until] = caller
        try:
            yield
        finally:
            self._open.pop(until, None)

    def _drop_old(self) -> None:
        now_s = self._clock_s()
        for credential, drop_at_s in list(self._credentials.items()):
            if drop_at_s > now_s:
                break
            del self._credentials[credential]
        for user_id, (_, drop_at_s) in list(self._generations.items()):
            if drop_at_s > now_s:
                break
            del self._generations[user_id]
