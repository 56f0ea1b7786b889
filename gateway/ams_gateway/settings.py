"""The gateway's settings (prefix GATEWAY_)."""

from dataclasses import dataclass

from ams_common.clients import MOST_PROXIES
from ams_common.errors import SettingsError
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS
from ams_common.settings import setting, strong_secret, switched_off

MAX_SYNC_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    # Where snapshots, limits and invalidations are.
    redis_url: str = setting(name="REDIS_URL", secret=True)
    # PEM file of authorities for Redis' certificate (rediss://…). "": the system's.
    redis_ca_file: str = setting("", name="REDIS_CA_FILE")
    kafka_bootstrap_servers: str = setting(name="KAFKA_BOOTSTRAP_SERVERS")
    kafka_topic_prefix: str = setting("", name="KAFKA_TOPIC_PREFIX")
    # gRPC addresses, host:port.
    identity_address: str = setting(name="IDENTITY_ADDRESS")
    keys_address: str = setting(name="KEYS_ADDRESS")
    catalog_address: str = setting(name="CATALOG_ADDRESS")
    # What the gateway proves itself to identity-svc with.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    # What unseals merchants' credentials and signing keys; shared with catalog-svc, which seals them.
    sealing_keys: tuple[str, ...] = setting(
        name="UPSTREAM_SEALING_KEY", development=DEVELOPMENT_SEALING_KEYS, secret=True
    )
    # On a disk that outlives the process. All workers share it.
    journal_dir: str = setting(development=".run/gateway-journal")
    journal_max_bytes: int = setting(1024 * 1024 * 1024)
    # How long events are kept that Kafka has acknowledged, and how many bytes of them at most: what it loses
    # can be sent again (`ams-gateway resend`).
    journal_keep_hours: float = setting(24.0)
    journal_keep_max_bytes: int = setting(4 * 1024 * 1024 * 1024)
    # What an answered call's event outlives. "off": the process. Milliseconds: the machine; so long, beside
    # the disk's own time, the end of an answer waits for others to be written with.
    journal_sync: str = setting("off")
    listen: str = setting()  # host:port
    workers: int = setting(1)
    # How many proxies stand before the gateway, each appending to X-Forwarded-For whom it was asked by: for
    # keys that may be used from some addresses only. Too many: callers can make up their address. Too few:
    # everybody has the proxy's.
    trusted_proxies: int = setting(0)
    # Base URLs on private, loopback and link-local addresses: for local runs.
    allow_private_upstreams: bool = setting(False, production=switched_off)
    # PEM file of authorities for merchants' certificates, beside the system's. "": only the system's.
    upstream_ca_file: str = setting("")
    # How old a snapshot may be served while Redis and the services are away.
    max_stale_s: float = setting(3600.0)
    max_header_bytes: int = setting(32 * 1024)
    max_body_bytes: int = setting(100 * 1024 * 1024)
    # Where a service's merchant sets nothing: how long an upstream may take to the first byte of its answer,
    # between two pieces of it, and in all.
    first_byte_timeout_s: float = setting(30.0)
    upstream_idle_timeout_s: float = setting(300.0)
    total_timeout_s: float = setting(3600.0)
    max_connections_per_upstream: int = setting(1000)
    # How often a call that is being answered reports what it has used: a kill loses what came since.
    report_every_s: float = setting(60.0)
    # Consume requests are served by a protocol of ours; false: by uvicorn's own and Starlette, as everything
    # else is, at several times the cost.
    consume_protocol: bool = setting(True)
    # How long a consumer's connection may take for a head, between two pieces of a body, to take anything
    # of its answer, and between two requests.
    head_timeout_s: float = setting(10.0)
    body_timeout_s: float = setting(15.0)
    write_timeout_s: float = setting(60.0)
    idle_timeout_s: float = setting(75.0)
    # How long a stop waits for requests, and then for the journal.
    drain_s: float = setting(10.0)
    log_level: str = setting("INFO", name="LOG_LEVEL")
    # host:port where operators ask for /healthz, /readyz and /metrics; "": nowhere.
    metrics_listen: str = setting("")

    def __post_init__(self) -> None:
        _ = self.journal_sync_s
        if not 0 <= self.trusted_proxies <= MOST_PROXIES:
            raise SettingsError([f"GATEWAY_TRUSTED_PROXIES must be from 0 to {MOST_PROXIES}"])

    @property
    def journal_sync_s(self) -> float | None:
        """None: off."""
        if self.journal_sync.lower() == "off":
            return None
        try:
            gather_ms = float(self.journal_sync)
        except ValueError:
            gather_ms = -1.0
        if not 0 <= gather_ms <= MAX_SYNC_MS:
            raise SettingsError([f"GATEWAY_JOURNAL_SYNC must be off, or 0 to {MAX_SYNC_MS} milliseconds"])
        return gather_ms / 1000
