"""Where a person is: what edges make of headers, and whom services believe."""

from collections.abc import Sequence

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clients import (
    ADDRESS,
    DEVICE,
    VOUCHER,
    clean_device,
    client_address,
    client_network,
    forwarding_metadata,
    peer_address,
)
from ams_common.context import (
    Client,
    RequestContext,
    current_caller,
    current_client_address,
    current_client_device,
    request_context,
)
from ams_common.ids import uuid7
from ams_common.testing.plugin import Serve
from ams_common.testing.tokens import TestIssuer
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted_proxies", "address"),
    [
        ("203.0.113.7", [], 0, "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], 0, "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1"], 1, "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], 1, "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], 2, "198.51.100.1"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]:443"], 1, "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1:5000"], 1, "198.51.100.1"),
        ("::ffff:203.0.113.7", [], 0, "203.0.113.7"),
        ("fe80::1%eth0", [], 0, "fe80::1"),
        ("10.0.0.1", ["unknown"], 1, ""),
        ("", [], 0, ""),
    ],
)
def test_the_address_is_what_the_outermost_trusted_proxy_saw(
    peer: str, forwarded_for: Sequence[str], trusted_proxies: int, address: str
) -> None:
    assert client_address(peer, forwarded_for, trusted_proxies) == address


@given(made_up=st.lists(st.text(max_size=30), max_size=5), proxies=st.integers(1, 3))
def test_nothing_that_a_client_makes_up_changes_its_address(made_up: list[str], proxies: int) -> None:
    """Each trusted proxy appends whom it was asked by."""
    appended = ["198.51.100.1", *(f"10.0.0.{n}" for n in range(1, proxies))]
    forwarded_for = [*made_up, ", ".join(appended)]
    assert client_address("10.0.0.99", forwarded_for, proxies) == "198.51.100.1"


def test_one_customer_counts_as_one() -> None:
    assert client_network("203.0.113.7") == "203.0.113.7"
    assert client_network("2001:db8::1") == client_network("2001:db8::ffff:1") == "2001:db8::/64"
    assert client_network("::1") == "::/64"
    assert client_network("") == client_network("nonsense") == ""


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:7001", "127.0.0.1"),
        ("ipv6:%5B::1%5D:7001", "::1"),
        ("ipv6:[2001:db8::1]:7001", "2001:db8::1"),
        ("unix:/run/socket", ""),
    ],
)
def test_a_peer_has_an_address(peer: str, address: str) -> None:
    assert peer_address(peer) == address


def test_a_device_is_one_harmless_line() -> None:
    assert clean_device("Fire\r\nfox\x00é 1.0 ") == "Firefox 1.0"
    assert len(clean_device("x" * 5000)) == 200


def test_nothing_is_passed_on_where_no_person_asked() -> None:
    assert forwarding_metadata() == ()
    call = RequestContext(request_id="r", client=Client("203.0.113.7", "", "voucher"))
    reset = request_context.set(call)
    assert forwarding_metadata() == ((ADDRESS, "203.0.113.7"), (VOUCHER, "voucher"))
    request_context.reset(reset)


class Told(rpc.IdentityServiceServicer):
    """Answers with what the server knows of who asks."""

    async def GetMe(self, request: pb.GetMeRequest, context: object) -> pb.User:
        told = (current_caller().credential, current_client_address(), current_client_device())
        return pb.User(name="|".join(told))

    async def ListStandingChanges(
        self, request: pb.ListStandingChangesRequest, context: object
    ) -> pb.ListStandingChangesResponse:
        change = pb.StandingChange(user_id=f"{current_caller().credential}|{current_client_address()}")
        return pb.ListStandingChangesResponse(changes=[change])


@pytest.fixture
async def stub(serve_rpc: Serve) -> rpc.IdentityServiceStub:
    descriptor = pb.DESCRIPTOR.services_by_name["IdentityService"]
    channel: grpc.aio.Channel = await serve_rpc(
        descriptor,
        lambda server: rpc.add_IdentityServiceServicer_to_server(Told(), server),  # type: ignore[abstract]
    )
    return rpc.IdentityServiceStub(channel)


def _as(token: str, **metadata: str) -> tuple[tuple[str, str], ...]:
    named = {"address": ADDRESS, "device": DEVICE, "voucher": VOUCHER}
    return (("authorization", f"Bearer {token}"), *((named[name], text) for name, text in metadata.items()))


async def test_the_edge_is_believed_because_of_its_voucher(
    stub: rpc.IdentityServiceStub, issuer: TestIssuer
) -> None:
    session = f"session:{uuid7()}"
    metadata = _as(
        issuer.user_token(uuid7(), ADMIN, credential=session),
        address="203.0.113.7",
        device="Firefox",
        voucher=issuer.service_token("bff"),
    )
    assert (await stub.GetMe(pb.GetMeRequest(), metadata=metadata)).name == f"{session}|203.0.113.7|Firefox"


@pytest.mark.parametrize("voucher", ["", "nonsense", "a person's"])
async def test_nobody_else_says_where_a_person_is(
    stub: rpc.IdentityServiceStub, issuer: TestIssuer, voucher: str
) -> None:
    token = issuer.user_token(uuid7(), ADMIN, credential="session:1")
    given = {"voucher": token if voucher == "a person's" else voucher} if voucher else {}
    metadata = _as(token, address="203.0.113.7", device="Firefox", **given)
    name = (await stub.GetMe(pb.GetMeRequest(), metadata=metadata)).name
    assert name in ("session:1|127.0.0.1|", "session:1|::1|")


async def test_a_service_passes_on_for_whom_it_asks_and_nothing_for_itself(
    stub: rpc.IdentityServiceStub, issuer: TestIssuer
) -> None:
    request, token = pb.ListStandingChangesRequest(), issuer.service_token("keys-svc")
    for metadata, told in (
        (_as(token, address="203.0.113.7"), "service|203.0.113.7"),
        (_as(token), "service|"),
    ):
        answer = await stub.ListStandingChanges(request, metadata=metadata)
        assert answer.changes[0].user_id == told
