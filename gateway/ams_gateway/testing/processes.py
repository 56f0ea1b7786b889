"""A gateway as it is run: processes of its own, which can be killed."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from ams_common.ports import free_port
from ams_common.topics import USAGE_EVENTS

from ams_gateway.settings import Settings


@asynccontextmanager
async def gateway_process(
    port: int,
    settings: Settings,
    topic: str,
    workers: int = 1,
    operator_port: int = 0,
    descriptors: tuple[int, int] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`descriptors`: its soft and hard limit of open files; None: those of this process."""
    environ = os.environ | {
        "REDIS_URL": settings.redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_METRICS_LISTEN": f"127.0.0.1:{operator_port or free_port()}",
        "GATEWAY_WORKERS": str(workers),
        "GATEWAY_CONSUME_PROTOCOL": str(settings.consume_protocol).lower(),
        "GATEWAY_JOURNAL_DIR": settings.journal_dir,
        "GATEWAY_JOURNAL_KEEP_HOURS": str(settings.journal_keep_hours),
        "GATEWAY_JOURNAL_SYNC": settings.journal_sync,
        "GATEWAY_REPORT_EVERY_S": str(settings.report_every_s),
        "GATEWAY_ALLOW_PRIVATE_UPSTREAMS": "true",
        "KAFKA_TOPIC_PREFIX": topic.removesuffix(USAGE_EVENTS),
        "IDENTITY_ADDRESS": settings.identity_address,
        "KEYS_ADDRESS": settings.keys_address,
        "CATALOG_ADDRESS": settings.catalog_address,
        "LOG_LEVEL": "ERROR",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ams_gateway",
        env=environ,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=descriptors and partial(resource.setrlimit, resource.RLIMIT_NOFILE, descriptors),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def workers_of(pid: int) -> list[int]:
    """What the supervisor has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"ams_gateway.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


async def kill(process: asyncio.subprocess.Process) -> None:
    """The whole gateway at once, as when its machine or container goes: nobody replaces or stops anybody."""
    os.kill(process.pid, signal.SIGSTOP)
    for worker in workers_of(process.pid):
        os.kill(worker, signal.SIGKILL)
    process.kill()
    await process.wait()
