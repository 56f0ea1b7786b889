"""What every RPC passes through, in one explicit order: faults → authentication → policy → fields.

Each is a function that takes the rest of the way as `proceed`. Health and reflection, which have no
rule of ours, are let through untouched.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import grpc
from ams.policy.v1.policy_pb2 import Rule
from google.protobuf.message import Message

from ams_common import errors, fields, metrics, policy
from ams_common.context import RequestContext, request_context, request_id_or_new
from ams_common.tokens import TokenVerifier

log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = Callable[[Message, Context], Awaitable[Message]]
Step: TypeAlias = Callable[[str, Message, Context, Handler], Awaitable[Message]]

REQUEST_ID = "x-request-id"
_OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


async def faults(method: str, request: Message, context: Context, proceed: Handler) -> Message:
    """Gives the call its request id, logs it, and turns what it raises into a status: an AppError as
    it is, anything else as a bare INTERNAL."""
    call = RequestContext(request_id=request_id_or_new(_metadata(context).get(REQUEST_ID)))
    reset = request_context.set(call)
    started_s = time.monotonic()
    code = "ok"
    try:
        return await proceed(request, context)
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
    """Makes the bearer of a token known as the call's caller. No token: nobody. A bad token is refused
    even where none is needed, for its holder believes to be somebody."""

    async def step(method: str, request: Message, context: Context, proceed: Handler) -> Message:
        authorization = _metadata(context).get("authorization")
        if authorization is None:
            return await proceed(request, context)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise errors.UnauthenticatedError("token_invalid", "Send the access token as a bearer token.")
        caller = await verifier.verify(token)
        request_context.set(replace(_current_context(), caller=caller))
        return await proceed(request, context)

    return step


def enforce(rules: Mapping[str, Rule]) -> Step:
    """Refuses callers that the RPC's rule doesn't name, and RPCs that have none."""

    async def step(method: str, request: Message, context: Context, proceed: Handler) -> Message:
        rule = rules.get(method)
        call = _current_context()
        if (denial := policy.denial(rule, call.caller)) is not None:
            raise denial
        assert rule is not None, "what has no rule is denied"
        request_context.set(replace(call, rule=rule))
        return await proceed(request, context)

    return step


async def check_fields(method: str, request: Message, context: Context, proceed: Handler) -> Message:
    """Refuses requests whose fields hold what the protos don't allow."""
    if violations := fields.violations(request):
        sentence = f"{violations[0].field} {violations[0].description}."
        raise errors.InvalidArgumentError("invalid_argument", sentence, violations)
    return await proceed(request, context)


class Interceptor(grpc.aio.ServerInterceptor):
    """Takes each unary RPC through `steps`, in their order. RPCs that stream are not served."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(_OPEN_SERVICES):
            return handler
        if handler.unary_unary is None:
            raise policy.PolicyError(f"{method} streams; only unary calls are served")
        proceed: Handler = handler.unary_unary
        for step in reversed(self._steps):
            proceed = _bind(step, method, proceed)
        return grpc.unary_unary_rpc_method_handler(
            proceed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _bind(step: Step, method: str, proceed: Handler) -> Handler:
    async def bound(request: Message, context: Context) -> Message:
        return await step(method, request, context, proceed)

    return bound


def _current_context() -> RequestContext:
    call = request_context.get()
    assert call is not None, "the faults step comes first"
    return call


def _metadata(context: Context) -> dict[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}
