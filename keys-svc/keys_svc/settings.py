"""The settings of keys-svc, from its environment."""

from dataclasses import dataclass
from typing import Any

from ams_common.pseudonyms import pseudonym_key_setting
from ams_common.settings import ServiceSettings, https_only, setting, strong_secret


def _https_or_off(value: Any) -> str | None:
    return https_only(value) if value else None


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """The settings are loaded with the prefix KEYS."""

    redis_url: str = setting(name="REDIS_URL", secret=True)
    # PEM file of authorities for Redis' certificate (rediss://…). "": the system's.
    redis_ca_file: str = setting("", name="REDIS_CA_FILE")
    # Proves keys-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    catalog_address: str = setting(name="CATALOG_ADDRESS")
    # Asked for what readers may do without: when keys were last used, and what they have cost.
    usage_address: str = setting(name="USAGE_ADDRESS")
    billing_address: str = setting(name="BILLING_ADDRESS")
    # What merchants know consumers and keys by.
    pseudonym_key: str = pseudonym_key_setting()
    # Where a code host publishes the public keys that its reports of found keys are signed with
    # (https://api.github.com/meta/public_keys/secret_scanning). "": no such reports are taken.
    secret_scanning_keys_url: str = setting("", production=_https_or_off)
