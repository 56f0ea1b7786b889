"""The gRPC server of a service: policy, health, reflection, a graceful stop."""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ams_common.interceptors import (
    Interceptor,
    authentication,
    check_fields,
    enforce,
    faults,
    tag_answer,
)
from ams_common.policy import rules_of
from ams_common.process import STOP_SIGNALS
from ams_common.tokens import TokenVerifier

log = logging.getLogger(__name__)

# No request or answer of ours comes near; what does is refused before it is parsed.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_STOP_GRACE_S = 5.0
_CANCEL_AGAIN_S = 0.2


# A service's contract, and the function that adds what serves it to a server.
ServedService: TypeAlias = tuple[ServiceDescriptor, Callable[[grpc.aio.Server], None]]


def build_server(verifier: TokenVerifier, services: Sequence[ServedService]) -> grpc.aio.Server:
    """A server of `services`.

    Raises PolicyError when one of their RPCs has no rule.
    """
    rules = rules_of(descriptor for descriptor, _ in services)
    steps = [faults, authentication(verifier), enforce(rules), check_fields, tag_answer]
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(interceptors=[Interceptor(steps, verifier.ended)], options=options)
    for _, add_servicer in services:
        add_servicer(server)
    names = [descriptor.full_name for descriptor, _ in services]
    _add_health(server, names)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return server


def _add_health(server: grpc.aio.Server, names: Sequence[str]) -> None:
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ["", *names]:
        servicer._server_status[name] = health_pb2.HealthCheckResponse.SERVING


async def serve(
    server: grpc.aio.Server, address: str, background: Sequence[Coroutine[Any, Any, None]] = ()
) -> None:
    """Serve on `address` ("127.0.0.1:7001") until SIGTERM or SIGINT, with `background` running beside.

    When something in the background ends or fails, the process ends with it, loudly: a service whose
    relay is dead must not look alive.
    """
    if server.add_insecure_port(address) == 0:
        raise OSError(f"{address} is taken")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in STOP_SIGNALS:
        loop.add_signal_handler(signal_number, stopping.set)
    await server.start()
    log.info("serving", extra={"address": address})
    # What there is by now stays. Looked through again and again, it was a tenth of what counting usage takes.
    gc.collect()
    gc.freeze()
    tasks = [asyncio.ensure_future(work) for work in background]
    stop = asyncio.ensure_future(stopping.wait())
    done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    await server.stop(_STOP_GRACE_S)
    await cancel([stop, *tasks])
    results = await asyncio.gather(*tasks, return_exceptions=True)
    log.info("stopped")
    if stop not in done:
        failures = [result for result in results if isinstance(result, Exception)]
        raise RuntimeError("background work ended") from (failures[0] if failures else None)


async def cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel until all have ended. Once isn't enough: Python 3.11's asyncio.wait_for, which libraries
    use, loses a cancellation that comes together with its result, and its caller would go on for ever."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


async def finish(work: Coroutine[Any, Any, None], within_s: float) -> None:
    """Awaits clean-up to its end: whoever cancels meanwhile is heard after it, for what is half closed stays
    open. Raises TimeoutError when it takes longer than that."""

    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await work

    task, cancelled = asyncio.create_task(bounded()), False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()  # it ends all the same
        raise asyncio.CancelledError
    await task
