"""Other services of ours, as real processes on schemas of their own: for tests of what is asked of them."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ams_common.ports import free_port
from ams_common.processes import GRPC_SERVERS
from ams_common.provision import provision, unprovision
from ams_common.testing.eventually import eventually

_STARTED_WITHIN_S = 60.0


@asynccontextmanager
async def schemas(admin_url: str, *names: str) -> AsyncIterator[Mapping[str, str]]:
    """The URLs of schemas ("identity") by their names, in a database that goes with them."""
    suffix = secrets.token_hex(4)
    database, owners = f"neighbours_{suffix}", {name: f"{name}_{suffix}" for name in names}
    urls = await provision(admin_url, database, owners=owners)
    try:
        yield urls
    finally:
        await unprovision(admin_url, database, owners)


@asynccontextmanager
async def serving(
    schema: str, database_url: str, environment: Mapping[str, str], log_directory: Path
) -> AsyncIterator[str]:
    """The address of the service that owns `schema`, once it serves. It ends with SIGKILL."""
    process = GRPC_SERVERS[schema]
    address = f"127.0.0.1:{free_port()}"
    own = {
        "AMS_ENVIRONMENT": "test",
        process.variable("DATABASE_URL"): database_url,
        process.variable("LISTEN"): address,
    }
    with (log_directory / f"{process.name}.log").open("wb") as log:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", process.package, env={**os.environ, **environment, **own}, stderr=log
        )
        try:

            async def serves() -> bool:
                return await _is_serving(address)

            await eventually(serves, _STARTED_WITHIN_S)
            yield address
        finally:
            if started.returncode is None:
                started.kill()
            await started.wait()


async def _is_serving(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
