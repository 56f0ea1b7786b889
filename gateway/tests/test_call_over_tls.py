"""Merchants' APIs over TLS: the certificate must be good for the base URL's name."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from ams_gateway.settings import Settings
from ams_gateway.testing.certificates import write_certificate
from ams_gateway.testing.merchants import Merchant, serve_merchant
from ams_gateway.testing.running import GrantedKey, serve_gateway


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path)


@pytest.fixture
async def merchant(certificate: Path) -> AsyncIterator[Merchant]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with serve_merchant(tls=tls) as merchant:
        yield merchant


async def test_calls_go_over_tls_and_the_connection_is_kept(
    settings: Settings, http: ClientSession, granted: GrantedKey, merchant: Merchant, certificate: Path
) -> None:
    await granted.write_service(base_url=merchant.url(scheme="https", host="localhost"))
    async with serve_gateway(replace(settings, upstream_ca_file=str(certificate))) as gateway:
        for _ in range(3):
            body = b"x" * 300_000
            async with http.post(f"{gateway.url}/api/consume", data=body, headers=granted.headers) as answer:
                assert (answer.status, await answer.read()) == (200, body)
        assert (len(merchant.requests), merchant.connections) == (3, 1)


@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.1", True), ("localhost", False)])
async def test_a_certificate_that_isnt_good_for_the_name_is_502_and_sees_nothing(
    settings: Settings,
    http: ClientSession,
    granted: GrantedKey,
    merchant: Merchant,
    certificate: Path,
    host: str,
    trusted: bool,
) -> None:
    await granted.write_service(base_url=merchant.url(scheme="https", host=host))
    authorities = str(certificate) if trusted else ""
    async with serve_gateway(replace(settings, upstream_ca_file=authorities)) as gateway:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (502, "upstream_unreachable")
        assert (merchant.requests, gateway.events()) == ([], [])
