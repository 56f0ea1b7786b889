"""What the environment tells usage-svc."""

from dataclasses import dataclass

from ams_common.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Variables: USAGE_DATABASE_URL, USAGE_LISTEN and those that all services read."""
