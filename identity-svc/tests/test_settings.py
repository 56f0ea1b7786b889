from datetime import timedelta
from typing import Any

import pytest
from ams_common.errors import SettingsError
from ams_common.settings import load
from cryptography.fernet import Fernet
from identity_svc.sessions import SessionLifetimes
from identity_svc.settings import Settings

NEEDED = {
    "IDENTITY_DATABASE_URL": "postgresql://identity_svc@db/ams",
    "IDENTITY_LISTEN": "127.0.0.1:7001",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
}
PRODUCTION = NEEDED | {
    "AMS_ENVIRONMENT": "production",
    "IDENTITY_ADMINS_NEED_SECOND_FACTOR": "true",
    "IDENTITY_SERVICE_SECRETS": f"keys-svc={'k' * 24},gateway={'g' * 24}",
    "IDENTITY_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    "IDENTITY_SMTP_HOST": "smtp.example.com",
    "IDENTITY_SMTP_TLS": "starttls",
    "IDENTITY_MAIL_FROM": "AMS <no-reply@example.com>",
    "IDENTITY_PUBLIC_URL": "https://ams.example.com",
}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(Settings, "IDENTITY", environ)
    return refused.value.problems


def test_development_needs_only_the_addresses_of_its_servers() -> None:
    settings = load(Settings, "IDENTITY", NEEDED)
    assert set(settings.secrets_by_service()) == {
        "keys-svc",
        "catalog-svc",
        "usage-svc",
        "billing-svc",
        "registry-svc",
        "gateway",
        "bff",
    }
    assert settings.admin_emails == ()


def test_production_takes_settings_of_its_own() -> None:
    settings = load(Settings, "IDENTITY", PRODUCTION)
    assert settings.secrets_by_service() == {"keys-svc": "k" * 24, "gateway": "g" * 24}


@pytest.mark.parametrize("variable", sorted(PRODUCTION.keys() - NEEDED.keys() - {"AMS_ENVIRONMENT"}))
def test_production_refuses_what_development_falls_back_to(variable: str) -> None:
    environ = {name: value for name, value in PRODUCTION.items() if name != variable}
    assert [problem.split()[0] for problem in problems(environ)] == [variable]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IDENTITY_SERVICE_SECRETS", f"keys-svc=development-secret,gateway={'g' * 24}"),
        ("IDENTITY_SERVICE_SECRETS", "keys-svc=short"),
        ("IDENTITY_ENCRYPTION_KEY", "YW1zLWRldmVsb3BtZW50LWVuY3J5cHRpb24ta2V5LTE="),
        ("IDENTITY_SMTP_TLS", "opportunistic"),
        ("IDENTITY_PUBLIC_URL", "http://ams.example.com"),
    ],
)
def test_production_refuses_what_is_not_safe(variable: str, value: str) -> None:
    assert [problem.split()[0] for problem in problems(PRODUCTION | {variable: value})] == [variable]


def test_production_sends_mail_in_the_clear_only_when_told_so() -> None:
    assert load(Settings, "IDENTITY", PRODUCTION | {"IDENTITY_SMTP_TLS": "plaintext"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IDENTITY_SERVICE_SECRETS", "keys-svc"),
        ("IDENTITY_MAIL_FROM", "AMS"),
        ("IDENTITY_SERVICE_SECRETS", "=secret"),
        ("IDENTITY_ENCRYPTION_KEY", "too-short"),
        ("IDENTITY_ENCRYPTION_KEY", ""),
        ("IDENTITY_SMTP_TLS", "sometimes"),
        ("IDENTITY_ADMIN_EMAILS", "ada@example.com,not an address"),
        ("IDENTITY_SMTP_PORT", "smtp"),
    ],
)
def test_a_malformed_setting_is_named(variable: str, value: str) -> None:
    assert [problem.split()[0] for problem in problems(NEEDED | {variable: value})] == [variable]


def test_secrets_are_not_printed() -> None:
    shown = repr(load(Settings, "IDENTITY", PRODUCTION | {"IDENTITY_SMTP_PASSWORD": "hunter2"}))
    secrets: list[Any] = ["k" * 24, PRODUCTION["IDENTITY_ENCRYPTION_KEY"], "hunter2", "postgresql://"]
    assert not [secret for secret in secrets if secret in shown]


def test_sessions_last_thirty_days_and_an_admins_twelve_hours_unless_they_are_set_shorter() -> None:
    assert load(Settings, "IDENTITY", NEEDED).session_lifetimes() == SessionLifetimes()
    shorter = {"IDENTITY_SESSION_HOURS": "8", "IDENTITY_ADMIN_SESSION_HOURS": "1"}
    lifetimes = load(Settings, "IDENTITY", NEEDED | shorter).session_lifetimes()
    assert lifetimes == SessionLifetimes(timedelta(hours=8), timedelta(hours=1))
    for variable in shorter:
        for hours in ("0", "-1", "721"):
            assert problems(NEEDED | {variable: hours}) == [f"{variable} must be from 1 to 720"]
