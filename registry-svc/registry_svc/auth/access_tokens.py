"""The short-lived access tokens of docker's token authentication: JWTs signed with Ed25519 that say
what their holder may do in which repositories."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import jwt
from ams_common.ids import uuid7
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry_svc import names

TTL = timedelta(minutes=5)
MAX_SCOPES = 20  # each costs a query and a question to catalog-svc
PULL, PUSH, DELETE = "pull", "push", "delete"
ACTIONS = (PULL, PUSH, DELETE)

_ALGORITHM = "EdDSA"
_ISSUER = "ams-registry"
_LEEWAY_S = 5  # replicas' clocks differ
_SCOPE = re.compile(r"repository(?:\([a-z]+\))?:([^:]+):([a-z,*]*)")


class AccessTokenError(Exception):
    """The token is none of ours, or its time is over."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a client asks for: actions on one image name."""

    name: str
    actions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Grant:
    """What was decided on a scope; `denial` tells why actions are missing."""

    name: str
    actions: frozenset[str]
    denial: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """What a token says. `credential` is "push:<push token id>" or "key:<SHA-256 of the API key>"."""

    token_id: UUID
    credential: str
    grants: tuple[Grant, ...]

    def on(self, name: str) -> Grant | None:
        """What was decided about the image name; None if it wasn't asked for."""
        return next((grant for grant in self.grants if grant.name == name), None)

    def allows(self, name: str, action: str) -> bool:
        grant = self.on(name)
        return grant is not None and action in grant.actions


def parse_scopes(texts: Iterable[str]) -> list[Scope]:
    """The repository scopes among those asked for; nobody is granted others (the catalog).

    "*" is all actions. What names no repository that can be ours is left out.
    """
    wanted: dict[str, frozenset[str]] = {}
    for scope in " ".join(texts).split()[:MAX_SCOPES]:
        match = _SCOPE.fullmatch(scope)
        if match is None or not names.is_name(match[1]):
            continue
        asked = set(match[2].split(","))
        actions = frozenset(ACTIONS if "*" in asked else asked & set(ACTIONS))
        wanted[match[1]] = wanted.get(match[1], frozenset()) | actions
    return [Scope(name, actions) for name, actions in wanted.items()]


class AccessTokens:
    """Signs access tokens and reads them. `service` is their audience: our own public name."""

    def __init__(self, seed: bytes, service: str) -> None:
        """`seed`: the private key's 32 bytes."""
        self.service = service
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public_key = self._private_key.public_key()

    def sign(self, credential: str, grants: Sequence[Grant], now: datetime) -> str:
        claims = {
            "iss": _ISSUER,
            "aud": self.service,
            "sub": credential,
            "jti": str(uuid7()),
            "iat": now,
            "exp": now + TTL,
            # "refusal" is older than `denial`: replicas of two versions read each other's tokens.
            "access": [
                {"type": "repository", "name": g.name, "actions": sorted(g.actions), "refusal": g.denial}
                for g in grants
            ],
        }
        return jwt.encode(claims, self._private_key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Access:
        """What one of our tokens says. Raises AccessTokenError."""
        try:
            claims = jwt.decode(
                token,
                self._public_key,
                algorithms=[_ALGORITHM],
                audience=self.service,
                issuer=_ISSUER,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "jti"]},
            )
            grants = tuple(
                Grant(entry["name"], frozenset(entry["actions"]), entry["refusal"])
                for entry in claims["access"]
            )
            return Access(UUID(claims["jti"]), claims["sub"], grants)
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            raise AccessTokenError("The access token is not valid, or its time is over.") from None
