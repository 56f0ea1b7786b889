"""The token exchange of Azure Container Registry, against a server that answers as its documentation says
(AAD-OAuth.md of the registry's own repository). Azure itself can't be reached from a test."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from registry_svc.providers.azure import ENTRA_SCOPE, EntraExchange
from registry_svc.providers.oci_client import open_session
from registry_svc.providers.provider import ProviderError


class Identity:
    """A managed identity whose Entra token is "entra"."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        assert scopes == (ENTRA_SCOPE,)
        return AccessToken("entra", int(time.time()) + 3600)

    async def close(self) -> None: ...

    async def __aenter__(self) -> "Identity":
        return self

    async def __aexit__(self, *error: object) -> None: ...


@dataclass
class Endpoints:
    """/oauth2/exchange and /oauth2/token; keeps what they were asked."""

    url: str = ""
    life_s: float = 3600
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append({"path": request.path, **form})
        kind = "refresh_token" if request.path.endswith("exchange") else "access_token"
        claims = {"exp": time.time() + self.life_s, "jti": str(len(self.asked)), "kind": kind}
        token = jwt.encode(claims, "k" * 32, algorithm="HS256")
        return web.json_response({kind: token}, status=self.status)


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    served = Endpoints()
    app = web.Application()
    app.router.add_post("/oauth2/{kind}", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def exchange(endpoints: Endpoints) -> AsyncIterator[EntraExchange]:
    async with open_session() as http:
        yield EntraExchange(http, endpoints.url, Identity())


async def test_an_entra_token_becomes_access_to_one_repository_and_is_kept(
    exchange: EntraExchange, endpoints: Endpoints
) -> None:
    first = await exchange.headers("acme/scanner")
    assert await exchange.headers("acme/scanner") == first
    assert first["Authorization"].startswith("Bearer ")
    service = endpoints.url.removeprefix("http://")
    refresh_token = endpoints.asked[1].pop("refresh_token")
    assert jwt.decode(refresh_token, options={"verify_signature": False})["kind"] == "refresh_token"
    assert endpoints.asked == [
        {
            "path": "/oauth2/exchange",
            "grant_type": "access_token",
            "service": service,
            "access_token": "entra",
        },
        {
            "path": "/oauth2/token",
            "grant_type": "refresh_token",
            "service": service,
            "scope": "repository:acme/scanner:pull,push,delete",
        },
    ]


async def test_each_repository_has_a_token_of_its_own(exchange: EntraExchange, endpoints: Endpoints) -> None:
    assert await exchange.headers("acme/one") != await exchange.headers("acme/two")
    assert [asked["path"] for asked in endpoints.asked].count("/oauth2/exchange") == 1


async def test_tokens_near_their_end_are_renewed(exchange: EntraExchange, endpoints: Endpoints) -> None:
    endpoints.life_s = 30
    assert await exchange.headers("acme/one") != await exchange.headers("acme/one")
    assert len(endpoints.asked) == 4


async def test_a_refused_exchange_is_the_providers_error(
    exchange: EntraExchange, endpoints: Endpoints
) -> None:
    endpoints.status = 401
    with pytest.raises(ProviderError):
        await exchange.headers("acme/one")
