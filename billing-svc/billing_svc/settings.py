"""What the environment tells billing-svc."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ams_common.errors import SettingsError
from ams_common.pseudonyms import pseudonym_key_setting
from ams_common.settings import ServiceSettings, load, setting, strong_secret

from billing_svc.commission import parse_rate


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    # Names consumers to merchants; changing it renames them all.
    pseudonym_key: str = pseudonym_key_setting()
    # Proves billing-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    # Asked for the events behind an invoice.
    usage_address: str = setting(name="USAGE_ADDRESS")
    # The commission until an admin sets another; read at the first start only.
    default_commission_rate: str = setting("0.10")
    # How long after its end a month waits for usage that is on its way, before it is billed.
    grace_hours: int = setting(72)
    # How many days after its issue an invoice is to be paid.
    due_days: int = setting(30)

    @property
    def first_commission_rate(self) -> Decimal:
        return parse_rate(self.default_commission_rate)

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=self.grace_hours)


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises SettingsError that names each variable that is wrong."""
    settings = load(Settings, "BILLING", environ)
    problems = []
    try:
        parse_rate(settings.default_commission_rate)
    except ValueError as error:
        problems.append(f"BILLING_DEFAULT_COMMISSION_RATE {error}")
    # A month's invoices while it lasts would bill it in pieces.
    if not 0 <= settings.grace_hours <= 24 * 28:
        problems.append("BILLING_GRACE_HOURS must be from 0 to 672")
    if not 0 <= settings.due_days <= 365:
        problems.append("BILLING_DUE_DAYS must be from 0 to 365")
    if problems:
        raise SettingsError(problems)
    return settings
