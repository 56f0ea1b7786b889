"""What the environment tells usage-svc."""

from dataclasses import dataclass

from ams_common.pseudonyms import pseudonym_key_setting
from ams_common.settings import ServiceSettings, setting, strong_secret


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Variables: USAGE_DATABASE_URL, USAGE_LISTEN and those that all services read."""

    # Names consumers and keys to merchants; changing it renames them all.
    pseudonym_key: str = pseudonym_key_setting()
    # Proves usage-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    # Asked for what alerts are about: spend.
    billing_address: str = setting(name="BILLING_ADDRESS")
