"""All the parts of one worker, opened and closed in order."""

import ssl
from pathlib import Path

from ams_common.client import ServiceToken, open_channel
from ams_common.sealing import Sealer
from ams_common.topics import USAGE_EVENTS
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ams_gateway.access.authorizer import Authorizer
from ams_gateway.access.invalidations import Cache, Invalidations
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.redis_pipe import RedisPipe
from ams_gateway.access.snapshot_cache import CacheLimits, SnapshotCache, Source
from ams_gateway.access.snapshot_sources import (
    KEY_PREFIX,
    SERVICE_PREFIX,
    CatalogSvcSource,
    KeysSvcSource,
    RedisSource,
)
from ams_gateway.access.snapshots import CachedKey, CachedService, read_key, read_service
from ams_gateway.deadlines import Deadlines
from ams_gateway.gateway import Gateway, GatewayLimits
from ams_gateway.http.requests import RequestParser
from ams_gateway.metering.journal import Journal, JournalLimits
from ams_gateway.metering.publisher import Publisher
from ams_gateway.metrics import MetricsExport
from ams_gateway.server.timeouts import Timeouts as ConnectionTimeouts
from ams_gateway.settings import Settings
from ams_gateway.upstream.exchange import Timeouts
from ams_gateway.upstream.pool import Pool, PoolLimits
from ams_gateway.upstream.resolver import Resolver


class Runtime:
    """`keys_source` and `services_source` are what is asked when Redis holds no snapshot."""

    def __init__(self, settings: Settings, keys_source: Source, services_source: Source) -> None:
        root = Path(settings.journal_dir)
        stale = CacheLimits(max_stale_s=settings.max_stale_s)
        self.pipe = RedisPipe(settings.redis_url)
        self.redis = Redis.from_url(
            settings.redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=0.5, socket_connect_timeout=0.5
        )
        self.keys: SnapshotCache[CachedKey] = SnapshotCache(
            RedisSource(self.pipe, keys_source), read_key, stale
        )
        self.services: SnapshotCache[CachedService] = SnapshotCache(
            RedisSource(self.pipe, services_source), read_service, stale, other_names=_names_of
        )
        self.invalidations = Invalidations(settings.redis_url, (self.keys, self.services), self._route)
        self.journal = Journal(root, JournalLimits(max_bytes=settings.journal_max_bytes))
        self.publisher = Publisher(
            settings.kafka_bootstrap_servers,
            self.journal,
            root,
            topic=settings.kafka_topic_prefix + USAGE_EVENTS,
        )
        self.pool = Pool(
            PoolLimits(max_per_origin=settings.max_connections_per_upstream), _tls(settings.upstream_ca_file)
        )
        self.limiter = Limiter(self.redis, workers_hint=settings.workers)
        self.gateway = Gateway(
            Authorizer(self.keys, self.services),
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
            ),
        )
        self.request_parser = RequestParser(settings.max_header_bytes)
        self.connection_timeouts = ConnectionTimeouts(
            settings.head_timeout_s,
            settings.body_timeout_s,
            settings.write_timeout_s,
            settings.idle_timeout_s,
        )
        self.deadlines = Deadlines(self.connection_timeouts.sweep_s)
        self.metrics = MetricsExport(
            self.gateway, self.journal, self.publisher, self.pipe, self.invalidations
        )
        self._drain_s = settings.drain_s

    async def open(self) -> None:
        await self.pipe.open()
        await self.limiter.open()
        await self.invalidations.open()
        await self.publisher.open()
        self.deadlines.start(self.gateway.sweep, self.pool.sweep)
        self.metrics.open()

    async def close(self) -> None:
        """After the last request: the journal is emptied into Kafka, or stays on disk."""
        self.metrics.close()
        self.deadlines.close()
        self.pool.close()
        await self.publisher.close(self._drain_s)
        self.journal.close()
        await self.invalidations.close()
        await self.limiter.close()
        await self.redis.aclose()
        await self.pipe.close()

    @property
    def is_ready(self) -> bool:
        """Requests can be validated and metered. Redis away is no reason to take a gateway out."""
        return self.journal.is_accepting()

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
