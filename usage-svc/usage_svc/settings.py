"""What the environment tells usage-svc."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from ams_common.errors import SettingsError
from ams_common.pseudonyms import pseudonym_key_setting
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.settings import ServiceSettings, load, setting, strong_secret, switched_off

from usage_svc.events import MAX_AGE
from usage_svc.file_store import FileStore

# Longer than usage may be late: an invoice that has just been issued for it can be proven.
LEAST_KEPT_TREES_DAYS = 2 * MAX_AGE.days


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Variables: USAGE_DATABASE_URL, USAGE_LISTEN and those that all services read."""

    # Names consumers and keys to merchants; changing it renames them all.
    pseudonym_key: str = pseudonym_key_setting()
    # Proves usage-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    # Asked for what alerts and reports are about: spend.
    billing_address: str = setting(name="BILLING_ADDRESS")
    # Asked for the names that reports tell.
    catalog_address: str = setting(name="CATALOG_ADDRESS")
    keys_address: str = setting(name="KEYS_ADDRESS")
    # Directories or object stores that every instance sees ("/var/lib/ams/reports", "s3://bucket/reports"),
    # for the files of reports and for raw events as Parquet. Other stores than S3 need their fsspec package.
    reports_url: str = setting(development=".run/usage/reports")
    archive_url: str = setting(development=".run/usage/archive")
    # How long a report is kept once it is made.
    keep_reports_days: int = setting(30)
    # Minute rollups are dropped after so many days. Hours and days stay; for how long raw events are kept,
    # the platform's settings say.
    keep_minutes_days: int = setting(30)
    # For so long after a UTC day its events can be proven against its root, which stays for ever.
    keep_trees_days: int = setting(1100)
    # Seals the webhooks' secrets; the first one seals, all unseal.
    sealing_key: tuple[str, ...] = setting(development=DEVELOPMENT_SEALING_KEYS, secret=True)
    # Webhooks to any address, and by http: only where nobody but developers makes rules.
    allow_private_webhooks: bool = setting(False, production=switched_off)

    @property
    def keep_reports(self) -> timedelta:
        return timedelta(days=self.keep_reports_days)

    def problems(self) -> list[str]:
        """What is wrong with values that are readable."""
        return [
            f"{name} must be at least {least}"
            for name, days, least in (
                ("USAGE_KEEP_REPORTS_DAYS", self.keep_reports_days, 1),
                ("USAGE_KEEP_MINUTES_DAYS", self.keep_minutes_days, 2),
                ("USAGE_KEEP_TREES_DAYS", self.keep_trees_days, LEAST_KEPT_TREES_DAYS),
            )
            if days < least
        ]


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError that names what is missing, unreadable or wrong."""
    settings = load(Settings, "USAGE", environ)
    problems = settings.problems()
    uses: dict[str, Callable[[], object]] = {
        "USAGE_REPORTS_URL": lambda: FileStore(settings.reports_url),
        "USAGE_ARCHIVE_URL": lambda: FileStore(settings.archive_url),
        "USAGE_SEALING_KEY": lambda: Sealer(settings.sealing_key),
    }
    for variable, use in uses.items():
        try:
            use()
        except (ValueError, ImportError, OSError) as error:
            problems.append(f"{variable} can't be used: {error}")
    if problems:
        raise SettingsError(problems)
    return settings
