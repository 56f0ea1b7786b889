"""Merchants can't make the gateway call into the network it runs in (SSRF)."""

import socket
from dataclasses import replace

import pytest
from aiohttp import ClientSession
from ams_common.addresses import is_forbidden
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, serve_gateway
from ams_gateway.upstream.resolver import AddressForbiddenError, AddressUnknownError, Resolver

CLOSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "192.0.0.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0",
    "fec0::1", "ff02::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", CLOSED)
def test_inner_addresses_are_forbidden_however_they_are_wrapped(address: str) -> None:
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert not is_forbidden(address)


async def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    with pytest.raises(AddressForbiddenError):
        await Resolver(allow_private=False).resolve("localhost")
    assert "127.0.0.1" in await Resolver(allow_private=True).resolve("localhost")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2130706433", "0x7f.1", "017700000001", "127.1"])
async def test_other_spellings_of_loopback_are_forbidden(host: str) -> None:
    with pytest.raises((AddressForbiddenError, AddressUnknownError)):
        await Resolver(allow_private=False).resolve(host)


async def test_what_doesnt_resolve_is_unknown() -> None:
    with pytest.raises(AddressUnknownError):
        await Resolver(allow_private=False).resolve("does-not-exist.invalid")


async def test_one_inner_address_among_public_ones_is_enough() -> None:
    def mixed(host: str) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(AddressForbiddenError):
        await Resolver(allow_private=False, look_up=mixed).resolve("two-faced.example")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", socket.gethostname()])
async def test_a_base_url_to_the_inside_answers_502_and_reaches_nobody(
    settings: Settings, http: ClientSession, granted: GrantedKey, merchant: Merchant, host: str
) -> None:
    await granted.write_service(base_url=merchant.url("/base", host=host))
    closed = replace(settings, allow_private_upstreams=False)
    async with serve_gateway(closed) as gateway:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (
                502,
                "upstream_misconfigured",
            )
        assert (merchant.connections, gateway.events()) == (0, [])
