"""What every RPC passes through, in one explicit order: faults → authentication → policy → fields → etags.

Each is a function that takes the rest of the way as `proceed`. An RPC whose answer is a stream goes the same
way: `proceed` then sends all of its messages, and returns None. Health and reflection, which have no rule of
ours, are let through untouched.

A call of one answer whose transaction PostgreSQL has ended, for it and others waited for each other in a
circle, is served once more: an RPC makes its changes in one transaction, of which nothing is left. In which
order transactions lock says docs/locks.md.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias

import grpc
from ams.policy.v1.policy_pb2 import Rule
from google.protobuf.message import Message

from ams_common import errors, etags, fields, metrics, policy
from ams_common.clients import ADDRESS, DEVICE, VOUCHER, clean_device, peer_address
from ams_common.clock import utc_now
from ams_common.context import NO_CLIENT, Caller, Client, RequestContext, request_context, request_id_or_new
from ams_common.ended_tokens import EndedTokens
from ams_common.faults import UNDONE_FAULTS
from ams_common.tokens import TokenVerifier

log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
# What a call of one answer returns; None for one of many, which have been sent.
Answer: TypeAlias = Message | None
Handler: TypeAlias = Callable[[Message, Context], Awaitable[Answer]]
Step: TypeAlias = Callable[[str, Message, Context, Handler], Awaitable[Answer]]
# What serves a call of many answers.
StreamHandler: TypeAlias = Callable[[Message, Context], AsyncGenerator[Message, None]]

REQUEST_ID = "x-request-id"
# What the log says of an RPC that is served once more.
TRANSACTION_UNDONE = "transaction undone"
_OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


async def faults(method: str, request: Message, context: Context, proceed: Handler) -> Answer:
    """Gives the call its request id, logs it, and turns what it raises into a status: an AppError as
    it is, anything else as a bare INTERNAL."""
    call = RequestContext(request_id=request_id_or_new(_metadata(context).get(REQUEST_ID)))
    reset = request_context.set(call)
    started_s = time.monotonic()
    code = "ok"
    try:
        return await proceed(request, context)
    except asyncio.CancelledError:
        code = "cancelled"  # the caller has hung up, or its deadline has passed
        raise
    except errors.AppError as error:
        code = error.code
        await context.abort_with_status(errors.to_grpc_status(error))
        raise
    except Exception:
        code = "internal"
        log.exception("unexpected error", extra={"method": method})
        await context.abort_with_status(errors.to_grpc_status(errors.internal_error(call.request_id)))
        raise
    finally:
        duration_s = time.monotonic() - started_s
        metrics.histogram("ams_rpc_seconds", "RPCs served, by outcome.", "method", "code").labels(
            method, code
        ).observe(duration_s)
        log.info("rpc", extra={"method": method, "code": code, "duration_ms": round(duration_s * 1000, 1)})
        request_context.reset(reset)


def authentication(verifier: TokenVerifier) -> Step:
    """Makes the bearer of a token known as the call's caller, and where the person is who asked for it. No
    token: nobody. A bad one is refused even where none is needed, for its holder believes to be somebody."""

    async def step(method: str, request: Message, context: Context, proceed: Handler) -> Answer:
        metadata = _metadata(context)
        call = _current_context()
        if (authorization := metadata.get("authorization")) is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise errors.UnauthenticatedError("token_invalid", "Send the access token as a bearer token.")
            call = replace(call, caller=await verifier.verify(token))
        client = await _client(verifier, call.caller, metadata, context.peer())
        request_context.set(replace(call, client=client))
        return await proceed(request, context)

    return step


async def _client(verifier: TokenVerifier, caller: Caller, metadata: Mapping[str, str], peer: str) -> Client:
    """Where the person is. Only services of ours are believed what they say of somebody else: with their own
    call, or beside a person's token with a voucher. Anybody else is where the connection comes from."""
    voucher = metadata.get(VOUCHER, "")
    is_vouched = caller.service is not None
    if voucher and not is_vouched:
        try:
            is_vouched = (await verifier.verify(voucher)).service is not None
        except errors.AppError:
            is_vouched = False  # run out while a stream was open: the call is good without it
    if is_vouched:
        address, device = metadata.get(ADDRESS, ""), clean_device(metadata.get(DEVICE, ""))
        # Passed on with our own token, which vouches by itself.
        return Client(address, device) if address else NO_CLIENT
    return Client(peer_address(peer))


def enforce(rules: Mapping[str, Rule]) -> Step:
    """Refuses callers that the RPC's rule doesn't name, and RPCs that have none."""

    async def step(method: str, request: Message, context: Context, proceed: Handler) -> Answer:
        rule = rules.get(method)
        call = _current_context()
        if (denial := policy.denial(rule, call.caller)) is not None:
            raise denial
        assert rule is not None, "what has no rule is denied"
        request_context.set(replace(call, rule=rule))
        return await proceed(request, context)

    return step


async def check_fields(method: str, request: Message, context: Context, proceed: Handler) -> Answer:
    """Refuses requests whose fields hold what the protos don't allow."""
    if violations := fields.violations(request):
        sentence = f"{violations[0].field} {violations[0].description}."
        raise errors.InvalidArgumentError("invalid_argument", sentence, violations)
    return await proceed(request, context)


async def tag_answer(method: str, request: Message, context: Context, proceed: Handler) -> Answer:
    """Says in the answer's resources which state of each they tell."""
    if (answer := await proceed(request, context)) is not None:
        etags.tag(answer)
    return answer


class Interceptor(grpc.aio.ServerInterceptor):
    """Takes each RPC through `steps`, in their order; a stream of answers ends with the caller's token. RPCs
    whose requests are streams are not served."""

    def __init__(self, steps: list[Step], ended: EndedTokens) -> None:
        self._steps = steps
        self._ended = ended

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(_OPEN_SERVICES):
            return handler
        if handler.request_streaming:
            raise policy.PolicyError(f"{method} takes a stream; only single requests are served")
        is_stream = handler.response_streaming
        proceed: Handler = (
            _sending(handler.unary_stream, self._ended)
            if is_stream
            else _repeating(method, handler.unary_unary)
        )
        for step in reversed(self._steps):
            proceed = _bind(step, method, proceed)
        make = grpc.unary_stream_rpc_method_handler if is_stream else grpc.unary_unary_rpc_method_handler
        return make(
            proceed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _sending(serve: StreamHandler, ended: EndedTokens) -> Handler:
    """Sends what `serve` gives, for as long as the caller's token is good: who has lost a role, or is
    stopped, gets no new one."""

    async def send_all(request: Message, context: Context) -> None:
        caller = _current_context().caller
        expires_at = caller.expires_at
        left_s = (expires_at - utc_now()).total_seconds() if expires_at is not None else None
        until = asyncio.timeout(left_s)
        try:
            async with until, aclosing(serve(request, context)) as answers:
                with ended.cutting(until, caller):
                    async for answer in answers:
                        await context.write(answer)
        except TimeoutError:
            if not until.expired():
                raise
            if (error := ended.error_of(caller)) is not None:
                raise error from None
            raise errors.UnauthenticatedError(
                "token_expired", "This access token has expired. Go on with a new one."
            ) from None

    return send_all


def _repeating(method: str, serve: Handler) -> Handler:
    """Serves once more what has been undone. Not more often: whoever waits in a circle again holds up others
    each time, and is a fault to be seen."""

    async def serve_twice(request: Message, context: Context) -> Answer:
        try:
            return await serve(request, context)
        except UNDONE_FAULTS as error:
            metrics.counter("ams_rpc_repeated", "RPCs whose transaction was undone.", "method").labels(
                method
            ).inc()
            log.warning(TRANSACTION_UNDONE, extra={"method": method, "error": repr(error)})
        return await serve(request, context)

    return serve_twice


def _bind(step: Step, method: str, proceed: Handler) -> Handler:
    async def bound(request: Message, context: Context) -> Answer:
        return await step(method, request, context, proceed)

    return bound


def _current_context() -> RequestContext:
    call = request_context.get()
    assert call is not None, "the faults step comes first"
    return call


def _metadata(context: Context) -> dict[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}
