"""Personal access tokens as bearer tokens: traded at identity-svc for access tokens, kept for a moment.

A revoked one is refused by the services themselves, within a second; what is kept here only saves asking.
"""

import time
from collections.abc import Callable
from typing import Final

from ams.identity.v1 import token_service_pb2 as pb
from ams_common.errors import UnauthenticatedError
from ams_common.personal_tokens import SCHEME, hash_token

from ams_rest.areas import AREAS
from ams_rest.backends import Backends

_TOKENS: Final = next(area for area in AREAS if area.name == "tokens")
_TRADE: Final = _TOKENS.service.methods_by_name["TradeToken"]
_KEPT_S = 60.0
_MOST_KEPT = 10_000


class TokenTrader:
    """One for the process."""

    def __init__(self, backends: Backends, clock_s: Callable[[], float] = time.time) -> None:
        self._backends = backends
        self._clock_s = clock_s
        # By the secret's hash, in the order in which they came.
        self._kept: dict[bytes, tuple[str, float]] = {}

    async def trade(self, authorization: str | None) -> str | None:
        """What the services are to get in place of an Authorization header: the same for what is no personal
        access token. Raises UnauthenticatedError for one that isn't good, or AppError."""
        secret = _secret_of(authorization)
        if secret is None:
            return authorization
        given = hash_token(secret)
        if given is None:
            raise UnauthenticatedError("token_invalid", "This personal access token is not valid.")
        access_token, until_s = self._kept.get(given, ("", 0.0))
        if self._clock_s() >= until_s:
            request = pb.TradeTokenRequest(secret=secret)
            answer: pb.TradeTokenResponse = await self._backends.call(_TOKENS, _TRADE, request, None)
            access_token = answer.access_token
            self._keep(given, access_token, answer.expires_at.ToMilliseconds() / 1000)
        return f"Bearer {access_token}"

    def forget(self, authorization: str | None) -> bool:
        """Trade it anew the next time: what was kept of it has ended. False for what is no such token."""
        secret = _secret_of(authorization)
        given = hash_token(secret) if secret is not None else None
        return given is not None and self._kept.pop(given, None) is not None

    def _keep(self, given: bytes, access_token: str, expires_at_s: float) -> None:
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[given] = access_token, min(expires_at_s, self._clock_s() + _KEPT_S)


def _secret_of(authorization: str | None) -> str | None:
    scheme, _, secret = (authorization or "").partition(" ")
    return secret if scheme.lower() == "bearer" and secret.startswith(SCHEME) else None
