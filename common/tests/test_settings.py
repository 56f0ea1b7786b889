import dataclasses

import pytest
from ams_common.errors import SettingsError
from ams_common.settings import ServiceSettings, https_only, load, setting, strong_secret, switched_off


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    port: int = setting(8000)
    hosts: tuple[str, ...] = setting(())
    redis_url: str = setting("redis://localhost", name="REDIS_URL")
    token: str = setting(development="development-secret", secret=True, production=strong_secret)
    public_url: str = setting(development="http://localhost", production=https_only)
    debug: bool = setting(False, production=switched_off)


def test_values_come_from_the_environment_in_their_types() -> None:
    environ = {"APP_PORT": "9", "APP_HOSTS": "a, b", "REDIS_URL": "redis://r", "APP_DEBUG": "yes"}
    settings = load(Settings, "APP", environ)
    assert (settings.port, settings.hosts, settings.redis_url, settings.debug) == (
        9,
        ("a", "b"),
        "redis://r",
        True,
    )
    assert settings.token == "development-secret"


def test_a_secret_is_not_in_the_repr() -> None:
    assert "development-secret" not in repr(load(Settings, "APP", {}))


def test_production_refuses_defaults_plain_http_and_debug_and_names_each_variable() -> None:
    environ = {
        "AMS_ENVIRONMENT": "production",
        "APP_TOKEN": "development-secret",
        "APP_PUBLIC_URL": "http://ams.example",
        "APP_DEBUG": "true",
    }
    with pytest.raises(SettingsError) as caught:
        load(Settings, "APP", environ)
    assert caught.value.problems == [
        "APP_TOKEN still has the value meant for development",
        "APP_PUBLIC_URL must be an https:// URL in production",
        "APP_DEBUG must be off in production",
    ]


def test_production_takes_good_values() -> None:
    environ = {
        "AMS_ENVIRONMENT": "production",
        "APP_TOKEN": "x" * 32,
        "APP_PUBLIC_URL": "https://ams.example",
    }
    assert load(Settings, "APP", environ).token == "x" * 32


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"APP_PORT": "many"}, "APP_PORT must be a number"),
        ({"APP_DEBUG": "perhaps"}, "APP_DEBUG must be true or false"),
        ({"AMS_ENVIRONMENT": "prod"}, "AMS_ENVIRONMENT must be one of development, test, production"),
    ],
)
def test_unreadable_values_are_named(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load(Settings, "APP", environ)


def test_every_missing_variable_of_a_service_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(ServiceSettings, "KEYS", {})
    assert {problem.split()[0] for problem in caught.value.problems} == {
        "KEYS_DATABASE_URL",
        "KEYS_LISTEN",
        "IDENTITY_ADDRESS",
        "KAFKA_BOOTSTRAP_SERVERS",
    }
