"""Reports of a code host's secret scanning, in the form of GitHub's partner program: a JSON list of what was
found, signed with ECDSA over P-256 by a key of a list that the host publishes."""

import asyncio
import json
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from ams_common.bodies import read_bounded
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
)
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MAX_FOUND = 500
_MAX_URL_CHARACTERS = 500
_MAX_LIST_BYTES = 200_000
_FETCH_TIMEOUT_S = 4.0
# The list is asked for again after so long, and for a key that it doesn't have.
_FRESH_S = 3600.0
# But not sooner than that: nobody makes us ask by making names up.
_RETRY_S = 30.0
# While the host can't be reached, what it said counts for so long.
_STALE_S = 24 * 3600.0

Fetch = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class FoundToken:
    """One that was found. `url` is where, "" where the host doesn't say."""

    token: str
    token_type: str
    url: str


class ScanningKeys:
    """The host's public keys by their identifiers, as far as they are known now.

    `fetch` gets its list, None where the deployment has none. Not more than one question is under way.
    """

    def __init__(self, fetch: Fetch | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._known_at_s = self._asked_at_s = -1e12
        self._lock = asyncio.Lock()

    async def find(self, identifier: str) -> EllipticCurvePublicKey:
        """Raises UnauthenticatedError signature_invalid for a key that the host doesn't publish,
        UnavailableError while nobody can say, FailedPreconditionError secret_scanning_off."""
        if self._fetch is None:
            raise FailedPreconditionError("secret_scanning_off", "This platform takes no such reports.")
        async with self._lock:
            now_s = self._clock()
            is_old = now_s - self._known_at_s > _FRESH_S
            if (is_old or identifier not in self._keys) and now_s - self._asked_at_s > _RETRY_S:
                self._asked_at_s = now_s
                await self._refresh(self._fetch, now_s)
        if now_s - self._known_at_s > _STALE_S:
            raise UnavailableError("scanning_keys_unavailable", "The keys of the code host can't be had now.")
        if identifier not in self._keys:
            raise signature_invalid()
        return self._keys[identifier]

    async def _refresh(self, fetch: Fetch, now_s: float) -> None:
        try:
            self._keys = _read_keys(await fetch())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
        self._known_at_s = now_s


def fetching(url: str) -> Fetch | None:
    """Gets the list of a URL; None for no URL."""
    if not url:
        return None

    async def fetch() -> bytes:
        timeout = aiohttp.ClientTimeout(total=_FETCH_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"the code host answered {answer.status}")
            return await read_bounded(answer.content.iter_any(), _MAX_LIST_BYTES)

    return fetch


def _read_keys(data: bytes) -> Mapping[str, EllipticCurvePublicKey]:
    """Raises ValueError for what isn't such a list. Keys of other kinds are left out."""
    try:
        listed = json.loads(data)["public_keys"]
        pems = {str(each["key_identifier"]): str(each["key"]).encode() for each in listed}
    except (KeyError, TypeError) as error:
        raise ValueError("this is no list of keys") from error
    keys = {identifier: load_pem_public_key(pem) for identifier, pem in pems.items()}
    return {
        identifier: key
        for identifier, key in keys.items()
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    }


def check_signature(key: EllipticCurvePublicKey, body: bytes, signature: str) -> None:
    """Raises UnauthenticatedError signature_invalid."""
    try:
        key.verify(b64decode(signature, validate=True), body, ECDSA(SHA256()))
    except (Base64Error, ValueError, InvalidSignature):
        raise signature_invalid() from None


def read_report(body: bytes) -> Sequence[FoundToken]:
    """Raises InvalidArgumentError report_invalid for what isn't a list of at most MAX_FOUND found tokens."""
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        raise _report_invalid() from None
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_FOUND:
        raise _report_invalid()
    return [_read_token(each) for each in listed]


def _read_token(each: object) -> FoundToken:
    if not isinstance(each, dict):
        raise _report_invalid()
    token, token_type, url = each.get("token"), each.get("type"), each.get("url") or ""
    if not isinstance(token, str) or not isinstance(token_type, str) or not isinstance(url, str):
        raise _report_invalid()
    # It is kept and shown, by a report that may come to rest in mails.
    shown = "".join(letter for letter in url if letter.isprintable())
    return FoundToken(token, token_type, shown[:_MAX_URL_CHARACTERS])


def signature_invalid() -> UnauthenticatedError:
    return UnauthenticatedError("signature_invalid", "The report isn't signed by a key of the code host.")


def _report_invalid() -> InvalidArgumentError:
    return InvalidArgumentError(
        "report_invalid", f"A report is a JSON list of up to {MAX_FOUND} objects with token, type and url."
    )
