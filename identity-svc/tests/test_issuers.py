"""What an issuer's answers must hold: a small issuer of ours that answers as the test wants."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest
from aiohttp import web
from ams_common.errors import AppError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from cryptography.hazmat.primitives.asymmetric import rsa
from identity_svc.issuers import AuthorizationRequest, Issuer, parse_issuers
from identity_svc.providers import Providers

GOOD = {"id": "acme", "label": "Acme", "issuer": "https://acme.example", "client_id": "ams"}
NONCE = "n" * 43
TENANT, OTHER_TENANT = "0a1b2c3d-0000-4000-8000-00000000000a", "0a1b2c3d-0000-4000-8000-00000000000b"
ENTRA = {**GOOD, "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0", "tenants": [TENANT]}


@dataclass
class FakeIssuer:
    """An issuer whose every answer a test may change."""

    url: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    status: int = 200
    exchanges: list[dict[str, list[str]]] = field(default_factory=list)

    def signed(self, algorithm: str = "RS256", key: Any = None, key_id: str = "k1") -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "ams", "sub": "s-1", "iat": now, "exp": now + 60, "nonce": NONCE}
        about = {"email": "ann@acme.example", "email_verified": True, "name": "Ann"}
        claims = {name: value for name, value in (claims | about | self.claims).items() if value is not None}
        return jwt.encode(claims, self.key if key is None else key, algorithm, headers={"kid": key_id})

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/.well-known/openid-configuration", self.serve_metadata),
            web.get("/organizations/v2.0/.well-known/openid-configuration", self.serve_metadata),
            web.get("/keys", self.serve_keys),
            web.post("/token", self.exchange_code),
            web.get("/me", self.serve_userinfo),
        ]

    async def serve_metadata(self, _: web.Request) -> web.Response:
        names = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
        endpoints = {name: f"{self.url}/{path}" for name, path in names.items()}
        return web.json_response({"issuer": self.url, **endpoints, **self.metadata})

    async def serve_keys(self, _: web.Request) -> web.Response:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**public, "kid": "k1"}]})

    async def exchange_code(self, request: web.Request) -> web.Response:
        self.exchanges.append(parse_qs(await request.text()))
        token = self.signed() if self.token is None else self.token
        return web.json_response({"id_token": token, "access_token": "t"}, status=self.status)

    async def serve_userinfo(self, _: web.Request) -> web.Response:
        return web.json_response(self.userinfo)


@pytest.fixture
async def fake() -> AsyncIterator[FakeIssuer]:
    fake, app = FakeIssuer(), web.Application()
    app.add_routes(fake.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


async def authenticate(fake: FakeIssuer, **options: Any) -> Any:
    issuer = Issuer(**{"id": "acme", "label": "Acme", "url": fake.url, "client_id": "ams"} | options)
    async with aiohttp.ClientSession() as http:
        providers = Providers(http, [issuer], "https://ams.example")
        return await providers.find("acme").authenticate("code", NONCE, "v" * 43)


async def error_of(fake: FakeIssuer, **options: Any) -> AppError:
    with pytest.raises(AppError) as refused:
        await authenticate(fake, **options)
    return refused.value


async def test_a_good_token_says_who_it_is(fake: FakeIssuer) -> None:
    claimant = await authenticate(fake)
    assert (claimant.subject, claimant.email, claimant.name) == ("s-1", "ann@acme.example", "Ann")
    assert fake.exchanges[0]["redirect_uri"] == ["https://ams.example/login/with/acme/return"]
    assert fake.exchanges[0]["code_verifier"] == ["v" * 43]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "somebody-else"},
        {"aud": ["ams", "somebody-else"]},
        {"aud": ["ams", "somebody-else"], "azp": "somebody-else"},
        {"azp": "somebody-else"},
        {"nonce": "m" * 43},
        {"nonce": None},
        {"nonce": 1},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": ""},
        {"sub": None},
        {"sub": "x" * 256},
    ],
)
async def test_a_token_that_says_something_else_is_refused(fake: FakeIssuer, claims: dict[str, Any]) -> None:
    fake.claims = claims
    assert isinstance(await error_of(fake), UnauthenticatedError)


async def test_a_token_that_the_issuer_did_not_sign_is_refused(fake: FakeIssuer) -> None:
    other = rsa.generate_private_key(65537, 2048)
    for token in (
        fake.signed(key=other),
        fake.signed(key_id="k2"),
        fake.signed("HS256", key="k" * 64),
        fake.signed("none", key=""),
        "",
        "a.b.c",
        fake.signed()[:-4],
    ):
        fake.token = token
        assert isinstance(await error_of(fake), UnauthenticatedError), token


@pytest.mark.parametrize("verified", [False, None, 1.5, "yes"])
async def test_an_address_must_be_verified_or_the_issuer_trusted_with_all(
    fake: FakeIssuer, verified: Any
) -> None:
    fake.claims = {"email_verified": verified}
    assert isinstance(await error_of(fake), PermissionDeniedError)
    assert (await authenticate(fake, trusts_email=True)).email == "ann@acme.example"


async def test_what_the_token_leaves_out_is_asked_for_and_must_be_of_the_same_subject(
    fake: FakeIssuer,
) -> None:
    fake.claims = {"email": None, "email_verified": None}
    assert isinstance(await error_of(fake), PermissionDeniedError)  # no endpoint to ask
    fake.metadata = {"userinfo_endpoint": f"{fake.url}/me"}
    fake.userinfo = {"sub": "s-1", "email": "ann@acme.example", "email_verified": "true"}
    assert (await authenticate(fake)).email == "ann@acme.example"
    fake.userinfo["sub"] = "s-2"
    assert isinstance(await error_of(fake), UnauthenticatedError)


async def test_a_refused_code_and_an_issuer_that_is_down_are_told_apart(fake: FakeIssuer) -> None:
    fake.status = 400
    assert isinstance(await error_of(fake), UnauthenticatedError)
    fake.status = 500
    assert isinstance(await error_of(fake), UnavailableError)
    fake.url = "http://127.0.0.1:1"
    assert isinstance(await error_of(fake), UnavailableError)


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://evil.example"}, {"jwks_uri": None}, {"token_endpoint": "file:///etc/passwd"}],
)
async def test_a_discovery_document_of_another_issuer_or_without_its_endpoints_is_no_good(
    fake: FakeIssuer, metadata: dict[str, Any]
) -> None:
    fake.metadata = metadata
    assert isinstance(await error_of(fake), UnavailableError)


async def test_where_the_browser_goes_keeps_what_the_endpoint_has(fake: FakeIssuer) -> None:
    fake.metadata = {"authorization_endpoint": f"{fake.url}/auth?tenant=7"}
    async with aiohttp.ClientSession() as http:
        provider = Providers(http, [Issuer("acme", "Acme", fake.url, "ams")], "https://ams.example").find(
            "acme"
        )
        query = parse_qs(urlsplit(await provider.authorization_url(AuthorizationRequest.new())).query)
    assert query["tenant"] == ["7"]
    assert query["client_id"] == ["ams"]


def tenants_of(fake: FakeIssuer, tenant: str = TENANT, **options: Any) -> dict[str, Any]:
    """The fake as Entra ID is for several tenants, with a token of one of them."""
    fake.metadata = {"issuer": f"{fake.url}/{{tenantid}}/v2.0"}
    fake.claims = {"iss": f"{fake.url}/{tenant}/v2.0", **fake.claims}
    return {"url": f"{fake.url}/{{tenantid}}/v2.0", "tenants": (TENANT,), **options}


async def test_a_tenant_of_the_list_signs_in_as_its_own_issuer(fake: FakeIssuer) -> None:
    claimant = await authenticate(fake, **tenants_of(fake))
    assert (claimant.issuer_url, claimant.subject) == (f"{fake.url}/{TENANT}/v2.0", "s-1")


@pytest.mark.parametrize("tenant", [OTHER_TENANT, "{tenantid}", "organizations", f"{TENANT}/x", ""])
async def test_another_tenant_signs_nobody_in(fake: FakeIssuer, tenant: str) -> None:
    assert isinstance(await error_of(fake, **tenants_of(fake, tenant)), UnauthenticatedError)


async def test_a_tenant_speaks_for_no_address_that_it_is_not_trusted_with(fake: FakeIssuer) -> None:
    """Whoever administers a tenant can give anybody any address."""
    fake.claims = {"email_verified": None}
    trusted = tenants_of(fake, trusts_email=True, domains=("acme.example",))
    assert (await authenticate(fake, **trusted)).email == "ann@acme.example"
    for email in ("admin@ams.example", "ann@acme.example.evil", "ann@evil@ams.example"):
        fake.claims["email"] = email
        error = await error_of(fake, **trusted)
        assert isinstance(error, PermissionDeniedError)
        assert error.code == "email_domain_refused"


async def test_a_withdrawn_key_is_not_accepted_for_longer_than_five_minutes(
    fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aiohttp.ClientSession() as http:
        issuer = Issuer("acme", "Acme", fake.url, "ams", "secret")
        provider = Providers(http, [issuer], "https://ams.example").find("acme")
        assert await provider.authenticate("code", NONCE, "v" * 43)
        stolen = fake.signed()
        fake.key, fake.token = rsa.generate_private_key(65537, 2048), stolen
        begun_s = time.monotonic()
        monkeypatch.setattr("identity_svc.providers.time.monotonic", lambda: begun_s + 301.0)
        with pytest.raises(UnauthenticatedError):
            await provider.authenticate("code", NONCE, "v" * 43)


def test_issuers_are_read_from_json() -> None:
    assert parse_issuers("[]") == []
    [issuer] = parse_issuers(json.dumps([GOOD | {"client_secret": "hush"}]))
    assert (issuer.id, issuer.url, issuer.client_secret) == ("acme", "https://acme.example", "hush")
    assert "hush" not in repr(issuer)
    [entra] = parse_issuers(json.dumps([ENTRA]))
    assert entra.discovery_url == (
        "https://login.microsoftonline.com/organizations/v2.0/.well-known/openid-configuration"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}x",
        "7",
        "[7]",
        json.dumps([GOOD, GOOD]),
        json.dumps([{**GOOD, "id": "Acme!"}]),
        json.dumps([{**GOOD, "issuer": "ftp://acme.example"}]),
        json.dumps([{**GOOD, "client_id": ""}]),
        json.dumps([{**GOOD, "secret": "x"}]),
        json.dumps([{"id": "acme"}]),
        json.dumps([{**GOOD, "issuer": "https://acme.example/.well-known/openid-configuration"}]),
        json.dumps([{**GOOD, "issuer": "https://acme.example/{tenantid}/v2.0"}]),
        json.dumps([{**GOOD, "issuer": "https://acme.example/{tenant}/v2.0", "tenants": [TENANT]}]),
        json.dumps([{**GOOD, "tenants": [TENANT]}]),
        json.dumps([{**ENTRA, "tenants": ["common"]}]),
        json.dumps([{**ENTRA, "tenants": TENANT}]),
        json.dumps([{**ENTRA, "trusts_email": True}]),
        json.dumps([{**ENTRA, "domains": [""]}]),
        json.dumps([{**GOOD, "domains": ["@acme.example"]}]),
        json.dumps([{**GOOD, "domains": ["acme"]}]),
        json.dumps([{**GOOD, "trusts_email": "true"}]),
        json.dumps([{**GOOD, "issuer": "https://login.microsoftonline.com/common/v2.0"}]),
        json.dumps([{**GOOD, "issuer": "https://login.microsoftonline.com/organizations/v2.0"}]),
    ],
)
def test_what_is_no_list_of_issuers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|has|needs|may"):
        parse_issuers(text)
