"""The BFF's settings, from its environment."""

from dataclasses import dataclass

from ams_common.errors import SettingsError
from ams_common.settings import https_only, parse_listen, setting, switched_off
from ams_rest.areas import AREAS


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
    redis_url: str = setting(name="REDIS_URL", secret=True)  # where sessions lie
    # How long a live page waits before it asks for its figures again.
    live_beat_s: float = setting(5.0)
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

    @property
    def addresses(self) -> dict[str, str]:
        """Says where each service listens ("host:port"), by its area's name."""
        return {area.process: getattr(self, f"{area.process}_address") for area in AREAS}

    @property
    def consume_url(self) -> str:
        """The consumption endpoint, as consumers reach it."""
        return f"{(self.gateway_url or self.public_url).rstrip('/')}/api/consume"

    @property
    def is_https(self) -> bool:
        """Whether clients reach us over TLS, so that HSTS and Secure cookies make sense."""
        return self.public_url.startswith("https://")
