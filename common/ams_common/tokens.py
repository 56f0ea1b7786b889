"""AMS access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), verified from a JWK Set by
every service itself."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import jwt
from ams.policy.v1.policy_pb2 import Role
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ams_common.context import Caller
from ams_common.ended_tokens import EndedTokens
from ams_common.errors import AppError, UnauthenticatedError, UnavailableError

ALGORITHM = "EdDSA"
ISSUER = "ams"
AUDIENCE = "ams"
ACCESS_TOKEN_TTL = timedelta(minutes=10)

_SERVICE_SUBJECT = "service:"
_LEEWAY_S = 5
# An unknown key id makes the set be fetched again, but never more often than this, answered or not.
_REFETCH_INTERVAL_S = 2.0
_MAX_AGE_S = 300.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the id under which its public half stands in the JWK Set."""

    key_id: str
    private_key: Ed25519PrivateKey

    def jwk(self) -> dict[str, str]:
        """The public half as an RFC 7517 JWK."""
        public = jwt.algorithms.OKPAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        return {**public, "kid": self.key_id, "use": "sig", "alg": ALGORITHM}


def jwks_json(keys: Iterable[SigningKey]) -> str:
    """The RFC 7517 JWK Set of the public halves."""
    return json.dumps({"keys": [key.jwk() for key in keys]})


def sign_user_token(
    key: SigningKey,
    user_id: UUID,
    roles: Sequence[Role.ValueType],
    active_role: Role.ValueType,
    now: datetime,
    *,
    credential: str = "",
    is_read_only: bool = False,
    generation: int = 0,
    expires_at: datetime | None = None,
) -> str:
    """An access token for a person; roles stand in it by name, the rest as in Caller. It ends with what it
    was traded for (`expires_at`), after ACCESS_TOKEN_TTL at the latest."""
    claims = {
        "roles": [Role.Name(role) for role in roles],
        "active_role": Role.Name(active_role),
        "credential": credential,
        "is_read_only": is_read_only,
        "generation": generation,
    }
    if expires_at is not None:
        claims["exp"] = min(expires_at, now + ACCESS_TOKEN_TTL)
    return _sign(key, str(user_id), now, claims)


def sign_service_token(key: SigningKey, service: str, now: datetime) -> str:
    """An access token for one of our services: its subject is "service:<name>"."""
    return _sign(key, _SERVICE_SUBJECT + service, now, {})


def _sign(key: SigningKey, subject: str, now: datetime, claims: Mapping[str, object]) -> str:
    registered = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + ACCESS_TOKEN_TTL}
    return jwt.encode(
        {**registered, **claims}, key.private_key, algorithm=ALGORITHM, headers={"kid": key.key_id}
    )


class KeySource(Protocol):
    """Where a verifier of tokens finds public keys by their ids."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The public key with this id, or None."""


class JwksKeySource:
    """Public keys from a JWK Set that is fetched when an unknown key id is seen and kept for a while."""

    def __init__(self, fetch: Callable[[], Awaitable[str]]) -> None:
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Raises UnavailableError when no set could be had yet."""
        is_known = key_id in self._keys
        is_old = time.monotonic() - self._fetched_at_s > _MAX_AGE_S
        # Who brings a known key waits for no fetch that another has begun.
        if not is_known or (is_old and not self._fetching.locked()):
            await self._refetch()
        return self._keys.get(key_id)

    async def _refetch(self) -> None:
        async with self._fetching:
            if self._keys and time.monotonic() - self._tried_at_s < _REFETCH_INTERVAL_S:
                return
            try:
                text = await self._fetch()
            except AppError as error:
                if self._keys:
                    return  # go on with what is known: identity-svc being away must not sign everybody out
                raise UnavailableError(
                    "keys_unavailable", "Tokens can't be checked at the moment."
                ) from error
            finally:
                self._tried_at_s = time.monotonic()
            self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(text).keys if key.key_id}
            self._fetched_at_s = time.monotonic()


class TokenVerifier:
    """Turns an access token into a Caller. `ended` is kept up to date by whoever made it."""

    def __init__(self, keys: KeySource, ended: EndedTokens | None = None) -> None:
        self._keys = keys
        self.ended = ended if ended is not None else EndedTokens()

    async def verify(self, token: str) -> Caller:
        """Who the token speaks for. Raises UnauthenticatedError: token_expired, token_invalid, or that it has
        ended before its time (see EndedTokens.error_of)."""
        caller = await self._read(token)
        if (error := self.ended.error_of(caller)) is not None:
            raise error
        return caller

    async def _read(self, token: str) -> Caller:
        try:
            key = await self._keys.find(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise UnauthenticatedError("token_invalid", "This access token is not valid.")
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "sub"]},
            )
            return _caller(claims)
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("token_expired", "This access token has expired.") from None
        except (jwt.PyJWTError, ValueError):
            raise UnauthenticatedError("token_invalid", "This access token is not valid.") from None


def _caller(claims: dict[str, object]) -> Caller:
    subject = str(claims["sub"])
    expires_at = datetime.fromtimestamp(int(str(claims["exp"])), UTC)
    if subject.startswith(_SERVICE_SUBJECT):
        name = subject.removeprefix(_SERVICE_SUBJECT)
        return Caller(service=name, credential="service", expires_at=expires_at)
    roles = claims.get("roles")
    if not isinstance(roles, list):
        raise ValueError("roles must be a list")
    return Caller(
        user_id=UUID(subject),
        roles=frozenset(Role.Value(str(role)) for role in roles),
        active_role=Role.Value(str(claims.get("active_role", "ROLE_UNSPECIFIED"))),
        credential=str(claims.get("credential", "")),
        is_read_only=claims.get("is_read_only") is True,
        generation=int(str(claims.get("generation", 0))),
        expires_at=expires_at,
    )
