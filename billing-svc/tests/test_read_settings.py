"""The settings, and what production refuses."""

import os
import subprocess
import sys

import pytest
from ams_common.errors import SettingsError
from billing_svc.settings import load_settings

GIVEN = {
    "BILLING_DATABASE_URL": "postgresql://billing:very-secret@localhost/ams",
    "BILLING_LISTEN": "127.0.0.1:7005",
    "IDENTITY_ADDRESS": "127.0.0.1:7001",
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "USAGE_ADDRESS": "127.0.0.1:7004",
}


def test_development_needs_addresses_only_and_hides_secrets() -> None:
    settings = load_settings(GIVEN)
    assert str(settings.first_commission_rate) == "0.10"
    assert "secret" not in repr(settings)
    assert settings.pseudonym_key not in repr(settings)


@pytest.mark.parametrize("rate", ["1", "ten percent", "-0.1", "0.1234567"])
def test_a_commission_that_is_none_is_refused_by_name(rate: str) -> None:
    with pytest.raises(SettingsError, match="BILLING_DEFAULT_COMMISSION_RATE must be a decimal fraction"):
        load_settings({**GIVEN, "BILLING_DEFAULT_COMMISSION_RATE": rate})


@pytest.mark.parametrize("key", [None, "development-pseudonym-key", "short"])
def test_production_refuses_a_default_or_weak_pseudonym_key(key: str | None) -> None:
    environ = {**GIVEN, "AMS_ENVIRONMENT": "production"}
    with pytest.raises(SettingsError, match="PSEUDONYM_KEY"):
        load_settings(environ if key is None else {**environ, "PSEUDONYM_KEY": key})
    strong = {**environ, "PSEUDONYM_KEY": "k" * 32, "BILLING_SERVICE_SECRET": "s" * 32}
    assert load_settings(strong).pseudonym_key == "k" * 32


@pytest.mark.parametrize(
    ("variable", "text"),
    [("BILLING_GRACE_HOURS", "-1"), ("BILLING_GRACE_HOURS", "1000"), ("BILLING_DUE_DAYS", "-1")],
)
def test_times_out_of_bounds_are_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} must be from 0 to"):
        load_settings({**GIVEN, variable: text})


def test_a_process_without_settings_names_each_and_ends_with_2() -> None:
    environ = {"PATH": os.environ["PATH"], "BILLING_DEFAULT_COMMISSION_RATE": "2"}
    ended = subprocess.run(
        [sys.executable, "-m", "billing_svc"], env=environ, capture_output=True, check=False
    )
    assert ended.returncode == 2
    lines = ended.stderr.decode().splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(GIVEN)
