import subprocess
import sys

import pytest

GOOD = {
    "BFF_LISTEN": "127.0.0.1:0",
    "BFF_PUBLIC_URL": "https://ams.example",
    "BFF_SUPPORT_EMAIL": "help@ams.example",
    "IDENTITY_ADDRESS": "127.0.0.1:1",
    "CATALOG_ADDRESS": "127.0.0.1:1",
    "KEYS_ADDRESS": "127.0.0.1:1",
    "USAGE_ADDRESS": "127.0.0.1:1",
    "BILLING_ADDRESS": "127.0.0.1:1",
    "REGISTRY_ADDRESS": "127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def complaint(environment: dict[str, str]) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", "ams_bff"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    return finished.stderr


def test_every_missing_setting_is_named() -> None:
    told = complaint({})
    # These have a value for development.
    assert [name for name in GOOD if name not in told] == ["BFF_PUBLIC_URL", "BFF_SUPPORT_EMAIL"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BFF_PUBLIC_URL", "http://ams.example"),
        ("BFF_PUBLIC_URL", "http://127.0.0.1:8000"),
        ("BFF_PUBLIC_URL", None),
        ("BFF_SUPPORT_EMAIL", None),
        ("BFF_DEBUG", "on"),
    ],
)
def test_production_refuses_plain_http_and_debugging(variable: str, value: str | None) -> None:
    environment = {**GOOD, "AMS_ENVIRONMENT": "production"}
    environment.pop(variable, None)
    told = complaint(environment | ({variable: value} if value is not None else {}))
    assert variable in told


def test_an_address_without_a_port_is_named() -> None:
    assert "ams-bff: BFF_LISTEN" in complaint({**GOOD, "BFF_LISTEN": "localhost"})
