"""What keys-svc is told by its environment."""

from dataclasses import dataclass

from ams_common.settings import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Loaded with the prefix KEYS."""

    catalog_address: str = setting(name="CATALOG_ADDRESS")
