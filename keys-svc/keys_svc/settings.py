"""The settings of keys-svc, from its environment."""

from dataclasses import dataclass

from ams_common.settings import ServiceSettings, setting, strong_secret


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """The settings are loaded with the prefix KEYS."""

    redis_url: str = setting(name="REDIS_URL", secret=True)
    # Proves keys-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    catalog_address: str = setting(name="CATALOG_ADDRESS")
