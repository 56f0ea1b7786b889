"""Secrets are made once, kept privately, and given to whom they concern."""

import dataclasses
import stat
from importlib import import_module
from pathlib import Path

import pytest
from ams_common.processes import CALLERS, GRPC_SERVERS, PROCESSES
from ams_common.sealing import Sealer
from ams_common.settings import load
from ams_local.keyring import Keyring
from ams_local.servers import Addresses
from ams_local.supervision import Program
from ams_local.system import USUAL_PORTS, System, programs


@pytest.fixture
def crew(tmp_path: Path) -> dict[str, Program]:
    urls = {service: f"postgresql://{service}_svc:{service}-pw@127.0.0.1:1/ams" for service in GRPC_SERVERS}
    admin_url = "postgresql://admin:admin-pw@127.0.0.1:1/postgres"
    servers = Addresses(admin_url, "redis://127.0.0.1:2/0", "127.0.0.1:3")
    inherited = {"PATH": "/bin", "DATABASE_URL": admin_url}
    system = System(USUAL_PORTS, tmp_path)
    keyring = Keyring(tmp_path / "secrets.json")
    return {program.name: program for program in programs(system, servers, urls, keyring, inherited)}


def test_a_secret_stays_the_same_over_starts_and_no_other_user_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    secret = Keyring(path).secret("sessions")
    assert len(secret) >= 43
    Keyring(path).keep("a key", "ams_live_x")
    again = Keyring(path)
    assert (again.secret("sessions"), again.find("a key")) == (secret, "ams_live_x")
    assert again.secret("others") != secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_service_gets_its_own_database_role_only(crew: dict[str, Program]) -> None:
    for name, program in crew.items():
        passwords = [value for value in program.environment.values() if "-pw@" in value]
        own = name.removesuffix("-svc")
        expected = [f"postgresql://{own}_svc:{own}-pw@127.0.0.1:1/ams"] if own in GRPC_SERVERS else []
        assert passwords == expected


def test_only_identity_knows_the_secrets_of_others(crew: dict[str, Program]) -> None:
    secrets = {
        name: value
        for name, program in crew.items()
        for variable, value in program.environment.items()
        if variable.endswith("SERVICE_SECRET")
    }
    assert len(set(secrets.values())) == len(secrets) == len(CALLERS)
    for name, secret in secrets.items():
        assert {other for other, program in crew.items() if is_told(program, secret)} == {
            name,
            "identity-svc",
        }


def test_what_one_process_seals_only_the_one_that_shares_its_key_can_open(crew: dict[str, Program]) -> None:
    keys = {
        name: program.environment["UPSTREAM_SEALING_KEY"]
        for name, program in crew.items()
        if "UPSTREAM_SEALING_KEY" in program.environment
    }
    assert keys.keys() == {"catalog-svc", "ams-gateway"}
    assert len(set(keys.values())) == 1
    Sealer([keys["catalog-svc"]])


def is_told(program: Program, secret: str) -> bool:
    return any(secret in value for value in program.environment.values())


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_finds_all_its_settings_and_is_told_nothing_it_does_not_read(
    crew: dict[str, Program], name: str
) -> None:
    prefix = PROCESSES[name].prefix
    settings_class = import_module(f"{PROCESSES[name].package}.settings").Settings
    environment = dict(crew[name].environment)
    load(settings_class, prefix, environment)
    read = {
        field.metadata.get("name") or f"{prefix}_{field.name.upper()}"
        for field in dataclasses.fields(settings_class)
    }
    told = {variable for variable in environment if variable.startswith(f"{prefix}_")}
    assert told - {f"{prefix}_ADDRESS"} <= read


def test_without_the_image_registry_all_else_is_started(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)
    programs: dict[str, Program] = request.getfixturevalue("crew")
    assert {"registry-svc", "guide"} <= programs.keys() and "distribution" not in programs
