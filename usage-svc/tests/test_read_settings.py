"""Settings that would lose or leak something are refused, by the variable's name."""

import pytest
from ams_common.errors import SettingsError
from usage_svc.settings import load_settings

GOOD = {
    "USAGE_DATABASE_URL": "postgresql://nowhere",
    "USAGE_LISTEN": "127.0.0.1:0",
    "IDENTITY_ADDRESS": "127.0.0.1:1",
    "BILLING_ADDRESS": "127.0.0.1:1",
    "CATALOG_ADDRESS": "127.0.0.1:1",
    "KEYS_ADDRESS": "127.0.0.1:1",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


def test_in_development_addresses_are_enough() -> None:
    settings = load_settings(GOOD)
    assert settings.keep_reports.days == 30


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("USAGE_KEEP_MINUTES_DAYS", "0"),
        ("USAGE_KEEP_TREES_DAYS", "799"),
        ("USAGE_KEEP_REPORTS_DAYS", "0"),
        ("USAGE_REPORTS_URL", "nothing-that-is-known://reports"),
        ("USAGE_SEALING_KEY", "short"),
        ("USAGE_SEALING_KEY", ""),
    ],
)
def test_what_cant_be_used_is_refused(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings({**GOOD, variable: value})


@pytest.mark.parametrize(
    "variable",
    ["USAGE_REPORTS_URL", "USAGE_ARCHIVE_URL", "USAGE_SEALING_KEY", "USAGE_ALLOW_PRIVATE_WEBHOOKS"],
)
def test_production_has_no_defaults_for_what_matters(variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings({**GOOD, "AMS_ENVIRONMENT": "production", "USAGE_ALLOW_PRIVATE_WEBHOOKS": "true"})
