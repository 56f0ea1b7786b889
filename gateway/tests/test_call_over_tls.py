"""Merchants' APIs over TLS: the certificate must be good for the base URL's name."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, serve_merchant
from ams_gateway.testing.running import GrantedKey, serve_gateway
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for localhost, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


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
