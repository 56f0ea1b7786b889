"""All the parts of one worker, opened and closed in order."""

import asyncio
import logging
import ssl
from pathlib import Path

from ams_common.client import ServiceToken, open_channel
from ams_common.redis_client import connect, disconnect
from ams_common.sealing import Sealer

from ams_gateway.access.authorizer import Authorizer
from ams_gateway.access.confirmations import Confirmations
from ams_gateway.access.invalidations import Cache, Invalidations
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.snapshot_cache import SnapshotCache, Source
from ams_gateway.access.snapshot_sources import (
    KEY_PREFIX,
    SERVICE_PREFIX,
    CatalogSvcSource,
    KeysSvcSource,
    RedisSource,
)
from ams_gateway.access.snapshot_table import CacheLimits
from ams_gateway.access.snapshots import CachedKey, CachedService, read_key, read_service
from ams_gateway.deadlines import Deadlines
from ams_gateway.descriptors import connection_caps
from ams_gateway.gateway import Gateway, GatewayLimits
from ams_gateway.http import heads
from ams_gateway.http.requests import RequestParser
from ams_gateway.metering.clock import ClockCheck
from ams_gateway.metering.journal import Journal, JournalLimits
from ams_gateway.metering.kept import KeepLimits, KeptSegments
from ams_gateway.metering.publisher import Publisher
from ams_gateway.metering.syncing import GroupSync
from ams_gateway.server.timeouts import Timeouts as ConnectionTimeouts
from ams_gateway.settings import Settings
from ams_gateway.tasks import end_task
from ams_gateway.upstream.exchange import Timeouts
from ams_gateway.upstream.pool import Pool, PoolLimits
from ams_gateway.upstream.resolver import Resolver

log = logging.getLogger(__name__)


class Runtime:
    """`keys_source` and `services_source` own what Redis has copies of."""

    def __init__(self, settings: Settings, keys_source: Source, services_source: Source) -> None:
        root = Path(settings.journal_dir)
        self._redis = connect(settings.redis_url, ca_file=settings.redis_ca_file)
        # A lease that is asked for twice would be held twice.
        self._redis_of_limits = connect(settings.redis_url, ca_file=settings.redis_ca_file, retries=0)
        stale = CacheLimits(max_stale_s=settings.max_stale_s)
        keys_copies = RedisSource(self._redis, keys_source)
        services_copies = RedisSource(self._redis, services_source)
        self.keys: SnapshotCache[CachedKey] = SnapshotCache(
            keys_copies, read_key, stale, version_of=lambda key: key.version
        )
        self.services: SnapshotCache[CachedService] = SnapshotCache(
            services_copies,
            read_service,
            stale,
            version_of=lambda service: service.version,
            other_names=_names_of,
        )
        self.confirmations = (
            Confirmations(self.keys, keys_copies),
            Confirmations(self.services, services_copies),
        )
        self.invalidations = Invalidations(self._redis, (self.keys, self.services), self._route)
        kept = KeptSegments(
            root, KeepLimits(settings.journal_keep_hours * 3600, settings.journal_keep_max_bytes)
        )
        self.journal = Journal(root, JournalLimits(max_bytes=settings.journal_max_bytes), kept)
        gather_s = settings.journal_sync_s
        self._sync = GroupSync(self.journal, gather_s) if gather_s is not None else None
        self.publisher = Publisher(
            settings.kafka_bootstrap_servers,
            self.journal,
            root,
            topic_prefix=settings.kafka_topic_prefix,
            kept=kept,
        )
        self.clock = ClockCheck(self._redis)
        self._clock_task: asyncio.Task[None] | None = None
        caps = connection_caps()
        self.pool = Pool(PoolLimits(max_in_all=caps.upstreams), _tls(settings.upstream_ca_file))
        self.limiter = Limiter(self._redis_of_limits, workers_hint=settings.workers)
        self.gateway = Gateway(
            Authorizer(self.keys, self.services, settings.trusted_proxies),
            self.limiter,
            Resolver(allow_private=settings.allow_private_upstreams),
            self.pool,
            self.journal,
            Sealer(settings.sealing_keys),
            GatewayLimits(
                settings.max_body_bytes,
                Timeouts(
                    settings.first_byte_timeout_s,
                    settings.upstream_idle_timeout_s,
                    settings.total_timeout_s,
                ),
                settings.max_connections_per_upstream,
                caps.upstreams,
                settings.report_every_s,
            ),
            self._sync.after if self._sync is not None else None,
        )
        self.request_parser = RequestParser(settings.max_header_bytes)
        self.connection_timeouts = ConnectionTimeouts(
            settings.head_timeout_s,
            settings.body_timeout_s,
            settings.write_timeout_s,
            settings.idle_timeout_s,
        )
        self.deadlines = Deadlines(self.connection_timeouts.sweep_s, caps.clients)
        self._drain_s = settings.drain_s

    async def open(self) -> None:
        if not heads.is_compiled:
            log.warning(
                "heads are read in Python, and calls cost more: it was installed without a C compiler"
            )
        await self.limiter.open()
        await self.invalidations.open()
        for confirmations in self.confirmations:
            await confirmations.open()
        await self.publisher.open()
        self._clock_task = asyncio.create_task(self.clock.run())
        self.deadlines.start(self.gateway.sweep, self.pool.sweep)

    async def close(self) -> None:
        """After the last request: the journal is emptied into Kafka, or stays on disk."""
        self.deadlines.close()
        self.gateway.close()
        self.pool.close()
        if self._sync is not None:
            await self._sync.close()
        await self.publisher.close(self._drain_s)
        self.journal.close()
        if self._clock_task is not None:
            await end_task(self._clock_task)
        for confirmations in self.confirmations:
            await confirmations.close()
        await self.invalidations.close()
        for cache in (self.keys, self.services):
            await cache.close()
        await self.limiter.close()
        await disconnect(self._redis_of_limits)
        await disconnect(self._redis)

    @property
    def unready_because(self) -> str | None:
        """Why requests can't be authorized and metered, None if they can. Redis away is no reason to take a
        gateway out."""
        if not self.journal.is_accepting():
            return "journal: usage events can't be written"
        return self.clock.problem

    def _route(self, name: str) -> Cache | None:
        if name.startswith(KEY_PREFIX):
            return self.keys
        return self.services if name.startswith(SERVICE_PREFIX) else None


def connect_sources(settings: Settings) -> tuple[KeysSvcSource, CatalogSvcSource]:
    """keys-svc and catalog-svc through gRPC, with the gateway's own token."""
    token = ServiceToken(open_channel(settings.identity_address), "gateway", settings.service_secret)
    return (
        KeysSvcSource(open_channel(settings.keys_address), token),
        CatalogSvcSource(open_channel(settings.catalog_address), token),
    )


def _names_of(service: CachedService) -> tuple[str, ...]:
    return SERVICE_PREFIX + service.service_id, SERVICE_PREFIX + service.slug


def _tls(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
