"""The process writes its snapshots to a cluster, and over TLS by an authority of the operator's own."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ams_common import ports
from ams_common.redis_client import opened
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.certificates import write_certificate
from ams_common.testing.eventually import eventually
from ams_local.redis_variants import cluster_url, serve_cluster, serve_redis, serve_tls


@asynccontextmanager
async def _serving(kind: str, directory: Path) -> AsyncIterator[Mapping[str, str]]:
    """What the process is told of the server."""
    if kind == "cluster":
        async with serve_cluster(directory) as nodes:
            yield {"REDIS_URL": cluster_url(nodes)}
        return
    port, certificate = ports.free_port(), write_certificate(directory)
    async with serve_redis(directory, port), serve_tls(certificate, port) as tls_port:
        yield {"REDIS_URL": f"rediss://localhost:{tls_port}/0", "REDIS_CA_FILE": str(certificate)}


@pytest.mark.parametrize("kind", ["cluster", "tls"])
async def test_snapshots_arrive(
    kind: str, consumer: Any, new_key: Any, start_service: Any, tmp_path: Path
) -> None:
    created = await new_key(consumer)
    redis_key = key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())
    async with _serving(kind, tmp_path) as settings:
        await start_service(ports.free_port(), **settings)
        url, ca_file = settings["REDIS_URL"], settings.get("REDIS_CA_FILE", "")
        async with opened(url, ca_file=ca_file, timeout_s=5) as client:

            async def has_come() -> bool:
                return bool(await client.exists(redis_key))

            await eventually(has_come)
