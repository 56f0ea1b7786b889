import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from functools import partial

import grpc
import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, Rule
from ams.usage.v1 import usage_service_pb2 as usage
from ams.usage.v1 import usage_service_pb2_grpc as usage_rpc
from ams_common.client import invoke, listen
from ams_common.clock import utc_now
from ams_common.context import ANONYMOUS, Caller, request_context
from ams_common.errors import AppError, NotFoundError, UnauthenticatedError
from ams_common.ids import uuid7
from ams_common.policy import PolicyError, denial, rules_of
from ams_common.testing.plugin import Serve
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import ACCESS_TOKEN_TTL
from google.protobuf import descriptor_pb2, descriptor_pool

USER = uuid7()
READER = Caller(USER, frozenset({CONSUMER}), credential="token:1", is_read_only=True)
WRITER = Caller(USER, frozenset({CONSUMER}), credential="token:1")
SIGNED_IN = Caller(USER, frozenset({CONSUMER}), credential="session:1")
KEYS = pb.DESCRIPTOR.services_by_name["KeysService"]


class Servicer(rpc.KeysServiceServicer):
    """Answers GetKey by who asks and how: what the server's own layers are tested with."""

    async def GetKey(self, request: pb.GetKeyRequest, context: object) -> pb.Key:
        call = request_context.get()
        assert call is not None
        if request.key_id.endswith("0"):
            raise NotFoundError("key_not_found", "No such key.", hint="none")
        if request.key_id.endswith("1"):
            raise ZeroDivisionError("the secret is 42")
        return pb.Key(key_id=request.key_id, consumer_id=call.caller.actor, name=call.request_id)


def key_id(last: str) -> str:
    return str(uuid7())[:-1] + last


@pytest.fixture
async def keys(serve_rpc: Serve) -> rpc.KeysServiceStub:
    Servicer.__abstractmethods__ = frozenset()  # the other RPCs are not called
    channel = await serve_rpc(KEYS, partial(rpc.add_KeysServiceServicer_to_server, Servicer()))  # type: ignore[abstract]
    return rpc.KeysServiceStub(channel)


def test_a_service_with_an_rpc_without_a_rule_cannot_be_built() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="bare", syntax="proto3")
    file.message_type.add(name="M")
    file.service.add(name="Bare").method.add(name="Open", input_type=".bare.M", output_type=".bare.M")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    with pytest.raises(PolicyError, match=r"bare\.Bare\.Open has no"):
        rules_of([pool.FindServiceByName("bare.Bare")])


def test_without_a_rule_nobody_is_let_in() -> None:
    admin = Caller(user_id=uuid7(), roles=frozenset({ADMIN}))
    for caller in (ANONYMOUS, admin, Caller(service="gateway")):
        assert denial(None, caller) is not None
        assert denial(Rule(), caller) is not None


@pytest.mark.parametrize(
    ("rule", "caller", "code"),
    [
        (Rule(roles=[ADMIN]), Caller(user_id=uuid7(), roles=frozenset({ADMIN})), None),
        (Rule(roles=[ADMIN]), Caller(user_id=uuid7(), roles=frozenset({CONSUMER})), "role_required"),
        (Rule(roles=[ADMIN]), Caller(user_id=uuid7()), "role_required"),
        (Rule(roles=[ADMIN]), Caller(service="gateway"), "caller_not_allowed"),
        (Rule(roles=[ADMIN]), ANONYMOUS, "sign_in_required"),
        (Rule(callers=["gateway"]), Caller(service="gateway"), None),
        (Rule(callers=["gateway"]), Caller(service="keys-svc"), "caller_not_allowed"),
        (Rule(callers=["gateway"]), Caller(user_id=uuid7(), roles=frozenset({ADMIN})), "role_required"),
        (Rule(public=True), ANONYMOUS, None),
        (Rule(signed_in=True), Caller(user_id=uuid7()), None),
        (Rule(signed_in=True), Caller(service="gateway"), "caller_not_allowed"),
        (Rule(signed_in=True), ANONYMOUS, "sign_in_required"),
    ],
)
def test_only_whom_the_rule_names_is_let_in(rule: Rule, caller: Caller, code: str | None) -> None:
    answer = denial(rule, caller)
    assert (answer.code if answer else None) == code


async def test_the_caller_and_the_request_id_reach_the_handler(
    keys: rpc.KeysServiceStub, issuer: TestIssuer
) -> None:
    user_id = uuid7()
    request = pb.GetKeyRequest(key_id=key_id("a"))
    key = await invoke(keys.GetKey, request, token=issuer.user_token(user_id, CONSUMER), request_id="r-1")
    assert (key.consumer_id, key.name) == (str(user_id), "r-1")


async def test_an_app_error_arrives_as_it_was_raised(keys: rpc.KeysServiceStub, issuer: TestIssuer) -> None:
    token = issuer.user_token(uuid7(), CONSUMER)
    with pytest.raises(NotFoundError, match="No such key") as caught:
        await invoke(keys.GetKey, pb.GetKeyRequest(key_id=key_id("0")), token=token)
    assert (caught.value.code, caught.value.metadata) == ("key_not_found", {"hint": "none"})


async def test_an_unexpected_exception_tells_nothing_but_the_request_id(
    keys: rpc.KeysServiceStub, issuer: TestIssuer
) -> None:
    metadata = (("authorization", "Bearer " + issuer.user_token(uuid7(), CONSUMER)), ("x-request-id", "r-2"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await keys.GetKey(pb.GetKeyRequest(key_id=key_id("1")), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "42" not in str(caught.value)
    assert any(
        b"r-2" in value for _, value in caught.value.trailing_metadata() or () if isinstance(value, bytes)
    )


async def test_bad_fields_are_refused_before_the_handler(
    keys: rpc.KeysServiceStub, issuer: TestIssuer
) -> None:
    with pytest.raises(AppError) as caught:
        await invoke(keys.GetKey, pb.GetKeyRequest(key_id="x"), token=issuer.user_token(uuid7(), CONSUMER))
    assert caught.value.code == "invalid_argument"
    assert caught.value.violations == (("keyId", "must be a lower-case UUID"),)


async def test_bad_tokens_are_refused(keys: rpc.KeysServiceStub, issuer: TestIssuer) -> None:
    good = issuer.user_token(uuid7(), CONSUMER)
    header, payload, signature = good.split(".")
    expired = issuer.user_token(uuid7(), CONSUMER, now=utc_now() - timedelta(minutes=11))
    stranger = TestIssuer().user_token(uuid7(), CONSUMER)
    unsigned = "eyJhbGciOiJub25lIn0." + payload + "."
    tokens = {
        "token_expired": [expired],
        "token_invalid": [stranger, unsigned, f"{header}.{payload}x.{signature}", "x", "a.b.c"],
    }
    for code, bad in tokens.items():
        for token in bad:
            with pytest.raises(UnauthenticatedError) as caught:
                await invoke(keys.GetKey, pb.GetKeyRequest(key_id=key_id("a")), token=token)
            assert caught.value.code == code


async def test_a_peer_that_is_away_is_unavailable() -> None:
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    with pytest.raises(AppError) as caught:
        await invoke(rpc.KeysServiceStub(channel).GetKey, pb.GetKeyRequest(), timeout_s=5)
    assert caught.value.code == "service_unavailable"
    await channel.close()


async def test_health_and_reflection_need_no_rule(keys: rpc.KeysServiceStub, serve_rpc: Serve) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    channel = await serve_rpc(KEYS, partial(rpc.add_KeysServiceServicer_to_server, Servicer()))  # type: ignore[abstract]
    answer = await health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(service="ams.keys.v1.KeysService")
    )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


USAGE = usage.DESCRIPTOR.services_by_name["UsageService"]


class LiveServicer(usage_rpc.UsageServiceServicer):
    """Answers WatchConsumerUsage by who asks and how: what streams pass through."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def WatchConsumerUsage(
        self, request: usage.GetUsageRequest, context: object
    ) -> AsyncGenerator[usage.UsageReport, None]:
        call = request_context.get()
        assert call is not None and call.rule.roles == [CONSUMER]
        try:
            yield usage.UsageReport(unique_keys=1)
            if request.status_class == "4xx":
                raise NotFoundError("key_not_found", "No such key.")
            if request.status_class == "5xx":
                raise ZeroDivisionError("the secret is 42")
            while request.status_class != "2xx":
                await asyncio.sleep(0.01)
                yield usage.UsageReport(unique_keys=2)
        finally:
            self.ended.set()


@pytest.fixture
def live() -> LiveServicer:
    LiveServicer.__abstractmethods__ = frozenset()
    return LiveServicer()  # type: ignore[abstract]


@pytest.fixture
async def watch(
    serve_rpc: Serve, live: LiveServicer, issuer: TestIssuer
) -> Callable[..., AsyncGenerator[usage.UsageReport, None]]:
    channel = await serve_rpc(USAGE, partial(usage_rpc.add_UsageServiceServicer_to_server, live))
    stub = usage_rpc.UsageServiceStub(channel)
    token = issuer.user_token(uuid7(), CONSUMER)
    return lambda token=token, **fields: listen(
        stub.WatchConsumerUsage, usage.GetUsageRequest(**fields), token=token
    )


async def test_a_stream_is_told_whole(watch: Callable[..., AsyncGenerator[usage.UsageReport, None]]) -> None:
    assert [report.unique_keys async for report in watch(status_class="2xx")] == [1]


async def test_a_stream_passes_the_same_steps(
    watch: Callable[..., AsyncGenerator[usage.UsageReport, None]], issuer: TestIssuer
) -> None:
    for fields, code in (
        ({"token": None}, "sign_in_required"),
        ({"token": "no.token"}, "token_invalid"),
        ({"token": issuer.user_token(uuid7(), ADMIN)}, "role_required"),
        ({"service_id": "x"}, "invalid_argument"),
    ):
        with pytest.raises(AppError) as caught:
            await anext(watch(**fields))
        assert caught.value.code == code


async def test_what_a_stream_raises_later_arrives_as_it_was_raised(
    watch: Callable[..., AsyncGenerator[usage.UsageReport, None]],
) -> None:
    for status_class, code in (("4xx", "key_not_found"), ("5xx", "internal")):
        stream = watch(status_class=status_class)
        assert (await anext(stream)).unique_keys == 1
        with pytest.raises(AppError) as caught:
            await anext(stream)
        assert caught.value.code == code and "42" not in str(caught.value)


async def test_whoever_stops_listening_ends_the_stream(
    watch: Callable[..., AsyncGenerator[usage.UsageReport, None]], live: LiveServicer
) -> None:
    stream = watch()
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(10):
        await live.ended.wait()


async def test_a_stream_ends_with_the_token_that_opened_it(
    watch: Callable[..., AsyncGenerator[usage.UsageReport, None]], live: LiveServicer, issuer: TestIssuer
) -> None:
    nearly_over = utc_now() - ACCESS_TOKEN_TTL + timedelta(seconds=2)
    with pytest.raises(UnauthenticatedError) as caught:
        async with asyncio.timeout(20):
            async for _ in watch(token=issuer.user_token(uuid7(), CONSUMER, now=nearly_over)):
                pass
    assert caught.value.code == "token_expired"
    assert live.ended.is_set()


@pytest.mark.parametrize(
    ("rule", "caller", "code"),
    [
        (Rule(roles=[CONSUMER], audit="key.create"), READER, "token_scope"),
        (Rule(signed_in=True, audit="key.create"), READER, "token_scope"),
        (Rule(public=True, audit="sign_in.start"), READER, "token_scope"),
        (Rule(roles=[CONSUMER]), READER, ""),
        (Rule(roles=[ADMIN]), READER, "role_required"),
        (Rule(roles=[CONSUMER], audit="key.create"), WRITER, ""),
        (Rule(signed_in=True, session_only=True, audit="token.create"), WRITER, "session_required"),
        (Rule(signed_in=True, session_only=True), READER, "session_required"),
        (Rule(signed_in=True, session_only=True, audit="token.create"), SIGNED_IN, ""),
        (Rule(roles=[ADMIN], session_only=True), SIGNED_IN, "role_required"),
        (Rule(signed_in=True, session_only=True), ANONYMOUS, "sign_in_required"),
    ],
)
def test_a_personal_access_token_does_what_its_scope_lets_it(rule: Rule, caller: Caller, code: str) -> None:
    refused = denial(rule, caller)
    assert (refused.code if refused is not None else "") == code
