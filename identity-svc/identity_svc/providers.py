"""The client of OpenID Connect issuers: discovery, keys, and exchanging codes for tokens."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import jwt
from ams_common.bodies import read_bounded
from ams_common.errors import NotFoundError, UnavailableError

from identity_svc.issuers import (
    ALGORITHMS,
    AuthorizationRequest,
    Claimant,
    Issuer,
    authorization_url,
    check_id_token,
    claimant,
    sign_in_refused,
)

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 256 * 1024
_METADATA_AGE_S = 3600.0
# An unknown key id makes the keys be fetched again, but never more often than this.
_KEYS_REFETCH_S = 10.0
# For so long at most a key is accepted that the issuer has withdrawn.
_KEYS_AGE_S = 300.0
_LEEWAY_S = 30


class Provider:
    """One issuer, as its discovery document describes it."""

    def __init__(self, http: aiohttp.ClientSession, issuer: Issuer, redirect_uri: str) -> None:
        self.issuer = issuer
        self._http = http
        self._redirect_uri = redirect_uri
        self._metadata: Mapping[str, Any] = {}
        self._metadata_at_s = float("-inf")
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._keys_at_s = float("-inf")
        self._fetching = asyncio.Lock()

    async def authorization_url(self, request: AuthorizationRequest) -> str:
        """The URL to send a browser to. Raises UnavailableError when the issuer can't be reached."""
        endpoint = (await self._discover())["authorization_endpoint"]
        return authorization_url(endpoint, self.issuer, self._redirect_uri, request)

    async def authenticate(self, code: str, nonce: str, code_verifier: str) -> Claimant:
        """Who has signed in, by the code that came back.

        Raises UnauthenticatedError, PermissionDeniedError and UnavailableError.
        """
        tokens = await self._exchange_code(code, code_verifier)
        claims = await self._verify(str(tokens.get("id_token", "")))
        subject, issuer_url = check_id_token(claims, self.issuer, nonce), str(claims["iss"])
        if "email" not in claims:
            claims = await self._fetch_userinfo(str(tokens.get("access_token", "")), subject)
        return claimant(issuer_url, subject, claims, self.issuer)

    async def _discover(self) -> Mapping[str, Any]:
        async with self._fetching:
            if time.monotonic() - self._metadata_at_s > _METADATA_AGE_S:
                status, metadata = await self._fetch("GET", self.issuer.discovery_url)
                needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
                # A document of another issuer would make that one's tokens good (RFC 8414, 3.3).
                if status != 200 or metadata.get("issuer") != self.issuer.url or not _has(metadata, needed):
                    raise self._unavailable()
                self._metadata, self._metadata_at_s = metadata, time.monotonic()
        return self._metadata

    async def _exchange_code(self, code: str, code_verifier: str) -> Mapping[str, Any]:
        metadata = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": code_verifier,
        }
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        secret = self.issuer.client_secret
        if secret and "client_secret_basic" in methods:
            # Both parts are form-encoded first (RFC 6749, 2.3.1).
            proof = aiohttp.encode_basic_auth(quote_plus(self.issuer.client_id), quote_plus(secret))
            headers = {"Authorization": proof}
        else:
            headers = {}
            form |= {"client_id": self.issuer.client_id} | ({"client_secret": secret} if secret else {})
        status, tokens = await self._fetch("POST", metadata["token_endpoint"], data=form, headers=headers)
        if status == 200:
            return tokens
        # The error is about our client, not about the person: showing it would help nobody but an attacker.
        log.warning("code refused", extra={"issuer": self.issuer.id, "error": str(tokens.get("error"))[:100]})
        raise sign_in_refused() if 400 <= status < 500 else self._unavailable()

    async def _verify(self, token: str) -> Mapping[str, Any]:
        """The claims of an ID token whose signature, issuer, audience and times are good."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key = header.get("alg"), await self._key(header.get("kid"))
            if algorithm not in ALGORITHMS or key is None:
                raise sign_in_refused()
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self.issuer.client_id,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
            if not self.issuer.issues_as(str(claims["iss"])):
                raise sign_in_refused()
            return claims
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.warning("ID token refused", extra={"issuer": self.issuer.id, "error": type(error).__name__})
            raise sign_in_refused() from None

    async def _key(self, key_id: str | None) -> jwt.PyJWK | None:
        age_s = time.monotonic() - self._keys_at_s
        if age_s > _KEYS_AGE_S or (key_id not in self._keys and age_s > _KEYS_REFETCH_S):
            metadata = await self._discover()
            status, document = await self._fetch("GET", metadata["jwks_uri"])
            if status != 200:
                raise self._unavailable()
            keys = jwt.PyJWKSet.from_dict(dict(document)).keys
            self._keys, self._keys_at_s = {key.key_id: key for key in keys}, time.monotonic()
        return self._keys.get(key_id)

    async def _fetch_userinfo(self, access_token: str, subject: str) -> Mapping[str, Any]:
        """Claims that the ID token leaves out. They must be of the same subject (Core, 5.3.2)."""
        endpoint = (await self._discover()).get("userinfo_endpoint")
        if not endpoint:
            return {}
        headers = {"Authorization": f"Bearer {access_token}"}
        status, claims = await self._fetch("GET", endpoint, headers=headers)
        if status != 200 or claims.get("sub") != subject:
            raise sign_in_refused()
        return claims

    async def _fetch(self, method: str, url: str, **options: Any) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object. Redirects aren't followed: an issuer's endpoints are where it says."""
        try:
            async with self._http.request(method, url, allow_redirects=False, **options) as answer:
                document = json.loads(await read_bounded(answer.content.iter_any(), _MAX_ANSWER_BYTES))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("issuer unreachable", extra={"issuer": self.issuer.id, "error": type(error).__name__})
            raise self._unavailable() from error
        return answer.status, document if isinstance(document, dict) else {}

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            "issuer_unavailable", f"{self.issuer.label} can't be reached. Try again, or use a mailed code."
        )


class Providers:
    """The clients of the issuers that the deployment trusts, by their ids."""

    def __init__(self, http: aiohttp.ClientSession, issuers: Sequence[Issuer], public_url: str) -> None:
        base = public_url.rstrip("/")
        self._providers = {
            issuer.id: Provider(http, issuer, f"{base}/login/with/{issuer.id}/return") for issuer in issuers
        }

    @property
    def issuers(self) -> Sequence[Issuer]:
        """The issuers in the order of the setting, which is the order of the buttons."""
        return [provider.issuer for provider in self._providers.values()]

    def find(self, issuer_id: str) -> Provider:
        """The client of an issuer. Raises NotFoundError."""
        provider = self._providers.get(issuer_id)
        if provider is None:
            raise NotFoundError("issuer_not_found", "There is no such way to sign in.")
        return provider


@asynccontextmanager
async def open_providers(issuers: Sequence[Issuer], public_url: str) -> AsyncIterator[Providers]:
    """All clients, with one pool of connections that is closed at the end."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield Providers(http, issuers, public_url)


def _has(document: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(str(document.get(name, "")).startswith(("https://", "http://")) for name in names)
