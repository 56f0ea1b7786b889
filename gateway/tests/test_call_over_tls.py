"""Merchants' APIs over TLS: the certificate must be good for the base URL's name."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams_common.testing.certificates import write_certificate
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer, serve_merchant
from ams_gateway.testing.running import GrantedKey, serve_gateway
from ams_gateway.testing.websockets import SWITCHED, open_raw
from wsproto.frame_protocol import FrameProtocol


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


@pytest.mark.parametrize("settings", [True], ids=["consume-protocol"], indirect=True)
async def test_websockets_pass_over_tls_with_their_last_frames(
    settings: Settings, granted: GrantedKey, merchant: Merchant, certificate: Path
) -> None:
    frame = bytes(FrameProtocol(client=True, extensions=[]).send_data(b"x" * 300_000, fin=True))

    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(SWITCHED)
        request.body = await reader.read()

    merchant.answer = answer
    await granted.write_service(
        base_url=merchant.url(scheme="https", host="localhost"),
        forwarding=ForwardingSettings(allows_websockets=True),
    )
    async with serve_gateway(replace(settings, upstream_ca_file=str(certificate))) as gateway:
        _, writer, _ = await open_raw(gateway, granted)
        writer.write(frame)
        writer.close()
        await asyncio.wait_for(merchant.hung_up.wait(), 10)
        assert merchant.requests[0].body == frame
