"""What the environment tells catalog-svc."""

import dataclasses

from ams_common.errors import SettingsError
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.settings import ServiceSettings, https_only, setting, strong_secret, switched_off


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Variables: CATALOG_DATABASE_URL, CATALOG_LISTEN and those that all services read."""

    redis_url: str = setting(name="REDIS_URL", secret=True)
    # PEM file of authorities for Redis' certificate (rediss://…). "": the system's.
    redis_ca_file: str = setting("", name="REDIS_CA_FILE")
    keys_address: str = setting(name="KEYS_ADDRESS")
    # Proves catalog-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    # Lets merchants name loopback and private hosts as base URLs: for local runs with a demo upstream.
    allow_private_upstreams: bool = setting(False, production=switched_off)
    # Where consumers call the gateway: it stands in documents in place of merchants' own addresses.
    gateway_url: str = setting(development="http://127.0.0.1:8080", production=https_only)
    # What merchants' credentials and signing keys are sealed with, for the gateway that has the same keys:
    # the first seals, all unseal. An old one may go when each service has a new credential and signing key.
    sealing_keys: tuple[str, ...] = setting(
        name="UPSTREAM_SEALING_KEY", development=DEVELOPMENT_SEALING_KEYS, secret=True
    )

    @property
    def consume_url(self) -> str:
        """The consumption endpoint, as consumers reach it."""
        return f"{self.gateway_url.rstrip('/')}/api/consume"

    def __post_init__(self) -> None:
        try:
            Sealer(self.sealing_keys)
        except ValueError:
            raise SettingsError(["UPSTREAM_SEALING_KEY must be 32 random bytes in url-safe base64"]) from None
