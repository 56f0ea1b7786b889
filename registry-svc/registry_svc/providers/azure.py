"""The provider for Azure Container Registry.

Manifests are written and deleted through azure-containerregistry. Blobs stream through the registry's
own data endpoint, and manifests are read there too: the package only hands them out parsed, but what a
client gets must have the digest that it asked for. Both sign in with a Microsoft Entra token that the
registry exchanges, first for a refresh token of its own, then for access to one repository, or to two when
a blob of the one becomes a blob of the other.
"""

import io
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
import jwt
from azure.containerregistry import DigestValidationError
from azure.containerregistry.aio import ContainerRegistryClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from cachetools import TLRUCache

from registry_svc.names import is_digest
from registry_svc.providers.oci_client import OciClient, ProviderAuth, fault
from registry_svc.providers.provider import ProviderError

ENTRA_SCOPE = "https://containerregistry.azure.net/.default"
_RENEW_BEFORE_S = 60.0
_KEPT_TOKENS = 1000


class EntraExchange:
    """Gets the registry's access tokens for the identity that `credential` proves."""

    def __init__(self, http: aiohttp.ClientSession, url: str, credential: AsyncTokenCredential) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._service = urlsplit(url).netloc
        self._credential = credential
        self._refresh_token, self._renew_at_s = "", 0.0
        # Access tokens by their scope, each until it is to be renewed.
        self._access_tokens: TLRUCache[str, str] = TLRUCache(
            _KEPT_TOKENS, ttu=lambda scope, token, now: _renewal_s(token), timer=time.time
        )

    async def headers(self, name: str, source: str = "") -> Mapping[str, str]:
        """Returns headers with an access token for all that we do with the repository `name`, and to read in
        `source`. Raises ProviderError."""
        scope = f"repository:{name}:pull,push,delete"
        if source:
            scope += f" repository:{source}:pull"
        if (token := self._access_tokens.get(scope)) is None:
            token = self._access_tokens[scope] = await self._new_access_token(scope)
        return {"Authorization": f"Bearer {token}"}

    async def _new_access_token(self, scope: str) -> str:
        if time.time() >= self._renew_at_s:
            await self._renew_refresh_token()
        form = {
            "grant_type": "refresh_token",
            "service": self._service,
            "scope": scope,
            "refresh_token": self._refresh_token,
        }
        return await self._exchange("token", form, "access_token")

    async def _renew_refresh_token(self) -> None:
        try:
            entra = await self._credential.get_token(ENTRA_SCOPE)
        except AzureError as error:
            raise ProviderError("no Microsoft Entra token can be had") from error
        form = {"grant_type": "access_token", "service": self._service, "access_token": entra.token}
        self._refresh_token = await self._exchange("exchange", form, "refresh_token")
        self._renew_at_s = _renewal_s(self._refresh_token)

    async def _exchange(self, endpoint: str, form: Mapping[str, str], wanted: str) -> str:
        try:
            async with self._http.post(f"{self._url}/oauth2/{endpoint}", data=form) as answer:
                if answer.status != 200:
                    raise ProviderError(f"the registry's {endpoint} endpoint answered {answer.status}")
                return str((await answer.json())[wanted])
        except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
            raise ProviderError(f"the registry's {endpoint} endpoint gave no token") from error


class AzureProvider(OciClient):
    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        client: ContainerRegistryClient,
        auth: ProviderAuth,
    ) -> None:
        super().__init__(http, url, auth)
        self._client = client
        # The package insists on TLS unless it is told; a plain URL is for tests only.
        self._options = {} if url.startswith("https://") else {"enforce_https": False}

    async def put_manifest(self, name: str, reference: str, media_type: str, body: bytes) -> None:
        tag = None if is_digest(reference) else reference
        try:
            await self._client.set_manifest(
                name, io.BytesIO(body), tag=tag, media_type=media_type, **self._options
            )
        except HttpResponseError as error:
            text = error.response.text() if error.response is not None else ""
            raise fault(f"PUT manifest {reference}", error.status_code or 0, text) from error
        except (AzureError, DigestValidationError) as error:
            raise ProviderError(repr(error)) from error

    async def delete_manifest(self, name: str, digest: str) -> None:
        try:
            await self._client.delete_manifest(name, digest, **self._options)
        except AzureError as error:
            raise ProviderError(repr(error)) from error


def _renewal_s(token: str) -> float:
    """When to get another token, as a Unix time: shortly before its end. Raises ProviderError."""
    try:
        # It came over TLS from who signed it, so there is no need to check its signature.
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) - _RENEW_BEFORE_S
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise ProviderError("the registry's token can't be read") from error
