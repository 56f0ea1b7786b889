"""The BFF's settings, from its environment."""

from dataclasses import dataclass

from ams_common.clients import MOST_PROXIES
from ams_common.errors import SettingsError
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.settings import https_only, parse_listen, setting, strong_secret, switched_off
from ams_rest.areas import PROCESSES


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings are loaded with the prefix "BFF"."""

    listen: str = setting()  # host:port
    # Where browsers and scripts find us; https is what makes HSTS and Secure cookies possible.
    public_url: str = setting(development="http://127.0.0.1:8000", production=https_only)
    # Where consumers call the gateway, as the pages' samples tell; "": at public_url too.
    gateway_url: str = setting("")
    identity_address: str = setting(name="IDENTITY_ADDRESS")
    catalog_address: str = setting(name="CATALOG_ADDRESS")
    keys_address: str = setting(name="KEYS_ADDRESS")
    usage_address: str = setting(name="USAGE_ADDRESS")
    billing_address: str = setting(name="BILLING_ADDRESS")
    registry_address: str = setting(name="REGISTRY_ADDRESS")
    # Proves the BFF to identity-svc, which has it in IDENTITY_SERVICE_SECRETS: services believe it where a
    # person is.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    # How many proxies stand before the BFF, each of which appends to X-Forwarded-For whom it was asked by.
    # Too many: people can make up their address. Too few: everybody has the proxy's.
    trusted_proxies: int = setting(0)
    # How many connections one client's network may have; counted only where no proxy stands before the BFF.
    most_connections_per_address: int = setting(256)
    # How long a connection may take for a head, between two pieces of a body, for all of a body, to take
    # anything of its answer, and between two requests.
    head_timeout_s: float = setting(10.0)
    body_timeout_s: float = setting(15.0)
    whole_body_timeout_s: float = setting(60.0)
    write_timeout_s: float = setting(60.0)
    idle_timeout_s: float = setting(75.0)
    redis_url: str = setting(name="REDIS_URL", secret=True)  # where sessions lie
    # PEM file of authorities for Redis' certificate (rediss://…). "": the system's.
    redis_ca_file: str = setting("", name="REDIS_CA_FILE")
    # What sessions in Redis are sealed with: Fernet keys, of which the first seals and all unseal.
    sealing_key: tuple[str, ...] = setting(development=DEVELOPMENT_SEALING_KEYS, secret=True)
    # How long a live page waits before it asks for its figures again.
    live_beat_s: float = setting(5.0)
    # Calls of the REST API a minute with one token; five times as many from one address.
    rest_calls_per_minute: int = setting(12_000)
    # How long a page waits for a service before it shows the rest without it, and a REST call that only reads
    # before it answers 504.
    read_deadline_s: float = setting(1.0)
    # The same for what changes something or works out a lot.
    long_deadline_s: float = setting(10.0)
    # Whom people write to, above all those whose account was stopped.
    support_email: str = setting(development="support@ams.example")
    # Answers are indented for human eyes, templates read anew; nothing else.
    debug: bool = setting(False, production=switched_off)
    log_level: str = setting("INFO", name="LOG_LEVEL")
    metrics_listen: str = setting("")  # host:port of the operator's metrics; "": they aren't served

    def __post_init__(self) -> None:
        try:
            host, _ = parse_listen(self.listen)
        except ValueError:
            host = ""
        if not host:
            raise SettingsError(["BFF_LISTEN must look like 127.0.0.1:8000"])
        if self.rest_calls_per_minute < 1:
            raise SettingsError(["BFF_REST_CALLS_PER_MINUTE must be at least 1"])
        if not 0 <= self.trusted_proxies <= MOST_PROXIES:
            raise SettingsError([f"BFF_TRUSTED_PROXIES must be from 0 to {MOST_PROXIES}"])
        try:
            Sealer(self.sealing_key)
        except ValueError:
            raise SettingsError(["BFF_SEALING_KEY must be 32 random bytes in url-safe base64"]) from None

    @property
    def addresses(self) -> dict[str, str]:
        """Says where each service listens ("host:port"), by its process' name."""
        return {process: getattr(self, f"{process}_address") for process in PROCESSES}

    @property
    def consume_url(self) -> str:
        """The consumption endpoint, as consumers reach it."""
        return f"{(self.gateway_url or self.public_url).rstrip('/')}/api/consume"

    @property
    def is_https(self) -> bool:
        """Whether clients reach us over TLS, so that HSTS and Secure cookies make sense."""
        return self.public_url.startswith("https://")
