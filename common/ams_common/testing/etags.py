"""That changes obey etags: which RPCs have to, by the contracts, and that each does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc
from ams.policy.v1.policy_pb2 import rule
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from ams_common.errors import AbortedError, AppError, from_rpc_error
from ams_common.etags import has_etag

STALE = "0" * 32
_WRITERS = 20

# Makes a change, decided on this etag.
Change = Callable[[str], Awaitable[Any]]


def rpcs_about_etags(services: Iterable[ServiceDescriptor]) -> set[str]:
    """The RPCs that change something and answer with what has an etag, alone or beside a secret; and those
    that take one."""
    return {rpc.name for service in services for rpc in service.methods if takes_etag(rpc) or _gives(rpc)}


def takes_etag(rpc: MethodDescriptor) -> bool:
    return has_etag(rpc.input_type)


def _gives(rpc: MethodDescriptor) -> bool:
    if not rpc.GetOptions().Extensions[rule].audit:
        return False
    within = [field.message_type for field in rpc.output_type.fields if field.message_type is not None]
    return any(map(has_etag, [rpc.output_type, *within]))


async def error_of(call: Awaitable[Any]) -> AppError:
    """What the call is refused with; one that isn't fails the test."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    except AppError as error:
        return error
    raise AssertionError(f"no error: {answer}")


async def assert_obeyed(read: Callable[[], Awaitable[Any]], change: Change) -> Any:
    """An etag that isn't the resource's changes nothing. Of many who change it at once with its etag one
    does, and the others are refused, for their etag or because of what it is by then. Returns its answer."""
    before = await read()
    for given in (STALE, f"{STALE},{before.etag[:-1]}", f"W/{before.etag}", "*"):
        refused = await error_of(change(given))
        assert isinstance(refused, AbortedError) and refused.code == "etag_mismatch"
    assert await read() == before
    outcomes = await asyncio.gather(*(_outcome(change(f"{STALE},{before.etag}")) for _ in range(_WRITERS)))
    [made] = [outcome for outcome in outcomes if not isinstance(outcome, AppError)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, AppError)]
    assert {outcome.http_status for outcome in lost} <= {409, 412}, {outcome.code for outcome in lost}
    return made


async def _outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    except AppError as error:
        return error
